"""Guesses from a sample: a column for each field, what tells one event from another, and when it happened. Pure.

A type is proposed only where the intake itself takes every value of the sample into it, and numbers with a fraction
never become floats where they look like amounts: a folder is to be right first, and easy to change then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from etar.records.column_types import (
    ColumnType,
    OutOfRangeError,
    UnsupportedTableError,
    WrongValueError,
)
from etar.records.json_codec import DECLARED
from etar.stream_folder.proposal import LeftOut, Proposed, nullable, unfit_name
from etar.streams import TimeForm

NO_COLUMN = "none"
"""In place of a type: the field is to have no column."""

_FEW_VALUES = 50
_ENOUGH_TO_TELL_FEW = 20
_MOST_KEYS = 100
_AMOUNT_DIGITS = 4
"""Digits after the point up to which numbers are taken for amounts: exact. Measured values have more, or any number."""

_LEAST_SCALE = 2
"""JSON writes 12.50 as 12.5: a sample of such amounts says nothing of the second digit."""

_LONGEST_ID = 64

_PRESENT = 0.9
"""Part of the records in which an event's time has to be: one without it is a dead letter."""

_DECIMAL_TEXT = re.compile(r"[+-]?[0-9]+\.(?P<fraction>[0-9]+)")
_WITHOUT_OFFSET = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?")
_TIME_NAMES = re.compile(
    r"(?i)(?:^|_|\.)(?:time|timestamp|ts|at|date|datetime|when|epoch|dt)(?:_|$)|time$|stamp$|At$|Date$"
)
_BEST_TIMES = ("event_time", "timestamp", "time", "ts", "occurred_at", "created_at", "datetime")
_ID_NAMES = re.compile(r"(?:^|_|\.)(?:id|uuid|guid|key|uid)$|Id$|ID$|Uuid$")
_SECONDS, _MILLISECONDS = (978_307_200, 4_102_444_800), (978_307_200_000, 4_102_444_800_000)
"""The years 2001 to 2099."""


class GuessError(ValueError):
    """A sample, or what was said of it, that no stream can be made of; the message says what to do."""


@dataclass
class Field:
    """What a sample has of a field. ``values``: those that are not null, in order."""

    path: tuple[str, ...]
    values: list[Any] = field(default_factory=list)
    records: int = 0
    """In the sample."""

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def always(self) -> bool:
        return len(self.values) == self.records

    def fits(self, declared: str, form: TimeForm = TimeForm.LOGICAL) -> bool:
        """Whether the intake takes every value into a column of this type."""
        convert = ColumnType.parse(declared).converter(DECLARED, form)
        try:
            for value in self.values:
                convert(value)
        except (WrongValueError, OutOfRangeError):
            return False
        return True


@dataclass(frozen=True)
class TimeGuess:
    """A field that says when an event happened, and how."""

    name: str
    form: TimeForm
    precision: int

    @property
    def declared(self) -> str:
        return f"DateTime64({self.precision}, 'UTC')"


def fields_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Field]:
    """The fields of some records by their names; nested records are taken apart."""
    fields: dict[tuple[str, ...], Field] = {}
    objects: dict[tuple[str, ...], bool] = {}
    for record in records:
        for path, value in _flat(record):
            if isinstance(value, dict):
                objects.setdefault(path, True)
            elif value is not None:
                objects[path] = False
    keys: dict[tuple[str, ...], set[str]] = {}
    for record in records:
        for path, value in _flat(record):
            if isinstance(value, dict):
                keys.setdefault(path, set()).update(value)
    whole = {path for path, only in objects.items() if only and 0 < len(keys.get(path, ())) <= _MOST_KEYS}
    for record in records:
        for path, value in _flat(record):
            if all(path[:depth] in whole for depth in range(1, len(path))) and path not in whole:
                found = fields.setdefault(path, Field(path, records=len(records)))
                if value is not None:
                    found.values.append(value)
    # A field "a.b" at the top stands before b of a nested record a, as it does at the intake.
    by_name: dict[str, Field] = {}
    for each in sorted(fields.values(), key=lambda each: (len(each.path) > 1, any("." in key for key in each.path))):
        by_name.setdefault(each.name, each)
    return {each.name: by_name[each.name] for each in fields.values()}


def _flat(record: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in record.items():
        path = (*above, key)
        yield path, value
        if isinstance(value, dict):
            yield from _flat(value, path)


def columns_of(
    fields: Mapping[str, Field], *, time: TimeGuess, identity: Sequence[str], chosen: Mapping[str, str]
) -> tuple[list[Proposed], list[LeftOut]]:
    """A column for each field that can have one.

    Args:
        chosen: types that a person wants, by field; :data:`NO_COLUMN` for none.

    Raises:
        GuessError: a chosen type is none, or of no field.
    """
    if unknown := sorted(chosen.keys() - fields.keys()):
        raise GuessError(f"there is no field {unknown[0]!r} in the sample; it has {', '.join(fields)}")
    columns: list[Proposed] = []
    left_out: list[LeftOut] = []
    taken: dict[str, str] = {}
    needed = {time.name, *identity}
    # What an event is known by comes first to a name that only one can have.
    for each in sorted(fields.values(), key=lambda each: each.name not in needed):
        if unfit := unfit_name(each.path, taken):
            left_out.append(LeftOut(each.name, unfit))
            continue
        found = _column(each, time=time, identity=identity, chosen=chosen.get(each.name))
        if isinstance(found, Proposed):
            taken[each.name.lower()] = each.name
            columns.append(found)
        else:
            left_out.append(found)
    order = list(fields)
    columns.sort(key=lambda column: order.index(column.name))
    return columns, left_out


def _column(each: Field, *, time: TimeGuess, identity: Sequence[str], chosen: str | None) -> Proposed | LeftOut:
    if each.name == time.name:
        return Proposed(each.name, time.declared)
    if chosen == NO_COLUMN:
        return LeftOut(each.name, "you want none")
    if chosen is not None:
        try:
            ColumnType.parse(chosen)
        except UnsupportedTableError as error:
            raise GuessError(f"--column {each.name}={chosen}: {error} is no type that can be filled") from error
        return Proposed(each.name, chosen)
    guess = _guess(each)
    if isinstance(guess, LeftOut):
        return guess
    if each.name in identity or each.always or guess.declared.startswith("Array("):
        return guess
    return Proposed(each.name, nullable(guess.declared), guess.why)


def _guess(each: Field) -> Proposed | LeftOut:  # noqa: PLR0911  (a line a kind)
    """Without regard to nulls."""
    kinds = {_KINDS.get(type(value), "something else") for value in each.values}
    match sorted(kinds):
        case []:
            return LeftOut(each.name, "it is null in all of the sample, which does not say of what type it is")
        case ["text"]:
            return _of_text(each)
        case ["true or false"]:
            return Proposed(each.name, "Bool")
        case ["list"]:
            return _of_lists(each)
        case ["float"]:
            return Proposed(each.name, "Float64", "it is a float in the file")
        case ["integer"] | ["number"] | ["integer", "number"]:
            return _of_numbers(each)
        case ["record"]:
            return LeftOut(each.name, f"it has no fields, or more than {_MOST_KEYS}, like a map")
    return LeftOut(each.name, f"it is {' and '.join(sorted(kinds))}, and a column has one type")


_KINDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "integer",
    Decimal: "number",
    float: "float",
    list: "list",
    dict: "record",
}


def _of_text(each: Field) -> Proposed | LeftOut:
    for declared in ("UUID", "DateTime64(3, 'UTC')", "Date"):
        if each.fits(declared):
            finer = declared.startswith("DateTime64") and _fraction(each.values) > 3
            return Proposed(each.name, "DateTime64(6, 'UTC')" if finer else declared)
    scales = {len(found["fraction"]) if (found := _DECIMAL_TEXT.fullmatch(text)) else 0 for text in each.values}
    if len(scales) == 1 and (scale := scales.pop()) and (exact := _decimal(each, scale)):
        return Proposed(each.name, exact, f"text with {scale} digits after the point each time: exact")
    if not each.fits("String"):
        return LeftOut(each.name, "it has text that is no Unicode (half of a surrogate pair)")
    distinct = len(set(each.values))
    if len(each.values) >= _ENOUGH_TO_TELL_FEW and distinct <= min(_FEW_VALUES, len(each.values) // 5):
        return Proposed(each.name, "LowCardinality(String)")
    return Proposed(each.name, "String")


def _of_numbers(each: Field) -> Proposed | LeftOut:
    for declared in ("Int64", "UInt64"):
        if all(type(value) is int for value in each.values) and each.fits(declared):
            return Proposed(each.name, declared)
    scale = max(_digits(value) for value in each.values)
    if scale == 0 and (exact := _decimal(each, 0)):
        return Proposed(each.name, exact, "whole numbers beyond 64 bits")
    if 0 < scale <= _AMOUNT_DIGITS and (exact := _decimal(each, max(scale, _LEAST_SCALE))):
        return Proposed(each.name, exact, f"at most {scale} digits after the point: taken for an exact amount")
    if each.fits("Float64"):
        return Proposed(each.name, "Float64", f"up to {scale} digits after the point: taken for a measured value")
    return LeftOut(each.name, "it has numbers that no column holds")


def _decimal(each: Field, scale: int) -> str | None:
    for digits in (18, 38, 76):
        declared = f"Decimal({digits}, {scale})"
        if scale < digits and each.fits(declared):
            return declared
    return None


def _of_lists(each: Field) -> Proposed | LeftOut:
    if len(each.path) > 1:
        return LeftOut(each.name, "ClickHouse wants the lists of one nested record to be of one length")
    entries = Field(each.path, [entry for value in each.values for entry in value if entry is not None])
    if not entries.values:
        return LeftOut(each.name, "its lists are empty in all of the sample, which does not say of what they are")
    inner = _guess(entries)
    if isinstance(inner, LeftOut) or inner.declared.startswith("Array("):
        return LeftOut(each.name, "it is lists of what is not one plain type")
    kind = re.sub(r"LowCardinality\((\w+)\)", r"\1", inner.declared)
    has_null = any(entry is None for value in each.values for entry in value)
    return Proposed(each.name, f"Array(Nullable({kind}))" if has_null else f"Array({kind})", inner.why)


def _digits(value: int | Decimal | float) -> int:
    """After the point, as written."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _fraction(texts: Sequence[Any]) -> int:
    """The most digits that an instant has after its second."""
    found = (re.search(r"[.,](\d+)", text) for text in texts if isinstance(text, str))
    return max((len(each[1].rstrip("0")) for each in found if each), default=0)


def times_in(fields: Mapping[str, Field]) -> list[TimeGuess]:
    """Fields that may say when an event happened, the likeliest first."""
    found = [
        guess
        for each in fields.values()
        if len(each.path) == 1
        and unfit_name(each.path, {}) is None
        and each.values
        and len(each.values) >= _PRESENT * each.records
        and (isinstance(each.values[0], str) or _TIME_NAMES.search(each.name))
        and (guess := _time(each)) is not None
    ]
    order = list(fields)

    def likeliness(guess: TimeGuess) -> tuple[bool, int, bool, int]:
        best = _BEST_TIMES.index(guess.name) if guess.name in _BEST_TIMES else len(_BEST_TIMES)
        return (not fields[guess.name].always, best, not _TIME_NAMES.search(guess.name), order.index(guess.name))

    return sorted(found, key=likeliness)


def time_named(fields: Mapping[str, Field], name: str) -> TimeGuess:
    """That field as the event's time.

    Raises:
        GuessError: it cannot be.
    """
    each = _named(fields, name, "--time")
    if guess := _time(each):
        return guess
    if not each.values:
        raise GuessError(f"--time {name}: it is null in all of the sample")
    example = each.values[0]
    if isinstance(example, str) and _WITHOUT_OFFSET.fullmatch(example):
        raise GuessError(
            f"--time {name}: {example!r} has no offset (Z or +01:00): of which place it is the time it does not say; "
            "have the producer write one"
        )
    raise GuessError(
        f"--time {name}: its values are no instants, {_shown(_odd_time(each))} for one; they have to be like "
        "2026-11-21T10:31:00.123Z in all records, or seconds or milliseconds since 1970"
    )


def _shown(value: Any) -> str:
    return f"{str(value) if isinstance(value, Decimal) else repr(value):.60}"


def _odd_time(each: Field) -> Any:
    """The first value that is none."""
    return next((value for value in each.values if _time(Field(each.path, [value])) is None), each.values[0])


def _time(each: Field) -> TimeGuess | None:
    if not each.values:
        return None
    if all(isinstance(value, str) for value in each.values):
        precision = 6 if _fraction(each.values) > 3 else 3
        guess = TimeGuess(each.name, TimeForm.ISO8601, precision)
    elif all(type(value) in (int, Decimal, float) for value in each.values):
        low, high = min(each.values), max(each.values)
        digits = max(map(_digits, each.values))
        if _SECONDS[0] <= low and high < _SECONDS[1]:
            guess = TimeGuess(each.name, TimeForm.UNIX_S, 6 if digits > 3 else 3)
        elif _MILLISECONDS[0] <= low and high < _MILLISECONDS[1]:
            guess = TimeGuess(each.name, TimeForm.UNIX_MS, 6 if digits else 3)
        else:
            return None
    else:
        return None
    return guess if each.fits(guess.declared, guess.form) else None


def ids_in(fields: Mapping[str, Field], *, but: str) -> list[str]:
    """Fields that may tell one event from another, the likeliest first; ``but``: the event's time, which is none."""
    found = [
        each
        for each in fields.values()
        if len(each.path) == 1
        and each.name != but
        and unfit_name(each.path, {}) is None
        and each.always
        and each.values
        and (all(type(value) is str for value in each.values) or all(type(value) is int for value in each.values))
        and isinstance(_guess(each), Proposed)
        and _is_id(each)
    ]
    order = list(fields)

    def likeliness(each: Field) -> tuple[bool, bool, int]:
        return (not _ID_NAMES.search(each.name), not each.fits("UUID"), order.index(each.name))

    return [each.name for each in sorted(found, key=likeliness)]


def _is_id(each: Field) -> bool:
    """Unique; or by its name an id that a tenth of the records at most repeat, as a producer does that sends again."""
    distinct = len(set(each.values))
    if _ID_NAMES.search(each.name):
        return distinct >= _PRESENT * len(each.values)
    is_word = all(len(value) <= _LONGEST_ID and " " not in value for value in each.values if isinstance(value, str))
    return distinct == len(each.values) > 1 and is_word


def require_ids(fields: Mapping[str, Field], names: Sequence[str]) -> None:
    """Raises:
    GuessError: one of them cannot tell events apart.
    """
    for name in names:
        each = _named(fields, name, "--id")
        if not each.values:
            raise GuessError(f"--id {name}: it is null in all of the sample")
        if isinstance(guess := _guess(each), LeftOut):
            raise GuessError(f"--id {name}: {guess.why}")
        if guess.declared.startswith("Array(") or guess.declared == "Float64":
            raise GuessError(f"--id {name}: {guess.declared} is no type that tells one event from another")


def _named(fields: Mapping[str, Field], name: str, option: str) -> Field:
    each = fields.get(name)
    if each is None:
        raise GuessError(f"{option} {name}: there is no such field in the sample; it has {', '.join(fields)}")
    if len(each.path) > 1:
        raise GuessError(f"{option} {name}: it is nested; what tells an event's time and identity stands at its top")
    if unfit := unfit_name(each.path, {}):
        raise GuessError(f"{option} {name}: it can have no column, as {unfit}")
    return each

"""The types of ClickHouse that a sink fills: what each takes of a record, checked and converted exactly. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any
from uuid import UUID

import pyarrow as pa

from etar.streams import TimeForm

Convert = Callable[[Any], Any]
"""From a value as the record's reader gave it to one as Arrow takes it; raises :class:`WrongValueError`,
:class:`OutOfRangeError`."""

TICKS_PER_SECOND = {"timestamp-millis": 1_000, "timestamp-micros": 1_000_000, "timestamp-nanos": 1_000_000_000}
"""Logical types that are instants. A local timestamp is none: of which place it is local its schema does not say."""

UUID_BYTES = 16

MOST_DIGITS = 400
"""Of a number in text, and of the power of ten that it may be multiplied with. A double's ends are at 308, and no
column has more than 78; converting longer ones takes the square of their length."""

MOST_DECIMAL_BYTES = 200
"""Of a decimal in Avro: as :data:`MOST_DIGITS`."""

FILLS = (
    "String, UUID, Bool, integers up to 64 bits, Float32, Float64, Decimal, Enum8, Enum16, Date, Date32, DateTime and "
    "DateTime64 of precision 3 or 6 in UTC, and Array, Map(String, …) and Tuple with names of these; nullable or not"
)
"""For messages."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"(?P<unsigned>U?)Int(?P<bits>8|16|32|64)")
_INSTANT = re.compile(r"(?:DateTime64\((?P<precision>[36])(?:, 'UTC')?\)|DateTime(?:\('UTC'\))?)")
_DECIMAL = re.compile(r"Decimal\((?P<digits>\d+), (?P<scale>\d+)\)")
_ENUM = re.compile(r"Enum(?:8|16)\((?P<symbols>.*)\)", re.DOTALL)
_SYMBOL = re.compile(r"'(?P<symbol>(?:[^'\\]|\\.)*)' = -?\d+", re.DOTALL)
_WRAPPER = re.compile(r"(?P<wrapper>LowCardinality|Nullable)\((?P<inner>.*)\)", re.DOTALL)
_CONTAINER = re.compile(r"(?P<container>Array|Map|Tuple)\((?P<inner>.*)\)", re.DOTALL)
_ELEMENT = re.compile(r"(?:`(?P<quoted>(?:[^`\\]|\\.)*)`|(?P<bare>[A-Za-z_]\w*)) (?P<type>.+)", re.DOTALL)
_PIECES = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[(),]|[^'`(),]+", re.DOTALL)

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
    r"(?:[.,](?P<fraction>[0-9]{1,30}))?(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)

# What DateTime64 holds at every precision, in seconds: [1900-01-01, 2300-01-01) as the engine documents it.
_FIRST_SECOND, _END_SECOND = -2_208_988_800, 10_413_792_000
_DATES = {"Date": (date(1970, 1, 1), date(2149, 6, 6)), "Date32": (date(1900, 1, 1), date(2299, 12, 31))}
_DAY_NOUGHT = date(1970, 1, 1).toordinal()
_LARGEST_FLOAT32 = 3.4028235677973366e38
"""From here on a number is rounded to infinity."""

_TIMES = {"time-millis": 1_000, "time-micros": 1_000_000}


class UnsupportedTableError(ValueError):
    """The table has a shape that the native sink cannot fill; the message names the column and the way out."""


class WrongValueError(ValueError):
    """A value that is not of its column's type."""


class OutOfRangeError(ValueError):
    """A value of the right type that its column cannot hold."""


class Declared:
    """What a writer says of the values of one place, beside what they are. This one says nothing."""

    is_json: bool = False
    """Whether instants, dates and decimals are told by texts."""

    @property
    def logical_type(self) -> str | None:
        """Avro's; several joined by "or"."""
        return None

    @property
    def fixed(self) -> bool:
        """Whether the values may be bytes of a fixed number."""
        return False

    @property
    def scale(self) -> int | None:
        """Of bytes that are a decimal: digits after the point. None where they are none."""
        return None

    @property
    def items(self) -> Declared:
        """Of what is in the values: a list's entries, a map's values."""
        return NOTHING_DECLARED

    def field(self, name: str) -> Declared:  # noqa: ARG002  (of this one, all fields are alike)
        """Of a field, where the values are records."""
        return NOTHING_DECLARED


NOTHING_DECLARED = Declared()


@dataclass(frozen=True)
class ColumnType:
    """A type as a sink fills it. ``kind`` is the ClickHouse type without its wrappers; ``parts`` are the types of what
    is in it, each with its name in a Tuple (else ``""``)."""

    kind: str
    nullable: bool
    parts: tuple[tuple[str, ColumnType], ...] = ()

    @classmethod
    def parse(cls, declared: str) -> ColumnType:
        """From a type as ``DESCRIBE TABLE`` writes it, e.g. ``LowCardinality(Nullable(String))``.

        Raises:
            UnsupportedTableError: it cannot be filled; the message is the type, or the part of it that cannot.
        """
        kind, nullable = " ".join(declared.split()) if "'" not in declared else declared.strip(), False
        while match := _WRAPPER.fullmatch(kind):
            nullable = nullable or match["wrapper"] == "Nullable"
            kind = match["inner"]
        if match := _CONTAINER.fullmatch(kind):
            return cls(match["container"], nullable, _parts(match["container"], match["inner"], kind))
        found = cls(kind, nullable)
        found.arrow_type  # noqa: B018  (an unsupported type is refused here, before the first row)
        return found

    @property
    def precision(self) -> int | None:
        """Digits after the second of a type that is an instant, else None."""
        match = _INSTANT.fullmatch(self.kind)
        return int(match["precision"] or 0) if match else None

    @property
    def integers(self) -> range | None:
        """The values of a type whose values are kept as integers: numbers, ticks of instants, days since 1970."""
        if match := _INTEGER.fullmatch(self.kind):
            return _numbers(int(match["bits"]), signed=not match["unsigned"])
        if self.precision is not None:
            return _ticks(self.precision)
        return _days(*_DATES[self.kind]) if self.kind in _DATES else None

    @property
    def decimal(self) -> tuple[int, int] | None:
        """Digits in all and after the point of a Decimal, else None."""
        match = _DECIMAL.fullmatch(self.kind)
        return (int(match["digits"]), int(match["scale"])) if match else None

    @property
    def symbols(self) -> frozenset[str] | None:
        """Of an Enum, else None."""
        match = _ENUM.fullmatch(self.kind)
        if match is None:
            return None
        return frozenset(re.sub(r"\\(.)", r"\1", found["symbol"]) for found in _SYMBOL.finditer(match["symbols"]))

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers: not instants, dates or symbols."""
        return bool(self.decimal or self.kind in _FLOATS or _INTEGER.fullmatch(self.kind))

    @property
    def is_text(self) -> bool:
        return self.kind == "String" or self.symbols is not None

    @property
    def arrow_type(self) -> pa.DataType:
        if self.kind in _CONTAINERS:
            inner = [(name, part.arrow_type) for name, part in self.parts]
            return {"Array": _list_of, "Map": _map_of, "Tuple": pa.struct}[self.kind](inner)
        if match := _INTEGER.fullmatch(self.kind):
            return pa.type_for_alias(f"{'u' if match['unsigned'] else ''}int{match['bits']}")
        if self.precision is not None:
            return pa.timestamp({0: "s", 3: "ms", 6: "us"}[self.precision], tz="UTC")
        if self.decimal is not None:
            digits, scale = self.decimal
            return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
        if self.symbols is not None:
            return pa.string()
        if self.kind not in _PLAIN:
            raise UnsupportedTableError(self.kind)
        return _PLAIN[self.kind]

    def converter(self, declared: Declared, form: TimeForm = TimeForm.LOGICAL) -> Convert:
        """The check and conversion of one value, given what its writer declared.

        Args:
            form: how an instant is told whose logical type does not say it.
        """
        if self.kind in ("Array", "Map"):
            # The engine has no list or map that is null: none is an empty one.
            return _entries(self.kind, self.parts[-1][1].converter(declared.items))
        convert = self._not_null(declared, form)
        if not self.nullable:
            return convert
        return lambda value: None if value is None else convert(value)

    def _not_null(self, declared: Declared, form: TimeForm) -> Convert:
        if self.kind == "Tuple":
            return _record({name: part.converter(declared.field(name)) for name, part in self.parts})
        if self.precision is not None:
            return _instant(declared, form, self.precision)
        if self.kind in _DATES:
            return _date(declared.logical_type, *_DATES[self.kind])
        if self.is_number:
            return self._of_number(declared)
        return self._of_text(declared)

    def _of_number(self, declared: Declared) -> Convert:
        if match := _INTEGER.fullmatch(self.kind):
            return _integer(int(match["bits"]), signed=not match["unsigned"])
        if self.decimal is not None:
            return _decimal(declared.scale, *self.decimal)
        return _number if self.kind == "Float64" else _float32

    def _of_text(self, declared: Declared) -> Convert:
        if self.symbols is not None:
            return _symbol(self.symbols)
        convert = {"String": _text, "UUID": _uuid, "Bool": _boolean}[self.kind]
        if declared.fixed and declared.logical_type == "uuid" and self.kind in _OF_UUID_BYTES:
            return _or_uuid_bytes(convert, _OF_UUID_BYTES[self.kind])
        if self.kind == "String" and (per_second := _TIMES.get(declared.logical_type or "")):
            return _time_of_day(per_second)
        return convert


_FLOATS = ("Float32", "Float64")
_CONTAINERS = ("Array", "Map", "Tuple")
_PLAIN = {
    "String": pa.string(),
    "UUID": pa.binary(UUID_BYTES),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "Bool": pa.bool_(),
    "Date": pa.date32(),
    "Date32": pa.date32(),
}


def _list_of(inner: Sequence[tuple[str, pa.DataType]]) -> pa.DataType:
    return pa.list_(inner[0][1])


def _map_of(inner: Sequence[tuple[str, pa.DataType]]) -> pa.DataType:
    return pa.map_(inner[0][1], inner[1][1])


def _parts(container: str, inner: str, kind: str) -> tuple[tuple[str, ColumnType], ...]:
    arguments = _arguments(inner)
    if container == "Tuple":
        elements = [_ELEMENT.fullmatch(argument) for argument in arguments]
        if not all(elements):
            raise UnsupportedTableError(f"{kind} without names")
        return tuple(
            (re.sub(r"\\(.)", r"\1", each["quoted"]) if each["quoted"] is not None else each["bare"],
             ColumnType.parse(each["type"]))
            for each in elements
            if each
        )  # fmt: skip
    parts = tuple(("", ColumnType.parse(argument)) for argument in arguments)
    if container == "Map" and (parts[0][1].kind != "String" or parts[0][1].nullable):
        raise UnsupportedTableError(kind)
    return parts


def _arguments(inner: str) -> list[str]:
    """Parts at the commas that stand in no brackets and no quotes."""
    found, depth = [""], 0
    for match in _PIECES.finditer(inner):
        piece = match[0]
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            found.append("")
        else:
            found[-1] += piece
    return [argument.strip() for argument in found]


def _text(value: Any) -> str:
    if type(value) is not str:
        raise WrongValueError(f"expected text, got {shown(value)}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise WrongValueError(f"expected text, got half of a surrogate pair in {shown(value)}")
    return value


def _symbol(symbols: frozenset[str]) -> Convert:
    def convert(value: Any) -> str:
        if _text(value) not in symbols:
            raise OutOfRangeError(f"{shown(value)} is none of the column's {len(symbols)} symbols")
        return str(value)

    return convert


def _uuid(value: Any) -> bytes:
    if type(value) is not str or not _UUID.fullmatch(value):
        raise WrongValueError(f"expected a UUID, got {shown(value)}")
    return bytes.fromhex(value.replace("-", ""))


_OF_UUID_BYTES: Mapping[str, Convert] = {"UUID": bytes, "String": lambda value: str(UUID(bytes=value))}


def _or_uuid_bytes(convert: Convert, of_bytes: Convert) -> Convert:
    """``convert``, where the writer may hold a UUID as its sixteen bytes and not as text."""
    return lambda value: of_bytes(value) if type(value) is bytes and len(value) == UUID_BYTES else convert(value)


def _number(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is not int and type(value) is not Decimal:
        raise WrongValueError(f"expected a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise OutOfRangeError(f"{_shortened(value)} does not fit Float64")
    return number


def _float32(value: Any) -> float:
    number = _number(value)
    if math.isfinite(number) and abs(number) >= _LARGEST_FLOAT32:
        raise OutOfRangeError(f"{_shortened(value)} does not fit Float32")
    return number


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise WrongValueError(f"expected true or false, got {shown(value)}")
    return value


def _numbers(bits: int, *, signed: bool) -> range:
    return range(-(1 << bits - 1), 1 << bits - 1) if signed else range(1 << bits)


def _integer(bits: int, *, signed: bool) -> Convert:
    known = _numbers(bits, signed=signed)

    def convert(value: Any) -> int:
        if type(value) is Decimal:  # of JSON, to which 5.0 and 5 are the same number
            value = _whole(value)
        if type(value) is not int:
            raise WrongValueError(f"expected an integer, got {shown(value)}")
        if value not in known:
            raise OutOfRangeError(f"{_shortened(value)} does not fit {'' if signed else 'U'}Int{bits}")
        return value

    return convert


def _whole(value: Decimal) -> int | Decimal:
    """As an integer, if it is one that is not absurdly long."""
    if not value.is_finite() or abs(value.adjusted()) > MOST_DIGITS:
        return value
    numerator, denominator = value.as_integer_ratio()
    return numerator if denominator == 1 else value


def _decimal(scale_of_bytes: int | None, digits: int, scale: int) -> Convert:
    # Exact or not at all: a digit too many after the point is Inexact, one before it an InvalidOperation.
    exact = Context(prec=digits, traps=[Inexact, InvalidOperation])
    step = Decimal((0, (1,), -scale))

    def convert(value: Any) -> Decimal:
        number = _exact_number(value, scale_of_bytes)
        try:
            return exact.quantize(number, step)
        except Inexact:
            raise OutOfRangeError(f"{_shortened(number)} has more than {scale} digits after the point") from None
        except InvalidOperation:
            raise OutOfRangeError(
                f"{_shortened(number)} has more than {digits - scale} digits before the point"
            ) from None

    return convert


def _exact_number(value: Any, scale_of_bytes: int | None) -> Decimal:
    if type(value) is Decimal:
        return value
    if type(value) is int:
        return Decimal(value)
    if type(value) is str and len(value) <= MOST_DIGITS and _NUMBER.fullmatch(value):
        return Decimal(value)
    if type(value) is bytes and scale_of_bytes is not None:
        if len(value) > MOST_DECIMAL_BYTES:
            raise OutOfRangeError(f"a decimal of {len(value)} bytes; at most {MOST_DECIMAL_BYTES} are read")
        unscaled = int.from_bytes(value, "big", signed=True)
        return Decimal(unscaled).scaleb(-scale_of_bytes, context=_ANY_DIGITS)
    raise WrongValueError(f"expected a decimal number, got {shown(value)}")


_ANY_DIGITS = Context(prec=1_000, traps=[Inexact, InvalidOperation])


def _days(first: date, last: date) -> range:
    return range(first.toordinal() - _DAY_NOUGHT, last.toordinal() - _DAY_NOUGHT + 1)


def _date(logical_type: str | None, first: date, last: date) -> Convert:
    known = _days(first, last)

    def convert(value: Any) -> int:
        if type(value) is int and logical_type == "date":
            days = value
        elif type(value) is str and _DAY.fullmatch(value):
            try:
                days = date.fromisoformat(value).toordinal() - _DAY_NOUGHT
            except ValueError as error:
                raise WrongValueError(f"expected a date, got {shown(value)}: {error}") from error
        else:
            raise WrongValueError(
                f"expected a date (text like 2026-11-21, or Avro's logical type date), got {shown(value)}"
            )
        if days not in known:
            raise OutOfRangeError(f"the date {_shortened(value)} is beyond {first} to {last}")
        return days

    return convert


def _time_of_day(per_second: int) -> Convert:
    digits = len(str(per_second)) - 1

    def convert(value: Any) -> str:
        if type(value) is not int:
            return _text(value)
        if not 0 <= value < 86_400 * per_second:
            raise OutOfRangeError(f"{_shortened(value)} is no time of a day")
        seconds, fraction = divmod(value, per_second)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:0{digits}}"

    return convert


def _ticks(precision: int) -> range:
    ticks: int = 10**precision
    first, end = (_FIRST_SECOND, _END_SECOND) if precision else (0, 1 << 32)
    return range(first * ticks, end * ticks)


def _instant(declared: Declared, form: TimeForm, precision: int) -> Convert:
    ticks: int = 10**precision
    known = _ticks(precision)
    years = "1900 to 2299" if precision else "1970 to 2105"
    logical_type = declared.logical_type
    per_second = TICKS_PER_SECOND.get(logical_type or "")
    moment = _moment_reader(declared, form)

    def convert(value: Any) -> int:
        if per_second is not None and type(value) is int:  # at once, as nearly all events have it
            instant = value * ticks // per_second
        else:
            numerator, denominator = moment(value)
            instant = numerator * ticks // denominator
        if instant not in known:
            unit = f" ({logical_type})" if logical_type else ""
            raise OutOfRangeError(f"the instant {_shortened(value)}{unit} is beyond the years {years}")
        return instant

    return convert


def _moment_reader(declared: Declared, form: TimeForm) -> Callable[[Any], tuple[int, int]]:
    """From a value to seconds since 1970, as a fraction: numerator and denominator."""
    if declared.logical_type in TICKS_PER_SECOND or (form is TimeForm.LOGICAL and not declared.is_json):
        return _of_no_instant(declared.logical_type)
    if form in (TimeForm.UNIX_MS, TimeForm.UNIX_S):
        return _of_number(1_000 if form is TimeForm.UNIX_MS else 1)
    return _of_text


def _of_no_instant(logical_type: str | None) -> Callable[[Any], tuple[int, int]]:
    def refuse(value: Any) -> tuple[int, int]:
        raise WrongValueError(
            f"expected a long of logical type {' or '.join(TICKS_PER_SECOND)}, got {shown(value)}"
            f"{'' if logical_type else ' without one'}"
        )

    return refuse


def _of_number(per_second: int) -> Callable[[Any], tuple[int, int]]:
    unit = "milliseconds" if per_second == 1_000 else "seconds"

    def read(value: Any) -> tuple[int, int]:
        if type(value) is float and math.isfinite(value):
            value = Decimal(repr(value))  # the digits that its writer had in mind
        if type(value) is int:
            return value, per_second
        if type(value) is not Decimal or not value.is_finite():
            raise WrongValueError(f"expected {unit} since 1970, got {shown(value)}")
        if abs(value.adjusted()) > MOST_DIGITS:
            raise OutOfRangeError(f"the instant {_shortened(value)} ({unit}) is beyond the years 1900 to 2299")
        numerator, denominator = value.as_integer_ratio()
        return numerator, denominator * per_second

    return read


def _of_text(value: Any) -> tuple[int, int]:
    found = _MOMENT.fullmatch(value) if type(value) is str else None
    if found is None:
        raise WrongValueError(f"expected an instant like 2026-11-21T10:31:00.123Z, got {shown(value)}")
    day, time, fraction, offset = found["day"], found["time"], found["fraction"] or "", found["offset"]
    if offset is None:
        raise WrongValueError(
            f"expected an instant, got {shown(value)} without an offset (Z or +01:00): of which place it is the time "
            "it does not say"
        )
    offset = "+00:00" if offset in "Zz" else offset
    try:
        whole = datetime.fromisoformat(f"{day}T{time}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongValueError(f"expected an instant, got {shown(value)}: {error}") from error
    since = whole - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return seconds * 10 ** len(fraction) + int(fraction or 0), 10 ** len(fraction)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _entries(kind: str, convert: Convert) -> Convert:
    def of_list(value: Any) -> list[Any]:
        if value is None:
            return []
        if type(value) is not list:
            raise WrongValueError(f"expected a list, got {shown(value)}")
        return [_within(f"entry {number}", convert, each) for number, each in enumerate(value)]

    def of_map(value: Any) -> list[tuple[str, Any]]:
        if value is None:
            return []
        if type(value) is not dict:
            raise WrongValueError(f"expected a map, got {shown(value)}")
        return [(_text(key), _within(f"key {_shortened(key)}", convert, each)) for key, each in value.items()]

    return of_list if kind == "Array" else of_map


def _record(converts: Mapping[str, Convert]) -> Convert:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise WrongValueError(f"expected a record, got {shown(value)}")
        return {name: _within(name, each, value.get(name)) for name, each in converts.items()}

    return convert


def _within(where: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except WrongValueError as error:
        raise WrongValueError(f"{where}: {error}") from None
    except OutOfRangeError as error:
        raise OutOfRangeError(f"{where}: {error}") from None


def shown(value: object) -> str:
    """A value with its type, shortened, for a message."""
    return f"number {value!s:.60}" if isinstance(value, Decimal) else f"{type(value).__name__} {value!r:.60}"


def _shortened(value: object) -> str:
    return f"{value!s:.60}"

"""How a value of a file becomes one of a stream's field, by the field's type. Pure.

Values are known by what they are: a UUID, a number, a decimal, an instant, a date, true or false, as text or as what a
file format has for it; arrays, maps and records as such, or as JSON in a text. What comes out is as
:mod:`producer.encoding` takes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from functools import partial
from typing import Any, NamedTuple

from etar.rows.values import EPOCH, NUMBER, Reader, RowError, instant_of, read_bytes, read_uuid, refusal, whole

ANY_BYTES = -1
INT, LONG = range(-(2**31), 2**31), range(-(2**63), 2**63)

_EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])
_UNITS = {1: "seconds", 1000: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
_MICROSECOND = timedelta(microseconds=1)
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


class Field(NamedTuple):
    """One field of a record."""

    name: str
    read: Reader
    binary: int | None = None
    """As of :meth:`etar.rows.values.Values.given`."""
    nullable: bool = False
    optional: bool = False
    """It may be left out: the schema has a default, or does not ask for it."""
    uuid: bool = False

    @property
    def needed(self) -> bool:
        return not (self.nullable or self.optional)


def read_whole(name: str, value: object, *, bounds: range = LONG, bits: int = 64) -> int:
    number = whole(value)
    if number is None or number not in bounds:
        raise refusal(name, value, f"a whole number of at most {bits} bits")
    return number


def _decimal(value: object) -> Decimal | None:
    """The number that a value is, with no digit more or less than it is written with; None: it is no number."""
    match value:
        case bool():
            return None
        case int() | Decimal():
            number = Decimal(value)
        case float() if math.isfinite(value):
            number = Decimal(repr(value))
        case str() if NUMBER.fullmatch(value.strip()):
            number = Decimal(value.strip())
        case _:
            return None
    return number if number.is_finite() and abs(number.adjusted()) < 400 else None


def read_decimal(name: str, value: object, *, digits: int, scale: int) -> Decimal:
    number = _decimal(value)
    if number is not None:
        with suppress(DecimalException):
            exact = number.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
            if len(exact.as_tuple().digits) <= digits:
                return exact
    raise refusal(name, value, f"a decimal of at most {digits} digits, {scale} of them behind the point")


def read_number(name: str, value: object) -> int | Decimal:
    number = _decimal(value)
    if number is None:
        raise refusal(name, value, "a number")
    return int(number) if isinstance(value, int) else number


def read_float(name: str, value: object, *, largest: float = math.inf) -> float:
    number = _decimal(value)
    found = None if number is None else float(number)
    if found is None or math.isinf(found) or abs(found) > largest:
        raise refusal(name, value, "a number")
    return found


def read_boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = _TRUTHS.get(str(value).strip().lower()) if isinstance(value, int | str) else None
    if known is None:
        raise refusal(name, value, "true or false")
    return known


def read_number_instant(
    name: str, value: object, *, ticks: int, bounds: range | None = None, fraction: bool = False
) -> int | Decimal:
    """An instant as a number of which ``ticks`` make a second; ``bounds`` in milliseconds."""
    instant = instant_of(value)
    found: int | Decimal | None
    if instant is not None:
        micros = (instant - EPOCH) // _MICROSECOND
        exact = Decimal(micros) * ticks / 10**6
        found = micros * ticks // 10**6 if not fraction or exact == exact.to_integral_value() else exact
    else:
        found = _decimal(value) if fraction else whole(value)
        if isinstance(found, Decimal) and found == found.to_integral_value():
            found = int(found)
    unit = f"{_UNITS[ticks]} since the epoch"
    if found is None:
        raise refusal(name, value, f"an ISO 8601 time like 2026-11-21T10:31:05.250Z or {unit}")
    if bounds is not None and int(found * 1000 // ticks) not in bounds:
        raise refusal(name, value, f"{unit}, from 1973 to 9999")
    if int(found) not in LONG:
        raise refusal(name, value, f"{unit}, of at most 64 bits")
    return found


def read_text_instant(name: str, value: object, *, bounds: range | None = None) -> str:
    """An instant as ISO 8601, in UTC."""
    instant = instant_of(value)
    if instant is None:
        milliseconds = read_number_instant(name, value, ticks=1000, bounds=bounds)
        with suppress(OverflowError):
            instant = EPOCH + timedelta(milliseconds=int(milliseconds))
    if instant is None or (bounds is not None and (instant - EPOCH) // timedelta(milliseconds=1) not in bounds):
        raise refusal(name, value, "milliseconds since the epoch, from 1973 to 9999")
    try:
        return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise refusal(name, value, "a time that is in the years 1 to 9999 in UTC") from None


def _date_of(name: str, value: object) -> date:
    found = value
    if isinstance(value, str):
        with suppress(ValueError):
            found = date.fromisoformat(value.strip())
    if isinstance(found, datetime):
        found = found.date() if found.time() == time() else None
    if not isinstance(found, date):
        raise refusal(name, value, "a date like 2026-11-21")
    return found


def read_days(name: str, value: object) -> int:
    days = None if isinstance(value, str) else whole(value)
    return days if days is not None and days in INT else (_date_of(name, value) - EPOCH.date()).days


def read_text_date(name: str, value: object) -> str:
    return _date_of(name, value).isoformat()


def read_time_of_day(name: str, value: object, *, ticks: int) -> int:
    found = value
    if isinstance(value, str):
        with suppress(ValueError):
            found = time.fromisoformat(value.strip())
    if isinstance(found, time) and found.tzinfo is None:
        since = timedelta(hours=found.hour, minutes=found.minute, seconds=found.second, microseconds=found.microsecond)
        return since // _MICROSECOND * ticks // 10**6
    number = None if isinstance(value, str) else whole(value)
    if number is None or not 0 <= number < 86_400 * ticks:
        raise refusal(name, value, f"a time of day like 10:31:05.250 or {_UNITS[ticks]} since midnight")
    return number


def read_text_uuid(name: str, value: object) -> str:
    return str(read_uuid(name, value))


def read_fixed(name: str, value: object, *, size: int) -> bytes:
    found = read_bytes(name, value)
    if len(found) != size:
        raise refusal(name, value, f"{size} bytes")
    return found


def read_uuid_bytes(name: str, value: object) -> bytes:
    return read_uuid(name, value).bytes


def read_nothing(name: str, value: object) -> None:
    raise refusal(name, value, "nothing, which is all that the schema allows")


def _nested(name: str, value: object, kind: type[list[Any] | dict[str, Any]], wanted: str) -> Any:
    found = value
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            found = json.loads(value, parse_float=Decimal)
    if kind is dict and isinstance(found, list) and all(isinstance(each, tuple) and len(each) == 2 for each in found):
        found = dict(found)  # a map of Parquet
    if not isinstance(found, kind):
        raise refusal(name, value, wanted)
    return found


def read_list(name: str, value: object, *, item: Field) -> list[Any]:
    return [
        _inner(item, f"{name}[{number}]", each)
        for number, each in enumerate(_nested(name, value, list, "an array, or one as JSON"))
    ]


def read_map(name: str, value: object, *, item: Field) -> dict[str, Any]:
    return {
        key: _inner(item, f"{name}.{key}", each)
        for key, each in _nested(name, value, dict, "a map, or one as JSON").items()
    }


def read_record(name: str, value: object, *, fields: Sequence[Field], open_: bool = False) -> dict[str, Any]:
    given = _nested(name, value, dict, "a record, or one as JSON")
    known = [field.name for field in fields]
    if not open_ and (unknown := [key for key in given if key not in known]):
        raise RowError(f"{name}.{unknown[0]} is not a field of the schema ({', '.join(known)})")
    made = {key: each for key, each in given.items() if key not in known}
    for field in fields:
        if field.name in given or not field.optional:
            made[field.name] = _inner(field, f"{name}.{field.name}", given.get(field.name))
    return made


def _inner(field: Field, name: str, value: object) -> Any:
    if value is None:
        if field.nullable:
            return None
        raise RowError(f"{name} is missing")
    return field.read(name, value)


def read_any(name: str, value: object) -> Any:  # noqa: ARG001  (as every reader)
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value, parse_float=Decimal)
    return value


def _first_that_reads(name: str, value: object, *, readers: Sequence[Reader]) -> Any:
    errors: list[RowError] = []
    for read in readers:
        try:
            return read(name, value)
        except RowError as error:
            errors.append(error)
    wanted = " or ".join(error.kind.removeprefix(f"{name} is not ") for error in errors)
    raise refusal(name, value, wanted)


def of_several(name: str, kinds: Sequence[Field], *, nullable: bool) -> Field:
    if not kinds:
        return Field(name, read_nothing, nullable=True)
    if len(kinds) == 1:
        return kinds[0]._replace(nullable=nullable or kinds[0].nullable)
    return Field(name, partial(_first_that_reads, readers=[kind.read for kind in kinds]), nullable=nullable)

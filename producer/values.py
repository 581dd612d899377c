"""One value of a file as a field of an event: known by what it is, not by how its type is spelled. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

from producer.user_event import EVENT_TYPES, STATUSES, UserEvent

FIELDS = UserEvent._fields
REQUIRED = ("user_id", "event_type", "event_time")

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_CANONICAL_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ZONE_AFTER_TIME = re.compile(r"(.*:[0-9.,]+)\s*(UTC|GMT|Z|[+-][0-9]{2}(?::?[0-9]{2})?)", re.IGNORECASE | re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENT_TIMES = range(10**11, (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1))
"""From March 1973, so that a time in seconds is noticed (until the year 5138), to what a calendar holds."""

_PERHAPS_NOTHING = frozenset(
    {"null", "(null)", "<null>", "none", "nil", "nan", "nat", "na", "n/a", "#n/a", "<na>", "\\n", "undefined"}
)
"""How databases and data frames spell "no value" as text. Each may also be a value: NA is Namibia."""


class RowError(ValueError):
    """One line is not an event. ``kind`` is the reason without the value, the same for all lines that it befalls."""

    def __init__(self, kind: str, message: str | None = None) -> None:
        super().__init__(message or kind)
        self.kind = kind


class Values:
    """What the values of a file mean.

    Args:
        nulls: words that mean "not given", in any case, beside None and empty text, which always do.
        texts: words that are values although they often mean "not given", in any case.
    """

    def __init__(self, nulls: Iterable[str] = (), texts: Iterable[str] = ()) -> None:
        self._nulls = frozenset(word.casefold() for word in nulls)
        self._ask = _PERHAPS_NOTHING - self._nulls - {word.casefold() for word in texts}

    def read(self, name: str, value: object) -> Any:
        """A field's value; None: not given.

        UUIDs are given as :class:`UUID`, ``event_time`` as milliseconds since the epoch.

        Raises:
            RowError: the value is of the wrong kind, or it may mean "not given" and may not.
        """
        value = self._given(name, value)
        return None if value is None else _READERS[name](name, value)

    @property
    def nulls(self) -> frozenset[str]:
        """The words that were said to mean that there is no value, case-folded."""
        return self._nulls

    def _given(self, name: str, value: object) -> object:
        if type(value) is int:
            return value
        if isinstance(value, bytes) and not (len(value) == 16 and _READERS[name] is _uuid):
            # What an engine that knows no text type writes.
            try:
                value = value.decode()
            except UnicodeDecodeError:
                raise _refusal(name, value, "text in UTF-8") from None
        if isinstance(value, Unreadable):
            raise RowError(f"{name} cannot be read", f"{name} cannot be read: {value.reason}")
        word = "nan" if isinstance(value, (float, Decimal)) and math.isnan(value) else value
        if value is None or not isinstance(word, str):
            return value
        plain = word.strip().casefold()
        if word == "" or plain in self._nulls:
            return None
        if plain in self._ask or not plain:
            shown = repr(word if plain else " ")
            raise RowError(
                f"{name} is {shown}, which often means that there is no value. Does it? Say --null {shown}, or "
                f"--text {shown} if it is one"
            )
        return value


class Unreadable:
    """In place of a value that the file's reader could not make a Python value of."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return f"<{self.reason}>"


def _uuid(name: str, value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, bytes):  # Parquet's own type for it: 16 of them
        return UUID(bytes=value)
    if isinstance(value, str):
        with suppress(ValueError):
            text = value.strip()
            # A third of what UUID() takes to find out the same.
            return UUID(int=int(text.replace("-", ""), 16)) if _CANONICAL_UUID.fullmatch(text) else UUID(text)
    raise _refusal(name, value, "a UUID")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refusal(name, value, "text")
    if _SURROGATE.search(value):  # JSON can spell half a pair, UTF-8 cannot; bytes of a CSV that are not UTF-8
        raise _refusal(name, value, "text in UTF-8")
    return value


def _one_of(allowed: tuple[str, ...]) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        word = value.strip() if isinstance(value, str) else value
        if isinstance(word, str) and word in allowed:
            return word
        raise _refusal(name, value, f"one of {', '.join(allowed)}")

    return read


def _whole(value: object) -> int | None:
    """The whole number that a value is, however its type spells it: ``1299.0``, ``"1.299E3"``, ``Decimal(1299)``."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, float) and math.isfinite(value):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or value.adjusted() > 20:
        return None
    return int(value) if value == value.to_integral_value() else None


def _whole_number(name: str, value: object) -> int:
    number = _whole(value)
    if number is None or not -(2**63) <= number < 2**63:
        raise _refusal(name, value, "a whole number of minor units (cents), of at most 64 bits")
    return number


def _instant(name: str, value: object) -> int:
    instant: object = value
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        with suppress(ValueError):
            instant = datetime.fromisoformat(_spelled_as_iso(value.strip()))
    if isinstance(instant, date) and not isinstance(instant, datetime):
        instant = datetime(instant.year, instant.month, instant.day, tzinfo=UTC)
    if isinstance(instant, datetime):
        aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        instant = (aware - _EPOCH) // timedelta(milliseconds=1)
    milliseconds = _whole(instant)
    if milliseconds is None:
        raise _refusal(name, value, "an ISO 8601 time like 2026-11-21T10:31:05.250Z or milliseconds since the epoch")
    if milliseconds not in EVENT_TIMES:
        raise _refusal(name, value, "milliseconds since the epoch, from 1973 to 9999")
    return milliseconds


def _spelled_as_iso(text: str) -> str:
    """``… UTC`` (BigQuery) and ``… -0800`` (Snowflake) as ISO 8601 has them."""
    zoned = _ZONE_AFTER_TIME.fullmatch(text)
    return text if zoned is None else zoned[1] + ("+00:00" if zoned[2][0].isalpha() else zoned[2])


def _refusal(name: str, value: object, wanted: str) -> RowError:
    shown = repr(value)
    return RowError(
        f"{name} is not {wanted}", f"{name} is {shown if len(shown) <= 80 else shown[:77] + '...'}, not {wanted}"
    )


_READERS: MappingProxyType[str, Callable[[str, object], object]] = MappingProxyType(
    {
        "event_id": _uuid,
        "user_id": _uuid,
        "session_id": _uuid,
        "event_type": _one_of(EVENT_TYPES),
        "status": _one_of(STATUSES),
        "event_time": _instant,
        "product_id": _text,
        "amount": _whole_number,
        "error_code": _text,
        "device": _text,
        "country": _text,
    }
)

"""One value of a file, known by what it is and not by how its type is spelled: what stream's field it may be. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

Reader: TypeAlias = Callable[[str, object], Any]
"""Makes a field's value, given its name and what a file holds, which is not None. Raises :class:`RowError`."""

_SURROGATE = re.compile("[\ud800-\udfff]")
NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_CANONICAL_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ZONE_AFTER_TIME = re.compile(r"(.*:[0-9.,]+)\s*(UTC|GMT|Z|[+-][0-9]{2}(?::?[0-9]{2})?)", re.IGNORECASE | re.DOTALL)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENT_TIMES = range(10**11, (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1))
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

    @property
    def nulls(self) -> frozenset[str]:
        """The words that were said to mean that there is no value, case-folded."""
        return self._nulls

    def given(self, name: str, value: object, binary: int | None = None) -> object:
        """The value, as the field's reader takes it; None: not given.

        Args:
            binary: how many bytes the field takes as bytes, -1 for any number; others are text.

        Raises:
            RowError: it may mean "not given" and may not, or there is none that could be read.
        """
        if type(value) is int:
            return value
        if isinstance(value, bytes) and binary not in (len(value), -1):
            # What an engine that knows no text type writes.
            try:
                value = value.decode()
            except UnicodeDecodeError:
                raise refusal(name, value, "text in UTF-8") from None
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


def read_uuid(name: str, value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, bytes):  # Parquet's own type for it: 16 of them
        return UUID(bytes=value)
    if isinstance(value, str):
        with suppress(ValueError):
            text = value.strip()
            # A third of what UUID() takes to find out the same.
            return UUID(int=int(text.replace("-", ""), 16)) if _CANONICAL_UUID.fullmatch(text) else UUID(text)
    raise refusal(name, value, "a UUID")


def read_bytes(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise refusal(name, value, "bytes")


def read_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise refusal(name, value, "text")
    if _SURROGATE.search(value):  # JSON can spell half a pair, UTF-8 cannot; bytes of a CSV that are not UTF-8
        raise refusal(name, value, "text in UTF-8")
    return value


def one_of(allowed: tuple[str, ...]) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        word = value.strip() if isinstance(value, str) else value
        if isinstance(word, str) and word in allowed:
            return word
        raise refusal(name, value, f"one of {', '.join(allowed)}")

    return read


def whole(value: object) -> int | None:
    """The whole number that a value is, however its type spells it: ``1299.0``, ``"1.299E3"``, ``Decimal(1299)``."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, float) and math.isfinite(value):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or value.adjusted() > 20:
        return None
    return int(value) if value == value.to_integral_value() else None


def read_milliseconds(name: str, value: object) -> int:
    """An instant as milliseconds since the epoch: given as that, or as ISO 8601."""
    instant = instant_of(value)
    milliseconds = whole(value) if instant is None else (instant - EPOCH) // timedelta(milliseconds=1)
    if milliseconds is None:
        raise refusal(name, value, "an ISO 8601 time like 2026-11-21T10:31:05.250Z or milliseconds since the epoch")
    if milliseconds not in EVENT_TIMES:
        raise refusal(name, value, "milliseconds since the epoch, from 1973 to 9999")
    return milliseconds


def instant_of(value: object) -> datetime | None:
    """The instant of a date or time, or of one as ISO 8601 (in UTC if it names no zone); None: it is none."""
    if isinstance(value, str) and not NUMBER.fullmatch(value.strip()):
        with suppress(ValueError):
            value = datetime.fromisoformat(_spelled_as_iso(value.strip()))
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None


def _spelled_as_iso(text: str) -> str:
    """``… UTC`` (BigQuery) and ``… -0800`` (Snowflake) as ISO 8601 has them."""
    zoned = _ZONE_AFTER_TIME.fullmatch(text)
    return text if zoned is None else zoned[1] + ("+00:00" if zoned[2][0].isalpha() else zoned[2])


def refusal(name: str, value: object, wanted: str) -> RowError:
    shown = repr(value)
    return RowError(
        f"{name} is not {wanted}", f"{name} is {shown if len(shown) <= 80 else shown[:77] + '...'}, not {wanted}"
    )

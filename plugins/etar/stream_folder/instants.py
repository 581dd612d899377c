"""The time of a record, whichever way it tells it: read as an instant, moved, and written as text. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from etar.instants import utc_text
from etar.streams import TimeForm

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(value: Any, form: TimeForm) -> datetime:
    """The instant that a good value tells, to the microsecond."""
    if form in (TimeForm.UNIX_MS, TimeForm.UNIX_S) and not isinstance(value, str):
        unit = 1000 if form is TimeForm.UNIX_MS else 1_000_000
        return _EPOCH + timedelta(microseconds=int(Decimal(str(value)) * unit))
    return datetime.fromisoformat(_trimmed(str(value))).astimezone(UTC)


def as_text(value: Any, form: TimeForm) -> Any:
    """A value as ISO 8601 in UTC; what is no instant stays what it is."""
    if value is None:
        return None
    return utc_text(instant_of(value, form))


def _trimmed(text: str) -> str:
    """Python reads six digits after the second."""
    head, point, rest = text.replace(",", ".").partition(".")
    if not point:
        return text
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"

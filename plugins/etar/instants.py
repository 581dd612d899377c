"""Instants as Kafka and Avro have them, whole milliseconds since 1970, and as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_milliseconds(milliseconds: int) -> datetime:
    """In UTC.

    Raises:
        OverflowError: beyond the years 1 to 9999.
    """
    return _EPOCH + milliseconds * MILLISECOND


def to_milliseconds(instant: datetime) -> int:
    """Of an aware instant, rounded down."""
    return (instant - _EPOCH) // MILLISECOND


def utc_text(instant: datetime, unit: str | None = None) -> str:
    """An aware instant as ISO 8601 in UTC, ``2026-11-21T10:31:06.000Z``; without a unit to the microsecond where it has
    some, else to the millisecond.

    Args:
        unit: of the last digits, as :meth:`datetime.isoformat` names it.
    """
    unit = unit or ("microseconds" if instant.microsecond % 1000 else "milliseconds")
    return instant.astimezone(UTC).isoformat(timespec=unit).removesuffix("+00:00") + "Z"

"""Instants as Kafka and Avro have them: whole milliseconds since 1970."""

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

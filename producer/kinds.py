"""What a record of made-up traffic is: an event, one that comes late or twice, or malformed in one of several ways."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from etar.streams import RecordFormat

NO_SUCH_SCHEMA_ID = 2**31 - 1
"""A schema id that no registry hands out before two thousand million schemas."""


class Kind(StrEnum):
    """What a record is. All but the first three are malformed: no sink may make a row of them."""

    EVENT = "event"
    LATE = "late"
    """Happened noticeably before it is sent."""
    DUPLICATE = "duplicate"
    """The same event as one before, sent again."""
    NOT_AVRO = "not_avro"
    UNKNOWN_SCHEMA_ID = "unknown_schema_id"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    NULL_VALUE = "null_value"
    EMPTY_VALUE = "empty_value"
    TIME_FAR_AHEAD = "time_far_ahead"
    TIME_FAR_BEHIND = "time_far_behind"
    NOT_JSON = "not_json"

    @property
    def malformed(self) -> bool:
        return self not in (Kind.EVENT, Kind.LATE, Kind.DUPLICATE)


_OF_ONE_FORMAT = {
    Kind.NOT_AVRO: (RecordFormat.AVRO,),
    Kind.NOT_JSON: (RecordFormat.JSON, RecordFormat.JSON_REGISTERED),
    Kind.UNKNOWN_SCHEMA_ID: (RecordFormat.AVRO, RecordFormat.JSON_REGISTERED),
}


def malformed_kinds(form: RecordFormat) -> tuple[Kind, ...]:
    """Those that records of a format can be."""
    return tuple(kind for kind in Kind if kind.malformed and form in _OF_ONE_FORMAT.get(kind, tuple(RecordFormat)))


class Draft(NamedTuple):
    """A record before it is encoded. ``event`` is what a malformed record would have been."""

    kind: Kind
    event: Any
    """A dict or a named tuple with the fields of the stream's schema."""
    happened: int
    """Milliseconds since the epoch."""

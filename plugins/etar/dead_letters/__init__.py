"""Records that cannot become a row of their table: why, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

TABLE = "dead_letters"
"""Table that keeps the dead letters of every stream, one row a record (read it with FINAL)."""


class Reason(StrEnum):
    """The closed list of reasons. The value is what stands in the table's ``reason`` column."""

    NULL_VALUE = "null_value"
    """The record has no value at all (a tombstone), or its value is Avro's or JSON's null."""

    EMPTY_VALUE = "empty_value"
    """The value is zero bytes long."""

    NOT_AVRO = "not_avro"
    """The value does not start like the Confluent wire format (0, then a 4-byte schema id), and no header names a
    schema; or its body holds what the schema does not allow: text that is not UTF-8, an enum symbol or union branch
    that does not exist."""

    NOT_JSON = "not_json"
    """The value is not the one JSON object that a record is: bytes that are no UTF-8, a breach of the grammar, a key
    twice in one object, NaN, another value than an object, or nesting without end. Or, where the stream's records have
    a header, it has none. The detail says at which line and column, or byte."""

    UNKNOWN_SCHEMA_ID = "unknown_schema_id"
    """The registry answered that it has no schema of this id, or so many ids of one batch had none that it was not
    asked for this one. (A registry that does not answer is waited for.)"""

    UNSUPPORTED_SCHEMA = "unsupported_schema"
    """The schema is there, but it is not one of a record in the stream's format that can be read here, or refers to
    what the registry does not have; or it is named by an id that the registry cannot be asked for."""

    TRUNCATED = "truncated"
    """The value ends before the record does."""

    TRAILING_BYTES = "trailing_bytes"
    """The value goes on after the record's end; which part of it was meant cannot be known."""

    MISSING_OR_WRONG_FIELD = "missing_or_wrong_field"
    """A field that a column needs is absent or null, or its value is not of the column's type."""

    OUT_OF_RANGE = "out_of_range"
    """A value is of the right type, but beyond what its column can hold, a rule of the JSON Schema allows, or the
    stream's own checks do; the detail names field, rule and value."""

    EVENT_TIME_OUT_OF_BOUNDS = "event_time_out_of_bounds"
    """The event time is further ahead of the broker's append time than ``PipelineSettings.max_ahead``."""

    TOO_LATE = "too_late"
    """The event time is ``PipelineSettings.horizon`` or more before the broker's append time."""

    INSERT_REFUSED = "insert_refused"
    """The warehouse refused this row for its data, or too many around it to try each alone; the detail says which, and
    holds the engine's message."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that could not become a row, with its bytes as Kafka held them.

    ``appended`` is the broker's append time (aware); ``detail`` says in words what was wrong, for a person.
    """

    topic: str
    partition: int
    offset: int
    appended: datetime
    reason: Reason
    detail: str
    key: bytes | None
    value: bytes | None

    def heading(self) -> dict[str, str | int]:
        """All but its bytes, for JSON: which record it is, since when, and what is wrong with it."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "appended": self.appended.isoformat(timespec="milliseconds"),
            "reason": self.reason.value,
            "detail": self.detail,
        }

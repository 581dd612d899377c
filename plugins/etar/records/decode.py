"""From a Kafka record to a row of the table, or to a dead letter that says why not. Pure: no clock, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import SchemaParseException

from etar.dead_letters import DeadLetter, Reason
from etar.instants import MILLISECOND, from_milliseconds
from etar.records.table import EVENT_TIME, Convert, OutOfRangeError, TableLayout, WrongValueError
from etar.settings import PipelineSettings

_MAGIC = b"\0"
HEADER_BYTES = 5
"""Confluent's wire format: a zero byte, then the schema id in four, then the Avro body."""

_DETAIL_CHARACTERS = 1_000


class Record(NamedTuple):
    """A record as Kafka held it. ``appended_ms``: the broker's append time in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    key: bytes | None
    value: bytes | None

    def dead(self, reason: Reason, detail: str) -> DeadLetter:
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            appended=from_milliseconds(self.appended_ms),
            reason=reason,
            detail=detail[:_DETAIL_CHARACTERS],
            key=self.key,
            value=self.value,
        )


class Row(NamedTuple):
    """A record that fits the table: one value per :attr:`TableLayout.fields`, in their order, as Arrow takes them."""

    record: Record
    values: tuple[Any, ...]


@dataclass(frozen=True)
class EventTimeBounds:
    """:meth:`PipelineSettings.believes` in whole milliseconds, for every record of a stream."""

    behind_ms: float
    ahead_ms: float

    @classmethod
    def of(cls, settings: PipelineSettings) -> EventTimeBounds:
        return cls(behind_ms=settings.horizon / MILLISECOND, ahead_ms=settings.max_ahead / MILLISECOND)

    def believe(self, event_ms: int, appended_ms: int) -> bool:
        return appended_ms - self.behind_ms < event_ms <= appended_ms + self.ahead_ms


@dataclass(frozen=True)
class Unreadable:
    """A schema id under which no record can become a row."""

    reason: Reason
    detail: str


class _BadRecordError(ValueError):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class RecordReader:
    """Reads records of one writer schema into the columns of one table. Made by :func:`compile_reader`."""

    def __init__(self, schema: Any, plan: tuple[tuple[str, Convert], ...]) -> None:
        self._schema = schema
        self._plan = plan

    def read(self, body: BytesIO) -> tuple[Any, ...]:
        """The values of one record, in the order of :attr:`TableLayout.fields`.

        Raises:
            _BadRecordError: the body cannot be decoded, or a value does not fit its column.
        """
        try:
            datum = fastavro.schemaless_reader(body, self._schema, None)
        except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
            raise _BadRecordError(_body_fault(error), f"the body cannot be decoded: {error!r:.200}") from error
        if rest := len(body.getbuffer()) - body.tell():
            raise _BadRecordError(Reason.TRAILING_BYTES, f"{rest} bytes follow the record's end")
        try:
            return tuple([convert(datum.get(name)) for name, convert in self._plan])
        except (WrongValueError, OutOfRangeError):
            raise self._first_misfit(datum) from None

    def _first_misfit(self, datum: dict[str, Any]) -> _BadRecordError:
        """Which field it was: found by converting again, so that the good records need not keep track."""
        for name, convert in self._plan:
            try:
                convert(datum.get(name))
            except WrongValueError as error:
                found = str(error) if name in datum else "the schema has no such field, and the column takes no null"
                return _BadRecordError(Reason.MISSING_OR_WRONG_FIELD, f"{name}: {found}")
            except OutOfRangeError as error:
                return _BadRecordError(Reason.OUT_OF_RANGE, f"{name}: {error}")
        raise AssertionError("a conversion that failed a moment ago succeeded")


def compile_reader(schema: str, layout: TableLayout) -> RecordReader | Unreadable:
    """A reader for a writer's Avro schema (JSON text), or why there can be none."""
    try:
        parsed = json.loads(schema)
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            return Unreadable(Reason.UNSUPPORTED_SCHEMA, "the schema is not an Avro record")
        # Logical types are taken off: the columns check the plain values themselves, which is stricter (a decoder
        # overflows on far instants) and twice as fast as building a UUID and a datetime per field to take apart again.
        plain = fastavro.parse_schema(without_logical_types(parsed))
    except (ValueError, KeyError, TypeError, RecursionError, SchemaParseException) as error:
        return Unreadable(Reason.UNSUPPORTED_SCHEMA, f"the schema cannot be parsed: {error!r:.200}")
    logical = {field["name"]: _logical_type(field["type"]) for field in parsed["fields"]}
    plan = tuple((column.name, column.converter(logical.get(column.name))) for column in layout.fields)
    return RecordReader(plain, plan)


class Decoder:
    """Decides about each record of a stream: a row, or a dead letter. Never raises, whatever the bytes."""

    def __init__(self, layout: TableLayout, bounds: EventTimeBounds) -> None:
        names = [column.name for column in layout.fields]
        self._event_time = names.index(EVENT_TIME)
        self._ticks_per_ms = 10 ** ((layout.fields[self._event_time].precision or 3) - 3)
        self._bounds = bounds

    def decode(self, record: Record, readers: Mapping[int, RecordReader | Unreadable]) -> Row | DeadLetter:
        """``readers`` must have the id that :func:`schema_id_of` gives for the value."""
        try:
            return Row(record, self._values(record, readers))
        except _BadRecordError as error:
            return record.dead(error.reason, error.detail)

    def _values(self, record: Record, readers: Mapping[int, RecordReader | Unreadable]) -> tuple[Any, ...]:
        value = record.value
        if value is None:
            raise _BadRecordError(Reason.NULL_VALUE, "the record has no value (a tombstone)")
        if not value:
            raise _BadRecordError(Reason.EMPTY_VALUE, "the value is zero bytes long")
        identifier = schema_id_of(value)
        if identifier is None:
            start = f"{len(value)} bytes, starting with {value[:8].hex(' ')}"
            raise _BadRecordError(Reason.NOT_AVRO, f"no Confluent header (00, then 4 bytes of schema id): {start}")
        reader = readers[identifier]
        if isinstance(reader, Unreadable):
            raise _BadRecordError(reader.reason, f"schema id {identifier}: {reader.detail}")
        body = BytesIO(value)
        body.seek(HEADER_BYTES)
        values = reader.read(body)
        event_ms = values[self._event_time] // self._ticks_per_ms
        if not self._bounds.believe(event_ms, record.appended_ms):
            reason = Reason.EVENT_TIME_OUT_OF_BOUNDS if event_ms > record.appended_ms else Reason.TOO_LATE
            raise _BadRecordError(reason, self._out_of_bounds(event_ms, record.appended_ms))
        return values

    def _out_of_bounds(self, event_ms: int, appended_ms: int) -> str:
        apart = (event_ms - appended_ms) / 1000
        event = from_milliseconds(event_ms)
        return (
            f"{EVENT_TIME} {event.isoformat(timespec='milliseconds')} is {abs(apart):.3f} s "
            f"{'after' if apart > 0 else 'before'} the broker took the record; believed are less than "
            f"{self._bounds.behind_ms / 1000:g} s before and at most {self._bounds.ahead_ms / 1000:g} s after"
        )


def schema_id_of(value: bytes | None) -> int | None:
    """The schema id in a value's Confluent header; None where there is no such header."""
    if value is None or len(value) < HEADER_BYTES or value[:1] != _MAGIC:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def with_header(schema_id: int, body: bytes) -> bytes:
    """A value in Confluent's wire format."""
    return _MAGIC + schema_id.to_bytes(HEADER_BYTES - 1, "big") + body


def _body_fault(error: Exception) -> Reason:
    # At the input's end fastavro raises EOFError, or indexes the empty bytes it read ("string index"). A negative
    # length is an EOFError as well ("Expected -5 bytes"), but no record was cut there: it never was one.
    text = str(error)
    if isinstance(error, EOFError):
        return Reason.NOT_AVRO if text.startswith("Expected -") else Reason.TRUNCATED
    if isinstance(error, IndexError) and text.startswith("string index"):
        return Reason.TRUNCATED
    return Reason.NOT_AVRO


def without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def _logical_type(schema: Any) -> str | None:
    """The logical type of a field, looking through unions and nested type objects; None where it has none."""
    if isinstance(schema, list):
        return next((found for part in schema if (found := _logical_type(part))), None)
    if isinstance(schema, dict):
        declared = schema.get("logicalType")
        return declared if isinstance(declared, str) else _logical_type(schema.get("type"))
    return None

"""From a Kafka record to a row of the table, or to a dead letter that says why not. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.instants import from_milliseconds
from etar.records.avro import LONG, AvroSchema, Node, Shape, UnreadableSchemaError
from etar.records.table import EVENT_TIME, Convert, OutOfRangeError, TableLayout, WrongValueError

if TYPE_CHECKING:
    from confluent_kafka import Message

_MAGIC = b"\0"
HEADER_BYTES = 5
"""Confluent's wire format: a zero byte, then the schema id in four, then the Avro body."""

APICURIO_BYTES = 9
"""Apicurio's older one: a zero byte, then an id in eight. No id of the other begins with four zero bytes."""

IN_HEADER = " in the record's header "
"""In the detail of a letter: its value begins with its body, and its schema is named in a header that Kafka holds."""

_CONFLUENT_HEADER = "__value_schema_id"
_CONTENT_ID, _GLOBAL_ID, _ENCODING = (f"apicurio.value.{name}" for name in ("contentId", "globalId", "encoding"))

SchemaId = int | UUID
"""How a record names its writer's schema: the registry's number, or its GUID."""

Headers = Sequence[tuple[str, bytes | None]]

_DETAIL_CHARACTERS = 1_000


class Record(NamedTuple):
    """A record as Kafka held it. ``appended_ms``: the broker's append time in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @classmethod
    def of(cls, message: Message) -> Record:
        _, appended_ms = message.timestamp()
        return cls(
            message.topic(),
            message.partition(),
            message.offset(),
            appended_ms,
            message.key(),
            message.value(),
            message.headers() or (),
        )

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

    def __init__(self, shape: Shape, plan: Sequence[tuple[str, Convert]], logical: Mapping[str, str | None]) -> None:
        """``plan``: per column its field and conversion; ``logical``: the logical types of the fields there are."""
        self._decode = partial(_decoded, shape.reader, shape.schema)
        self._plan = tuple(plan)
        self._logical = logical

    def read(self, body: BytesIO) -> tuple[Any, ...]:
        """The values of one record, in the order of :attr:`TableLayout.fields`.

        Raises:
            _BadRecordError: the body cannot be decoded, or a value does not fit its column.
        """
        datum = self._decode(body)
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
                if name not in datum:
                    found = "the schema has no such field, and the column takes no null"
                else:
                    declared = self._logical[name]
                    found = f"{error}{f' of logical type {declared}' if declared else ''}"
                return _BadRecordError(Reason.MISSING_OR_WRONG_FIELD, f"{name}: {found}")
            except OutOfRangeError as error:
                return _BadRecordError(Reason.OUT_OF_RANGE, f"{name}: {error}")
        raise AssertionError("a conversion that failed a moment ago succeeded")


class UnionReader:
    """Reads records of a schema that is a union, as :class:`RecordReader` does: null, or one of several records."""

    def __init__(self, branches: Sequence[RecordReader | str]) -> None:
        """``branches``: in the union's order; those that are no record by their names."""
        self._branches = branches

    def read(self, body: BytesIO) -> tuple[Any, ...]:
        number = _decoded(LONG.reader, LONG.schema, body)
        if not 0 <= number < len(self._branches):
            raise _BadRecordError(Reason.NOT_AVRO, f"the union has no branch {number}")
        branch = self._branches[number]
        if isinstance(branch, RecordReader):
            return branch.read(body)
        if branch == "null":
            raise _BadRecordError(Reason.NULL_VALUE, "the value is Avro's null, a branch of the schema's union")
        raise _BadRecordError(Reason.MISSING_OR_WRONG_FIELD, f"a {branch} of the schema's union, and not its record")


Reader = RecordReader | UnionReader


def compile_reader(schema: str, layout: TableLayout, references: Sequence[str] = ()) -> Reader | Unreadable:
    """A reader for a writer's Avro schema (JSON texts), or why there can be none."""
    try:
        parsed = AvroSchema(schema, references)
        if not any(map(parsed.is_record, parsed.branches)):
            return Unreadable(Reason.UNSUPPORTED_SCHEMA, "the schema is not an Avro record")
        branches = [_branch_reader(parsed, node, layout) for node in parsed.branches]
    except UnreadableSchemaError as error:
        return Unreadable(Reason.UNSUPPORTED_SCHEMA, str(error))
    only = branches[0]
    return UnionReader(branches) if parsed.is_union or isinstance(only, str) else only


def _branch_reader(schema: AvroSchema, node: Node, layout: TableLayout) -> RecordReader | str:
    if not schema.is_record(node):
        return str(node.json["type"] if isinstance(node.json, dict) else node.json)
    types = schema.fields(node)
    logical = {name: schema.logical_type(part) for name, part in types.items()}
    fixed = {name for name, part in types.items() if any(kind == "fixed" for kind, _ in schema.kinds(part))}
    # Logical types are taken off: the columns check the plain values themselves, which is stricter (a decoder overflows
    # on far instants) and twice as fast as building a UUID and a datetime per field to take apart again.
    shape = schema.shape(node, only={column.name for column in layout.fields})
    plan = []
    for column in layout.fields:
        convert = column.converter(logical.get(column.name), fixed=column.name in fixed)
        plan.append((column.name, _renaming(convert, shape.symbols) if shape.symbols else convert))
    return RecordReader(shape, plan, logical)


def _renaming(convert: Convert, symbols: Mapping[str, str]) -> Convert:
    return lambda value: convert(symbols.get(value, value) if type(value) is str else value)


def _decoded(reader: Callable[[BytesIO, Any, None], Any], schema: Any, body: BytesIO) -> Any:
    try:
        return reader(body, schema, None)
    except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
        raise _BadRecordError(_body_fault(error), f"the body cannot be decoded: {error!r:.200}") from error


class Decoder:
    """Decides about each record of a stream: a row, or a dead letter. Never raises, whatever the bytes."""

    def __init__(self, layout: TableLayout, bounds: EventTimeBounds) -> None:
        names = [column.name for column in layout.fields]
        self._event_time = names.index(EVENT_TIME)
        self._ticks_per_ms = 10 ** ((layout.fields[self._event_time].precision or 3) - 3)
        self._bounds = bounds

    def decode(self, record: Record, readers: Mapping[SchemaId, Reader | Unreadable]) -> Row | DeadLetter:
        """``readers`` must have the id that :func:`schema_of` gives for the record."""
        try:
            return Row(record, self._values(record, readers))
        except _BadRecordError as error:
            return record.dead(error.reason, error.detail)

    def _values(self, record: Record, readers: Mapping[SchemaId, Reader | Unreadable]) -> tuple[Any, ...]:
        value = record.value
        if value is None:
            raise _BadRecordError(Reason.NULL_VALUE, "the record has no value (a tombstone)")
        if not value:
            raise _BadRecordError(Reason.EMPTY_VALUE, "the value is zero bytes long")
        identifier, at, header = _frame_of(record, value)
        reader = readers[identifier]
        if isinstance(reader, Unreadable):
            raise _BadRecordError(reader.reason, f"{_named(identifier, header)}: {reader.detail}")
        body = BytesIO(value)
        body.seek(at)
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


Frame = tuple[SchemaId, int, str | None]
"""How a record names the schema it was written with, where in its value the Avro body begins, and in which header it
says so, if in one. (A plain tuple, as there is one for every record.)"""


def _named(identifier: SchemaId, header: str | None) -> str:
    kind = "GUID" if isinstance(identifier, UUID) else "id"
    return f"schema {kind} {identifier}{f'{IN_HEADER}{header}' if header else ''}"


def frame_of(record: Record) -> Frame | None:
    """How the record names its writer's schema; None where it does not, or not so that it can be asked for."""
    try:
        return _frame_of(record, record.value) if record.value else None
    except _BadRecordError:
        return None


def schema_of(record: Record) -> SchemaId | None:
    """The id of :func:`frame_of`."""
    frame = frame_of(record)
    return frame[0] if frame else None


def _frame_of(record: Record, value: bytes) -> Frame:
    """Raises:
    _BadRecordError: the record names no schema, or not in a way that a registry's Confluent API can answer.
    """
    if record.headers and (frame := _frame_in(dict(record.headers))):
        return frame
    identifier = schema_id_of(value)
    if identifier is not None:
        return identifier, HEADER_BYTES, None
    if apicurio := apicurio_id_of(value):
        raise _BadRecordError(
            Reason.UNSUPPORTED_SCHEMA,
            f"schema id {apicurio} in Apicurio's eight bytes, which do not say whether it is a global or a content id; "
            "its serializer writes what is read here with apicurio.registry.as-confluent (and use-id=contentId)",
        )
    start = f"{len(value)} bytes, starting with {value[:8].hex(' ')}"
    raise _BadRecordError(Reason.NOT_AVRO, f"no Confluent header (00, then 4 bytes of schema id): {start}")


def _frame_in(headers: Mapping[str, bytes | None]) -> Frame | None:
    """As Confluent's and Apicurio's serializers name a schema in a record's headers; the value is the body alone."""
    named = headers.get(_CONFLUENT_HEADER) or b""
    if named[:1] == b"\1" and len(named) == 17:
        return UUID(bytes=named[1:]), 0, _CONFLUENT_HEADER
    if named[:1] == _MAGIC and len(named) == HEADER_BYTES:
        return int.from_bytes(named[1:], "big"), 0, _CONFLUENT_HEADER
    for name in (_CONTENT_ID, _GLOBAL_ID):
        number = headers.get(name) or b""
        if len(number) != 8:
            continue
        where = f"schema id {int.from_bytes(number, 'big')}{IN_HEADER}{name}"
        if (headers.get(_ENCODING) or b"BINARY") != b"BINARY":
            raise _BadRecordError(Reason.UNSUPPORTED_SCHEMA, f"{where}: Avro as JSON, and not as its binary encoding")
        if name == _GLOBAL_ID:
            raise _BadRecordError(
                Reason.UNSUPPORTED_SCHEMA,
                f"{where}: the registry is asked by content ids; its serializer names these with use-id=contentId",
            )
        return int.from_bytes(number, "big"), 0, name
    return None


def schema_id_of(value: bytes | None) -> int | None:
    """The schema id in a value's Confluent header; None where there is no such header. No registry gives the id 0."""
    if value is None or len(value) < HEADER_BYTES or value[:1] != _MAGIC:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big") or None


def apicurio_id_of(value: bytes) -> int | None:
    """The id in Apicurio's eight bytes; None where a value does not begin with them."""
    if len(value) < APICURIO_BYTES or any(value[:HEADER_BYTES]):
        return None
    return int.from_bytes(value[HEADER_BYTES:APICURIO_BYTES], "big") or None


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

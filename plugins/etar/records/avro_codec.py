"""Records as Avro behind a header: read under the schema that their writer registered. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any

from etar.dead_letters import Reason
from etar.records.avro import LONG, AvroDeclared, AvroSchema, Node, Shape, UnreadableSchemaError, renamed
from etar.records.avro_columns import AvroColumns, compile_columns
from etar.records.avro_writer import AvroWriter
from etar.records.batch import Batch
from etar.records.bodies import Bodies
from etar.records.codec import ColumnReader, Reader, UnusableSchemaError
from etar.records.framing import Frame, SchemaId, registered_frame
from etar.records.plan import Plan
from etar.records.record import BadRecordError, Record, Unreadable
from etar.records.registry import RegisteredSchema
from etar.records.table import TableLayout


class AvroCodec:
    """A :class:`etar.records.codec.Codec`."""

    malformed = Reason.NOT_AVRO
    own_schema: RegisteredSchema | None = None

    def frame_of(self, record: Record, value: bytes) -> Frame:
        return registered_frame(record, value, self.malformed)

    def bodies(self, batch: Batch) -> Bodies | None:
        return Bodies.of(batch)

    def reader(self, schema: RegisteredSchema, layout: TableLayout) -> Reader | Unreadable:
        if schema.kind != "AVRO":
            return Unreadable(Reason.UNSUPPORTED_SCHEMA, f"the schema is {schema.kind}, not Avro")
        return compile_reader(schema.text, layout, schema.references)

    def writer(self, schema: RegisteredSchema, schema_id: SchemaId) -> AvroWriter:
        if schema.kind != "AVRO":
            raise UnusableSchemaError(f"it is {schema.kind}, not Avro")
        return AvroWriter(schema_id, schema.text, schema.references)


class RecordReader:
    """Reads records of one writer schema into the columns of one table. Made by :func:`compile_reader`."""

    def __init__(self, shape: Shape, plan: Plan, columns: AvroColumns | None) -> None:
        self._decode = partial(_decoded, shape.reader, shape.schema)
        self._symbols = shape.symbols
        self._plan = plan
        self.columns: ColumnReader | None = columns

    def read(self, body: BytesIO) -> tuple[Any, ...]:
        """As :class:`etar.records.codec.Reader`."""
        datum = self._decode(body)
        if rest := len(body.getbuffer()) - body.tell():
            raise BadRecordError(Reason.TRAILING_BYTES, f"{rest} bytes follow the record's end")
        return self._plan.values(renamed(datum, self._symbols) if self._symbols else datum)


class UnionReader:
    """Reads records of a schema that is a union, as :class:`RecordReader` does: null, or one of several records."""

    columns: ColumnReader | None = None

    def __init__(self, branches: Sequence[RecordReader | str]) -> None:
        """``branches``: in the union's order; those that are no record by their names."""
        self._branches = branches

    def read(self, body: BytesIO) -> tuple[Any, ...]:
        number = _decoded(LONG.reader, LONG.schema, body)
        if not 0 <= number < len(self._branches):
            raise BadRecordError(Reason.NOT_AVRO, f"the union has no branch {number}")
        branch = self._branches[number]
        if isinstance(branch, RecordReader):
            return branch.read(body)
        if branch == "null":
            raise BadRecordError(Reason.NULL_VALUE, "the value is Avro's null, a branch of the schema's union")
        raise BadRecordError(Reason.MISSING_OR_WRONG_FIELD, f"a {branch} of the schema's union, and not its record")


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
    # Logical types are taken off: the columns check the plain values themselves, which is stricter (a decoder overflows
    # on far instants) and twice as fast as building a UUID and a datetime per field to take apart again.
    names = {part for column in layout.fields for part in (column.name, column.name.split(".")[0])}
    absent = "the schema has no such field, and the column takes no null"
    shape = schema.shape(node, only=names)
    columns = None if shape.recursive or shape.symbols else compile_columns(schema, layout)
    return RecordReader(shape, Plan(layout, AvroDeclared(schema, node), absent=absent), columns)


def _decoded(reader: Callable[[BytesIO, Any, None], Any], schema: Any, body: BytesIO) -> Any:
    try:
        return reader(body, schema, None)
    except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
        said = _ADDRESS.sub("", repr(error))
        raise BadRecordError(_body_fault(error), f"the body cannot be decoded: {said:.200}") from error


_ADDRESS = re.compile(r" from <[^>]*>")
"""Where in memory the body was, in some of fastavro's errors: a record is to come to the same letter each time."""


def _body_fault(error: Exception) -> Reason:
    # At the input's end fastavro raises EOFError, or indexes the empty bytes it read ("string index"). A negative
    # length is an EOFError as well ("Expected -5 bytes"), but no record was cut there: it never was one.
    text = str(error)
    if isinstance(error, EOFError):
        return Reason.NOT_AVRO if text.startswith("Expected -") else Reason.TRUNCATED
    if isinstance(error, IndexError) and text.startswith("string index"):
        return Reason.TRUNCATED
    return Reason.NOT_AVRO

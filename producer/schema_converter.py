"""Rows of a file as records of any stream, by its schema: each value once, however often it stands in a file.

An id that is not given follows from the other values, so that the same line, sent twice or in another file, is still
one event; where the stream has no one id that is a UUID, an id has to be given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from etar.records.codec import NotEncodableError, UnusableSchemaError
from etar.records.formats import codec_of
from etar.records.framing import OWN_SCHEMA
from etar.records.registry import RegisteredSchema
from etar.rows.columns import Column, exact_values
from etar.rows.conversion import Converted, Row, SizeLimit
from etar.rows.values import Reader, RowError, Values, read_uuid
from etar.stream_code import StreamCodeError
from etar.streams import RecordFormat, Stream
from producer.encoding import Encoding
from producer.field_readers import Field
from producer.schema_fields import derived_id, fields_of

_EVENT_IDS = uuid5(NAMESPACE_URL, "etar/input/events")


_OF_SCHEMA = " of the JSON Schema: "
_REMEMBERED_VALUES = 50_000
_MEMORABLE = frozenset({str, int, bytes, type(None)})
"""Types whose equal values are the same value. Not float or bool: 1, 1.0 and True are equal to Python."""


class _LeftOut:
    """In place of a value that a record does without."""


_LEFT_OUT = _LeftOut()


class _Memory(dict[Any, Any]):
    """What the values of one field are read as, each once, or why one is none."""

    def __init__(self, field: Field, values: Values, *, derived: bool) -> None:
        super().__init__()
        self._field = field
        self._values = values
        self._optional = derived or field.optional

    def read(self, column: Sequence[object]) -> list[Any]:
        if len(self) > _REMEMBERED_VALUES:
            self.clear()
        return [self[value] if type(value) in _MEMORABLE else self._read(value) for value in column]

    def __missing__(self, value: object) -> Any:
        found = self[value] = self._read(value)
        return found

    def _read(self, value: object) -> Any:
        field = self._field
        try:
            given = self._values.given(field.name, value, field.binary)
            if given is not None:
                return field.read(field.name, given)
        except RowError as error:
            return error
        if self._optional:
            return _LEFT_OUT
        return None if field.nullable else RowError(f"{field.name} is missing")


class SchemaConverter:
    """A :class:`etar.rows.conversion.Converter`."""

    def __init__(self, stream: Stream, values: Values, header: bytes, longest: int | None = None) -> None:
        self._limit = SizeLimit(longest)
        self._encoding = Encoding(stream, header)
        self._encode = self._encoding.encode if stream.record is RecordFormat.AVRO else _json_encoder(stream, header)
        fields = fields_of(stream)
        self._derived = derived_id(stream, fields)
        self._memories = {field.name: _Memory(field, values, derived=field.name == self._derived) for field in fields}
        self._others = [field.name for field in fields if field.name != self._derived]
        self._id_of: Reader = next((field.read for field in fields if field.name == self._derived), read_uuid)

    def convert(self, columns: Mapping[str, Column], rows: int) -> Converted:
        """As :meth:`etar.rows.conversion.Converter.convert`."""
        cells = {
            name: memory.read(exact_values(columns[name])) if name in columns else repeat(memory[None], rows)
            for name, memory in self._memories.items()
        }
        return self._limit.converted(map(self._row, zip(*cells.values(), strict=True)))

    def _row(self, cells: Sequence[Any]) -> Row | RowError:
        event: dict[str, Any] = {}
        for name, cell in zip(self._memories, cells, strict=True):
            if isinstance(cell, RowError):
                return cell
            if cell is not _LEFT_OUT:
                event[name] = cell
        if self._derived is not None and self._derived not in event:
            event[self._derived] = self._id_of(self._derived, self._id(event))
        encoding = self._encoding
        try:
            return Row(encoding.time_of(event), encoding.key(event), self._encode(event))
        except NotEncodableError as error:
            rule, of_schema, _ = str(error).partition(_OF_SCHEMA)
            return RowError(rule + of_schema.rstrip(": "), str(error))
        except Exception as error:  # the encoder's own, of a schema that is stricter than its types say
            kind = "the schema takes no such record"
            return RowError(kind, f"{kind}: {error!r:.200}")

    def _id(self, event: Mapping[str, Any]) -> UUID:
        content = json.dumps([event.get(name) for name in self._others], default=_canonical)
        return uuid5(_EVENT_IDS, content)


def _json_encoder(stream: Stream, header: bytes) -> Callable[[Mapping[str, Any]], bytes]:
    """What writes a record and holds it to all rules of the stream's JSON Schema, as the sink will.

    Raises:
        StreamCodeError: the schema is none.
    """
    try:
        schema = RegisteredSchema(stream.schema_text or "true", "JSON")
        return codec_of(stream).writer(schema, int.from_bytes(header[1:], "big") or OWN_SCHEMA).encode
    except UnusableSchemaError as error:
        raise StreamCodeError(f"stream {stream.name}: {stream.folder}/{stream.schema_name}: {error}") from error


def _canonical(value: object) -> object:
    """The same for a number however many zeros it is written with."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value.normalize())
    return value.hex() if isinstance(value, bytes) else str(value)

"""What can be read of a bad record, and how its fields become a record's value again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from io import BytesIO
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from etar.records.decode import HEADER_BYTES, schema_id_of, with_header, without_logical_types

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
"""Halves of a character, as a JSON text may name them by their escapes. No encoding can write them."""


class Form(StrEnum):
    """What a value is, as far as can be told."""

    NOTHING = "nothing"
    """No value at all, or none of its bytes."""

    AVRO = "Avro"
    AVRO_IN_PART = "Avro, in part"
    JSON = "JSON"
    TEXT = "text"
    BYTES = "bytes"


@dataclass(frozen=True)
class Document:
    """A value as far as it can be read.

    ``fields``: what a JSON patch or a hook works on, plain values as Avro holds them (an instant is its long, a UUID
    its text); empty where nothing could be read. ``fault``: what stopped the reading or is left over, in words.
    """

    form: Form
    fields: Mapping[str, Any]
    schema_id: int | None = None
    text: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class WriterSchema:
    """A registered Avro schema (JSON text) with its id."""

    schema_id: int
    text: str


class UnusableSchemaError(ValueError):
    """A schema that is not an Avro record: nothing can be read or written with it."""


class NotEncodableError(ValueError):
    """Fields that do not make a record of the schema; the message names the field."""


class RecordSchema:
    """Reads records of one schema as far as they go, and writes them."""

    def __init__(self, schema: WriterSchema) -> None:
        """Raises:
        UnusableSchemaError: it is not an Avro record.
        """
        self.schema_id = schema.schema_id
        try:
            self._plain = without_logical_types(json.loads(schema.text))
            self._parsed = fastavro.parse_schema(self._plain)
            self._names: list[str] = [field["name"] for field in self._plain["fields"]]
        except (ValueError, KeyError, TypeError, RecursionError, SchemaParseException) as error:
            raise UnusableSchemaError(f"schema id {schema.schema_id} is not an Avro record: {error!r:.200}") from error

    @property
    def width(self) -> int:
        """Number of fields."""
        return len(self._names)

    def read(self, body: bytes) -> tuple[dict[str, Any], str | None]:
        """The fields up to the first that cannot be decoded, and what stopped the reading (None: nothing did)."""
        source = BytesIO(body)
        try:
            fields = _read(source, self._parsed)
        except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
            fields = self._longest_beginning(body)
            return fields, f"{self._names[len(fields)]} cannot be decoded: {error!r:.200}"
        rest = len(body) - source.tell()
        return fields, f"{rest} bytes follow the record's end" if rest else None

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """A value in Confluent's wire format; a field that is left out takes its default.

        Raises:
            NotEncodableError: a field is missing, unknown to the schema, or not of its type.
        """
        body = BytesIO()
        try:
            fastavro.schemaless_writer(body, self._parsed, dict(fields), strict_allow_default=True)
        except Exception as error:  # as many kinds as there are wrong values
            field = self._first_misfit(fields)
            raise NotEncodableError(f"{f'{field}: ' if field else ''}{error} (schema id {self.schema_id})") from error
        return with_header(self.schema_id, body.getvalue())

    def _first_misfit(self, fields: Mapping[str, Any]) -> str | None:
        """Name of the first field that cannot be written; None where each can, and ``fields`` has too many."""
        for name, beginning in zip(self._names, self._beginnings[1:], strict=True):
            try:
                fastavro.schemaless_writer(BytesIO(), beginning, dict(fields))
            except Exception:  # as above
                return name
        return None

    @cached_property
    def _beginnings(self) -> list[Any]:
        """Schemas of the first 0, 1, 2, … fields: Avro writes fields in order, so each is a beginning of the record."""
        fields = self._plain["fields"]
        return [fastavro.parse_schema({**self._plain, "fields": fields[:count]}) for count in range(len(fields) + 1)]

    def _longest_beginning(self, body: bytes) -> dict[str, Any]:
        """Decoded as a record of the first n fields, with the greatest n that can be."""
        found: dict[str, Any] = {}
        for beginning in self._beginnings[:-1]:
            try:
                found = _read(BytesIO(body), beginning)
            except Exception:  # as above
                break
        return found


def read_document(value: bytes | None, schema: RecordSchema | None, latest: RecordSchema | None) -> Document:
    """Read ``value`` as far as it goes.

    Args:
        schema: of the id in the value's header; None where there is no such id or schema.
        latest: of the topic's subject: tried where the value names a schema that is not known.
    """
    if not value:
        return Document(Form.NOTHING, {})
    schema_id = schema_id_of(value)
    if schema_id is not None:
        return _avro(schema_id, value[HEADER_BYTES:], schema, latest)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Document(Form.BYTES, {}, fault="no Confluent header (00, then 4 bytes of schema id), and no text either")
    fault = "no Confluent header (00, then 4 bytes of schema id)"
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return Document(Form.TEXT, {}, text=text, fault=fault)
    return Document(Form.JSON, parsed if isinstance(parsed, dict) else {}, text=text, fault=fault)


def _avro(schema_id: int, body: bytes, schema: RecordSchema | None, latest: RecordSchema | None) -> Document:
    used = schema or latest
    if used is None:
        return Document(Form.BYTES, {}, schema_id, fault=f"there is no readable schema of id {schema_id}")
    fields, fault = used.read(body)
    if schema is None:
        guess = f"there is no readable schema of id {schema_id}; read with the latest, {used.schema_id}"
        fault = f"{guess}; {fault}" if fault else guess
    whole = len(fields) == used.width
    return Document(Form.AVRO if whole else Form.AVRO_IN_PART, fields, schema_id, fault=fault)


def _read(source: BytesIO, schema: Any) -> dict[str, Any]:
    fields: dict[str, Any] = fastavro.schemaless_reader(source, schema, None)
    return fields


def to_json(value: Any) -> str:
    """Fields as JSON; bytes as Avro's own JSON has them, one character a byte."""
    text = json.dumps(value, ensure_ascii=False, default=lambda raw: raw.decode("latin-1"))
    return _LONE_SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

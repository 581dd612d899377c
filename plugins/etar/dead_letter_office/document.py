"""What can be read of a bad record, and how its fields become a record's value again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from io import BytesIO
from typing import Any, Protocol

from etar.records.avro import LONG
from etar.records.avro_writer import AvroWriter, Instant
from etar.records.codec import Writer
from etar.records.framing import APICURIO_BYTES, HEADER_BYTES, SchemaId, apicurio_id_of, schema_id_of
from etar.records.json_codec import JsonWriter
from etar.records.json_text import read_object, to_text
from etar.records.record import BadRecordError

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
"""Halves of a character, as a JSON text may name them by their escapes. No encoding can write them."""


class Form(StrEnum):
    """What a value is, as far as can be told."""

    NOTHING = "nothing"
    """No value at all, or none of its bytes."""

    AVRO = "Avro"
    AVRO_IN_PART = "Avro, in part"
    GUESS = "a guess at Avro"
    """Its writer's schema is not known; another one reads it whole, which may be chance."""

    JSON = "JSON"
    TEXT = "text"
    BYTES = "bytes"


@dataclass(frozen=True)
class Document:
    """A value as far as it can be read.

    ``fields``: what a JSON patch or a hook works on, plain values as Avro holds them (an instant is its long, a UUID
    its text); empty where nothing could be read. ``fault``: what stopped the reading or is left over, in words.
    ``ticks``: of the fields that are instants, how many make a second. ``stopped_at``: the field that could not be
    decoded.
    """

    form: Form
    fields: Mapping[str, Any]
    schema_id: int | str | None = None
    text: str | None = None
    fault: str | None = None
    ticks: Mapping[str, int] = field(default_factory=dict)
    stopped_at: str | None = None


@dataclass(frozen=True)
class WriterSchema:
    """A registered Avro schema with its id, and what it refers to (JSON texts)."""

    schema_id: SchemaId
    text: str
    references: Sequence[str] = ()


class ReadingSchema(Protocol):
    """Reads records of one schema as far as they go, and writes them."""

    @property
    def schema_id(self) -> int | str | None:
        """A GUID as its text; None of the stream's own."""
        ...

    def read(self, value: bytes, *, body: int = HEADER_BYTES) -> Document:
        """The fields as far as they can be decoded. ``body``: where in the value its body begins."""
        ...

    def encode(self, fields: Mapping[str, Any], *, repaired: Document | None = None) -> bytes:
        """A value of the stream's format.

        Args:
            repaired: what the fields were before.

        Raises:
            NotEncodableError: a field is missing, unknown to the schema, or not of its type.
        """
        ...


class RecordSchema:
    """Reads Avro records of one schema as far as they go, and writes them. In a union, of any of its records."""

    def __init__(self, schema: WriterSchema) -> None:
        """Raises:
        UnusableSchemaError: it is not an Avro record.
        """
        self._writer = AvroWriter(schema.schema_id, schema.text, schema.references)

    @classmethod
    def of(cls, writer: AvroWriter) -> RecordSchema:
        """Of what the stream's codec writes with."""
        made = cls.__new__(cls)
        made._writer = writer
        return made

    @property
    def schema_id(self) -> int | str:
        return self._writer.schema_id

    def read(self, value: bytes, *, body: int = HEADER_BYTES) -> Document:
        """The fields up to the first that cannot be decoded. ``body``: where in the value its Avro body begins."""
        branches = self._writer.branches
        source = BytesIO(value)
        source.seek(body)
        try:
            number = LONG.read(source) if self._writer.is_union else 0
            record = branches[number] if number >= 0 else None
        except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
            return Document(Form.AVRO_IN_PART, {}, self.schema_id, fault=f"no branch of the schema's union: {error!r}")
        if record is None:
            return Document(Form.AVRO_IN_PART, {}, self.schema_id, fault="no record: another branch of the union")
        fields, fault = record.read(source)
        if fault is None and (rest := len(value) - source.tell()):
            fault = f"{rest} bytes follow the record's end"
        stopped_at = next((name for name in record.names if name not in fields), None)
        form = Form.AVRO if stopped_at is None else Form.AVRO_IN_PART
        return Document(form, fields, self.schema_id, fault=fault, ticks=record.ticks, stopped_at=stopped_at)

    def encode(self, fields: Mapping[str, Any], *, repaired: Document | None = None) -> bytes:
        """A value in Confluent's wire format; a field that is left out takes its default.

        Args:
            repaired: what the fields were before. An instant that is still the number it was there is one in the ticks
                of its own schema, and is written in those of this one.

        Raises:
            NotEncodableError: a field is missing, unknown to the schema, or not of its type.
        """
        former = {}
        if repaired:
            former = {
                name: Instant(repaired.fields[name], ticks)
                for name, ticks in repaired.ticks.items()
                if name in repaired.fields
            }
        return self._writer.encode(fields, former)


class JsonSchema:
    """Reads JSON records, whatever their schema says of them, and writes what it allows."""

    def __init__(self, writer: JsonWriter) -> None:
        self._writer = writer

    @property
    def schema_id(self) -> int | str | None:
        return self._writer.schema_id

    def read(self, value: bytes, *, body: int = HEADER_BYTES) -> Document:
        """The object that the value is; nothing of it where it is none. ``body``: where in the value it begins."""
        text = value[body:].decode(errors="replace")
        try:
            return Document(Form.JSON, read_object(value[body:]), self.schema_id, text=text)
        except BadRecordError as error:
            return replace(_lenient(text, error), schema_id=self.schema_id)

    def encode(self, fields: Mapping[str, Any], *, repaired: Document | None = None) -> bytes:  # noqa: ARG002
        """As of :class:`ReadingSchema`: the JSON itself, decimals digit by digit."""
        return self._writer.encode(fields)


def reading_schema(writer: Writer) -> ReadingSchema:
    """Reads what a stream's codec writes."""
    if isinstance(writer, JsonWriter):
        return JsonSchema(writer)
    if isinstance(writer, AvroWriter):
        return RecordSchema.of(writer)
    raise TypeError(f"there is no reading what {type(writer).__name__} writes")


def _lenient(text: str, why: BadRecordError) -> Document:
    """Of text that is no record: the fields where an object begins it, or where its numbers alone are too long."""
    try:
        found, _ = _ANY_JSON.raw_decode(text.lstrip())
    except (ValueError, ArithmeticError, RecursionError):
        return Document(Form.TEXT, {}, text=text, fault=why.detail)
    return Document(Form.JSON, found if isinstance(found, dict) else {}, text=text, fault=why.detail)


_ANY_JSON = json.JSONDecoder(parse_float=Decimal)
"""For people's eyes: of a key that is there twice it takes the last value."""


def read_document(
    value: bytes | None, schema: ReadingSchema | None, guess: ReadingSchema | None, *, body: int = HEADER_BYTES
) -> Document:
    """Read ``value`` as far as it goes.

    Args:
        schema: its writer's; None where it names none, or none that can be read.
        guess: tried in its place. What it reads counts only where it reads all of the value.
        body: where the body begins that ``schema`` is of.
    """
    if not value:
        return Document(Form.NOTHING, {})
    if schema is not None:
        return schema.read(value, body=body)
    schema_id = schema_id_of(value)
    if schema_id is not None:
        fault = f"there is no readable schema of id {schema_id}"
        return _guessed(value, guess, HEADER_BYTES, fault) or Document(Form.BYTES, {}, schema_id, fault=fault)
    if apicurio := apicurio_id_of(value):
        fault = f"Apicurio's eight bytes name schema id {apicurio}, which is a global or a content id"
        return _guessed(value, guess, APICURIO_BYTES, fault) or Document(Form.BYTES, {}, fault=fault)
    return _unframed(value, guess)


def _unframed(value: bytes, guess: ReadingSchema | None) -> Document:
    fault = "no Confluent header (00, then 4 bytes of schema id)"
    if isinstance(guess, JsonSchema):
        read = guess.read(value, body=0)
        return replace(read, schema_id=None, fault=f"{fault}{f'; {read.fault}' if read.fault else ''}")
    try:
        text = value.decode()
        parsed = _ANY_JSON.decode(text)
    except UnicodeDecodeError:
        other = Document(Form.BYTES, {}, fault=f"{fault}, and no text either")
    except (ValueError, RecursionError):
        other = Document(Form.TEXT, {}, text=text, fault=fault)
    else:
        return Document(Form.JSON, parsed if isinstance(parsed, dict) else {}, text=text, fault=fault)
    # A client that names the schema in the record's headers sends a body alone.
    return _guessed(value, guess, 0, fault) or other


def _guessed(value: bytes, guess: ReadingSchema | None, body: int, why: str) -> Document | None:
    if guess is None or (read := guess.read(value, body=body)).fault:
        return None
    read_with = "the stream's schema" if guess.schema_id is None else f"schema id {guess.schema_id}"
    fault = f"{why}; read with {read_with}, which may not be its writer's"
    form = read.form if read.form is Form.JSON else Form.GUESS
    return replace(read, form=form, schema_id=schema_id_of(value), fault=fault)


def to_json(value: Any) -> str:
    """Fields as JSON; bytes as Avro's own JSON has them, one character a byte."""
    text = to_text(value, allow_nan=True)
    return _LONE_SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

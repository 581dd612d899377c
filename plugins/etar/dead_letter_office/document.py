"""What can be read of a bad record, and how its fields become a record's value again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from io import BytesIO
from typing import Any
from uuid import UUID

from fastavro.validation import validate

from etar.records.avro import LONG, AvroSchema, Node, UnreadableSchemaError
from etar.records.decode import APICURIO_BYTES, HEADER_BYTES, SchemaId, apicurio_id_of, schema_id_of, with_header
from etar.records.table import TICKS_PER_SECOND, UUID_BYTES

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
    ``ticks``: of the fields that are instants, how many make a second.
    """

    form: Form
    fields: Mapping[str, Any]
    schema_id: int | str | None = None
    text: str | None = None
    fault: str | None = None
    ticks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WriterSchema:
    """A registered Avro schema with its id, and what it refers to (JSON texts)."""

    schema_id: SchemaId
    text: str
    references: Sequence[str] = ()


class UnusableSchemaError(ValueError):
    """A schema that is not an Avro record: nothing can be read or written with it."""


class NotEncodableError(ValueError):
    """Fields that do not make a record of the schema; the message names the field."""


class RecordSchema:
    """Reads records of one schema as far as they go, and writes them. In a union, of any of its records."""

    def __init__(self, schema: WriterSchema) -> None:
        """Raises:
        UnusableSchemaError: it is not an Avro record.
        """
        self.schema_id: int | str = str(schema.schema_id) if isinstance(schema.schema_id, UUID) else schema.schema_id
        """A GUID as its text."""
        try:
            parsed = AvroSchema(schema.text, schema.references)
            self._branches = [_Fields(parsed, node) if parsed.is_record(node) else None for node in parsed.branches]
        except UnreadableSchemaError as error:
            raise UnusableSchemaError(f"schema id {schema.schema_id} is not an Avro record: {error}") from error
        if not any(self._branches):
            raise UnusableSchemaError(f"schema id {schema.schema_id} is not an Avro record")
        self._is_union = parsed.is_union

    def read(self, value: bytes, *, body: int = HEADER_BYTES) -> Document:
        """The fields up to the first that cannot be decoded. ``body``: where in the value its Avro body begins."""
        source = BytesIO(value)
        source.seek(body)
        try:
            number = LONG.read(source) if self._is_union else 0
            record = self._branches[number] if number >= 0 else None
        except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
            return Document(Form.AVRO_IN_PART, {}, self.schema_id, fault=f"no branch of the schema's union: {error!r}")
        if record is None:
            return Document(Form.AVRO_IN_PART, {}, self.schema_id, fault="no record: another branch of the union")
        fields, fault = record.read(source)
        if fault is None and (rest := len(value) - source.tell()):
            fault = f"{rest} bytes follow the record's end"
        form = Form.AVRO if len(fields) == record.width else Form.AVRO_IN_PART
        return Document(form, fields, self.schema_id, fault=fault, ticks=record.ticks)

    def encode(self, fields: Mapping[str, Any], *, repaired: Document | None = None) -> bytes:
        """A value in Confluent's wire format; a field that is left out takes its default.

        Args:
            repaired: what the fields were before. An instant that is still the number it was there is one in the ticks
                of its own schema, and is written in those of this one.

        Raises:
            NotEncodableError: a field is missing, unknown to the schema, or not of its type.
        """
        if isinstance(self.schema_id, str):
            raise NotEncodableError("a schema that is known by its GUID alone cannot be named in Confluent's header")
        refusals = []
        for number, record in enumerate(self._branches):
            if record is None:
                continue
            body = BytesIO()
            if self._is_union:
                LONG.write(body, number)
            try:
                record.write(body, record.in_own_ticks(fields, repaired) if repaired else fields)
            except NotEncodableError as error:
                refusals.append(error)
                continue
            return with_header(self.schema_id, body.getvalue())
        raise NotEncodableError(f"{refusals[0]} (schema id {self.schema_id})") from refusals[0]


class _Fields:
    """The fields of one record of a schema, read and written one by one: so a record is read as far as it goes."""

    def __init__(self, schema: AvroSchema, node: Node) -> None:
        types = schema.fields(node)
        self._shapes = {name: schema.shape(part) for name, part in types.items()}
        kinds = {name: set(schema.kinds(part)) for name, part in types.items()}
        self._uuids = {name for name, each in kinds.items() if ("fixed", "uuid") in each}
        self.ticks = {
            name: ticks for name, part in types.items() if (ticks := _ticks(schema.logical_type(part))) is not None
        }
        try:
            self._whole = schema.shape(node, defaults=True)
        except UnreadableSchemaError:  # a default that is none: what is written has to be whole
            self._whole = schema.shape(node)

    @property
    def width(self) -> int:
        return len(self._shapes)

    def read(self, source: BytesIO) -> tuple[dict[str, Any], str | None]:
        """The fields up to the first that cannot be decoded, and what stopped the reading (None: nothing did)."""
        fields: dict[str, Any] = {}
        for name, shape in self._shapes.items():
            try:
                value = _renamed(shape.read(source), shape.symbols)
            except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
                return fields, f"{name} cannot be decoded: {error!r:.200}"
            is_uuid = name in self._uuids and isinstance(value, bytes) and len(value) == UUID_BYTES
            fields[name] = str(UUID(bytes=value)) if is_uuid else value
        return fields, None

    def write(self, body: BytesIO, fields: Mapping[str, Any]) -> None:
        """Raises:
        NotEncodableError: names the field, where it is one.
        """
        ours = {symbol: name for name, symbol in self._whole.symbols.items()}
        plain = {name: _renamed(self._uuid_bytes(name, value), ours) for name, value in fields.items()}
        try:
            self._whole.write(body, plain)
        except Exception as error:  # as many kinds as there are wrong values
            misfit = next((name for name in self._shapes if not self._fits(name, plain)), None)
            raise NotEncodableError(f"{f'{misfit}: ' if misfit else ''}{error}") from error
        # The writer takes 2**40 for an int and any text for a boolean.
        for name, value in plain.items():
            if not validate(value, self._shapes[name].schema, raise_errors=False):
                raise NotEncodableError(f"{name}: {fields[name]!r:.60} is not of the schema's type")

    def in_own_ticks(self, fields: Mapping[str, Any], before: Document) -> dict[str, Any]:
        return {
            name: value * self.ticks[name] // before.ticks[name]
            if type(value) is int and value == before.fields.get(name) and name in self.ticks and name in before.ticks
            else value
            for name, value in fields.items()
        }

    def _uuid_bytes(self, name: str, value: Any) -> Any:
        try:
            return UUID(value).bytes if name in self._uuids and isinstance(value, str) else value
        except ValueError:
            return value

    def _fits(self, name: str, fields: Mapping[str, Any]) -> bool:
        try:
            # Left out, it is the whole record's writer that knows whether there is a default.
            self._shapes[name].write(BytesIO(), fields[name])
        except Exception:  # as above
            return False
        return True


def _ticks(logical_type: str | None) -> int | None:
    return TICKS_PER_SECOND.get((logical_type or "").removeprefix("local-"))


def _renamed(value: Any, symbols: Mapping[str, str]) -> Any:
    """``value`` with the enum symbols in it replaced."""
    if not symbols:
        return value
    match value:
        case str():
            return symbols.get(value, value)
        case list():
            return [_renamed(each, symbols) for each in value]
        case dict():
            return {name: _renamed(each, symbols) for name, each in value.items()}
    return value


def read_document(
    value: bytes | None, schema: RecordSchema | None, guess: RecordSchema | None, *, body: int = HEADER_BYTES
) -> Document:
    """Read ``value`` as far as it goes.

    Args:
        schema: its writer's; None where it names none, or none that can be read.
        guess: tried in its place. What it reads counts only where it reads all of the value.
        body: where the Avro body begins that ``schema`` is of.
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


def _unframed(value: bytes, guess: RecordSchema | None) -> Document:
    fault = "no Confluent header (00, then 4 bytes of schema id)"
    try:
        text = value.decode()
        parsed = json.loads(text)
    except UnicodeDecodeError:
        other = Document(Form.BYTES, {}, fault=f"{fault}, and no text either")
    except (ValueError, RecursionError):
        other = Document(Form.TEXT, {}, text=text, fault=fault)
    else:
        return Document(Form.JSON, parsed if isinstance(parsed, dict) else {}, text=text, fault=fault)
    # A client that names the schema in the record's headers sends a body alone.
    return _guessed(value, guess, 0, fault) or other


def _guessed(value: bytes, guess: RecordSchema | None, body: int, why: str) -> Document | None:
    if guess is None or (read := guess.read(value, body=body)).fault:
        return None
    fault = f"{why}; read with schema id {guess.schema_id}, which may not be its writer's"
    return replace(read, form=Form.GUESS, schema_id=schema_id_of(value), fault=fault)


def to_json(value: Any) -> str:
    """Fields as JSON; bytes as Avro's own JSON has them, one character a byte."""
    text = json.dumps(value, ensure_ascii=False, default=lambda raw: raw.decode("latin-1"))
    return _LONE_SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

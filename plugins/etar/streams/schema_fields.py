"""The fields of a record by its schema, Avro or JSON Schema; of nested records the outermost only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from etar.streams.definition import RecordFormat, Stream


@dataclass(frozen=True)
class SchemaField:
    """What a schema says of a field: its type, in the schema's own words, and whether it always has a value."""

    kind: Any
    is_required: bool


def schema_fields(stream: Stream) -> dict[str, SchemaField]:
    """Those of the stream's records, by name, in the schema's order; of a stream without a schema none."""
    return fields_of_record(json.loads(stream.schema_text or "{}"), stream.record) or {}


def fields_of_record(schema: object, form: RecordFormat) -> dict[str, SchemaField] | None:
    """Those of a schema that was read; None: it is the schema of something else than a record."""
    if not isinstance(schema, dict):
        return None
    if form is RecordFormat.AVRO:
        fields = schema.get("fields")
        if schema.get("type") != "record" or not isinstance(fields, list):
            return None
        return {
            field["name"]: SchemaField(kind := field.get("type"), not (isinstance(kind, list) and "null" in kind))
            for field in fields
            if isinstance(field, dict) and isinstance(field.get("name"), str)
        }
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return None
    needed = required if isinstance(required, list) else []
    return {name: SchemaField(kind, name in needed) for name, kind in properties.items()}

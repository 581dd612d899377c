"""The schema against the definition and the table: each field has a column, and each column a field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from etar.records.table import METADATA
from etar.stream_folder.avro_fields import paths_of_schema
from etar.stream_folder.checks.statements import Described
from etar.stream_folder.guesses import GuessError
from etar.stream_folder.proposal import RESERVED
from etar.streams import Fault, RecordFormat, Rule, Stream
from etar.streams.stream_toml import FILE_NAME


def schema_file(stream: Stream) -> Path:
    """Where the schema is, for a message."""
    return stream.file(stream.schema_name or FILE_NAME)


def reserved(stream: Stream) -> Iterator[Fault]:
    """What etar adds to each row says nothing of the event."""
    named = [*(("event.id", name) for name in stream.identity), ("event.time", stream.time)]
    named += [(f"checks.{name}", name) for name in stream.checks]
    if stream.key.field is not None:
        named.append(("topic.key.field", stream.key.field))
    for place, name in named:
        if name in RESERVED:
            what = f"names {name}, which etar adds to each row and no event has"
            mend = "name a field of the event; have the producer call it otherwise if this is one"
            yield Fault(stream.name, stream.file(FILE_NAME), place, what, mend, Rule.RESERVED)


def fields_of_schema(stream: Stream) -> set[str] | None:
    """Names of the schema's fields, points leading into nested records; None: the schema cannot be read."""
    text = stream.schema_text or "{}"
    if stream.record is RecordFormat.AVRO:
        try:
            return paths_of_schema(text)
        except GuessError:
            return None
    return set(_properties(json.loads(text), ""))


def fields_and_columns(stream: Stream, described: Described) -> Iterator[Fault]:
    """Where the two differ. A field without a column is read and dropped; a column without a field is always null."""
    fields = fields_of_schema(stream)
    if fields is None:
        return
    columns = {name: declared for name, declared, default in described if not default and name not in METADATA.names}
    for name, declared in columns.items():
        if name in fields:
            continue
        nullable = "Nullable(" in declared or declared.startswith(("Array(", "Map("))
        what = f"the column {name} {declared} has no field of its name in {schema_file(stream).name}"
        mend = (
            "add the field, or take the column out" if nullable else "add the field, or every record is a dead letter"
        )
        yield Fault(stream.name, stream.file("sql"), name, what, mend, Rule.FIELDS, is_warning=nullable)
    for name in sorted(fields):
        inside = any(name.startswith(f"{column}.") or column.startswith(f"{name}.") for column in columns)
        if name in columns or inside:
            continue
        if name in RESERVED:
            what, mend = "is the name of what etar adds to each row", "its value is in no column: call it otherwise"
        else:
            what, mend = "has no column", "add one in the next file of sql/, or leave it: the field is read past"
        yield Fault(stream.name, schema_file(stream), name, what, mend, Rule.FIELDS, is_warning=True)


def _properties(schema: Mapping[str, Any], above: str) -> Iterator[str]:
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        path = f"{above}{name}"
        yield path
        if isinstance(inner, dict):
            yield from _properties(inner, f"{path}.")

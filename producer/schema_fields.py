"""The fields of a stream, by its schema and its definition. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from etar.rows.layout import Layout
from etar.rows.values import EVENT_TIMES, Reader, refusal
from etar.streams import Limits, RecordFormat, Stream, TimeForm
from producer.avro_fields import AvroTypes
from producer.field_readers import Field, read_number_instant, read_text_instant
from producer.json_fields import JsonTypes, types_of


def fields_of(stream: Stream) -> tuple[Field, ...]:
    """In the schema's order. A field's value is as :mod:`producer.encoding` takes it."""
    schema = json.loads(stream.schema_text or "{}")
    made = AvroTypes().fields(schema) if stream.record is RecordFormat.AVRO else JsonTypes(schema).fields(schema)
    return tuple(_as_defined(stream, schema, field) for field in made)


def schema_layout(stream: Stream) -> Layout:
    """Which columns a file may have, and which it must: all that are not null, have no default, and follow from
    nothing."""
    fields = fields_of(stream)
    derived = derived_id(stream, fields)
    needed = tuple(field.name for field in fields if field.needed and field.name != derived)
    return Layout(tuple(field.name for field in fields), needed, exact=True)


def derived_id(stream: Stream, fields: Sequence[Field]) -> str | None:
    """The field that follows from the others where it is not given: the one id of the stream, if it is a UUID."""
    [name, *others] = stream.identity or (None,)
    return name if not others and any(field.uuid for field in fields if field.name == name) else None


def limited(read: Reader, limits: Limits) -> Reader:
    """The same with what ``[checks]`` allows."""

    def checked(name: str, value: object) -> Any:
        found = read(name, value)
        for broken, wanted in _broken(found, limits):
            if broken:
                raise refusal(name, value, wanted)
        return found

    return checked


def _broken(found: Any, limits: Limits) -> list[tuple[bool, str]]:
    """Each limit that a value can break: whether it does, and what is allowed."""
    made: list[tuple[bool, str]] = []
    if isinstance(found, int | float | Decimal) and not isinstance(found, bool):
        number = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
        made += [
            (limits.min is not None and number < limits.min, f"at least {limits.min}"),
            (limits.max is not None and number > limits.max, f"at most {limits.max}"),
        ]
    if limits.one_of is not None and found is not None:
        made.append((str(found) not in limits.one_of, f"one of {', '.join(limits.one_of)}"))
    if isinstance(found, str | list | dict):
        made += [
            (limits.min_length is not None and len(found) < limits.min_length, f"at least {limits.min_length} long"),
            (limits.max_length is not None and len(found) > limits.max_length, f"at most {limits.max_length} long"),
        ]
    return made


def _as_defined(stream: Stream, schema: Mapping[str, Any], field: Field) -> Field:
    """The field as the stream's definition has it: its time is read as it says, that and its ids have to be given."""
    if field.name == stream.time or field.name in stream.identity:
        field = field._replace(nullable=False, optional=False)
    if field.name == stream.time:
        field = field._replace(read=_time_reader(stream, schema, field))
    if field.name in stream.checks:
        field = field._replace(read=limited(field.read, stream.checks[field.name]))
    return field


def _time_reader(stream: Stream, schema: Mapping[str, Any], field: Field) -> Reader:
    match stream.time_form:
        case TimeForm.ISO8601:
            return partial(read_text_instant, bounds=EVENT_TIMES)
        case TimeForm.UNIX_MS | TimeForm.UNIX_S:
            ticks = 1 if stream.time_form is TimeForm.UNIX_S else 1000
            in_json = stream.record is not RecordFormat.AVRO
            fraction = in_json and "number" in types_of(schema.get("properties", {}).get(field.name, {}))
            return partial(read_number_instant, ticks=ticks, bounds=EVENT_TIMES, fraction=fraction)
    if isinstance(field.read, partial) and field.read.func is read_number_instant:
        return partial(field.read.func, **field.read.keywords, bounds=EVENT_TIMES)
    return partial(read_text_instant, bounds=EVENT_TIMES) if field.read is read_text_instant else field.read

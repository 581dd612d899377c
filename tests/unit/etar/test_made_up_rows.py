"""Rows made of a schema: a column for each plain field, so that a stream's transform runs on them."""

from __future__ import annotations

import pyarrow as pa

from etar.made_up_rows import made_up_rows
from etar.streams import RecordFormat, Stream, default_stream


def test_each_field_of_an_avro_schema_has_a_column_of_different_events() -> None:
    table = made_up_rows(default_stream(), 12)
    assert table.num_rows == 12
    assert len(set(table["event_id"].to_pylist())) == 12
    assert len(table["event_id"][0].as_py()) == 16
    assert table.schema.field("event_time").type == pa.timestamp("ms", "UTC")
    assert set(table["event_type"].to_pylist()) > {"view", "purchase"}
    assert table["_offset"].to_pylist() == list(range(12))


def test_a_json_schema_has_them_too_and_what_is_nested_is_left_out() -> None:
    schema = """{"type": "object", "properties": {
        "id": {"type": "string", "format": "uuid"}, "at": {"type": ["null", "string"]}, "amount": {"type": "number"},
        "rides": {"type": ["integer", "null"]}, "open": {"type": "boolean"}, "who": {"type": "object"}}}"""
    stream = Stream("rides", record=RecordFormat.JSON, schema_text=schema, time="at")
    types = {field.name: field.type for field in made_up_rows(stream, 2).schema if not field.name.startswith("_")}
    assert types == {
        "id": pa.binary(),
        "at": pa.timestamp("ms", "UTC"),
        "amount": pa.float64(),
        "rides": pa.int64(),
        "open": pa.bool_(),
    }

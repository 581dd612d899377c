from __future__ import annotations

import json

import pytest

from etar.streams import RecordFormat, SchemaField, Stream, schema_fields

AVRO = {
    "type": "record",
    "name": "Sale",
    "fields": [{"name": "sale_id", "type": "string"}, {"name": "shop", "type": ["null", "string"]}, {"name": 3}],
}
PROPERTIES = {"sale_id": {"type": "string"}, "shop": {}}


def test_the_fields_of_an_avro_record_need_a_value_unless_it_may_be_null() -> None:
    assert schema_fields(Stream("sales", schema_text=json.dumps(AVRO))) == {
        "sale_id": SchemaField("string", is_required=True),
        "shop": SchemaField(["null", "string"], is_required=False),
    }


@pytest.mark.parametrize(
    ("said", "required"), [({"required": ["sale_id"]}, ["sale_id"]), ({"required": True}, []), ({}, [])]
)
def test_the_fields_of_a_json_object_need_a_value_where_its_schema_says_so(
    said: dict[str, object], required: list[str]
) -> None:
    text = json.dumps({"type": "object", "properties": PROPERTIES, **said})
    found = schema_fields(Stream("sales", record=RecordFormat.JSON, schema_text=text))

    assert {name: field.kind for name, field in found.items()} == PROPERTIES
    assert [name for name, field in found.items() if field.is_required] == required


@pytest.mark.parametrize("text", [None, '"string"', '{"type": "enum", "name": "E", "symbols": []}'])
def test_what_is_no_record_has_no_fields(text: str | None) -> None:
    assert schema_fields(Stream("sales", schema_text=text)) == {}

"""What is read of a bad value, and what is written again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etar.dead_letter_office.document import (
    Form,
    NotEncodableError,
    RecordSchema,
    UnusableSchemaError,
    WriterSchema,
    read_document,
    to_json,
)
from tests.unit.records.events import SCHEMA, SCHEMA_ID, SCHEMA_TEXT, encode, event

EVENT = RecordSchema(WriterSchema(SCHEMA_ID, SCHEMA_TEXT))


def test_a_whole_record_is_read_whole_and_written_back_to_the_same_bytes() -> None:
    value = encode(event(3))
    document = read_document(value, EVENT, None)
    assert (document.form, document.fault, document.schema_id) == (Form.AVRO, None, SCHEMA_ID)
    assert document.fields == event(3)
    assert EVENT.encode(document.fields) == value


def test_wherever_a_record_is_cut_the_fields_before_the_cut_are_read() -> None:
    value, whole = encode(event(3)), event(3)
    names = list(whole)
    before = 0
    for end in range(5, len(value)):
        document = read_document(value[:end], EVENT, None)
        assert document.form is Form.AVRO_IN_PART
        assert list(document.fields.items()) == list(whole.items())[: len(document.fields)]
        assert document.fault
        assert document.fault.startswith(f"{names[len(document.fields)]} cannot be decoded")
        assert before <= len(document.fields)
        before = len(document.fields)
    assert before == len(names) - 1


def test_bytes_after_the_record_are_counted() -> None:
    document = read_document(encode(event()) + b"\0trailing", EVENT, None)
    assert (document.form, document.fields, document.fault) == (
        Form.AVRO,
        event(),
        "9 bytes follow the record's end",
    )


def test_a_record_of_an_unknown_schema_that_another_reads_whole_is_shown_as_a_guess() -> None:
    document = read_document(encode(event(), schema_id=99), None, EVENT)
    assert (document.form, document.fields, document.schema_id) == (Form.GUESS, event(), 99)
    assert document.fault == (
        f"there is no readable schema of id 99; read with schema id {SCHEMA_ID}, which may not be its writer's"
    )
    assert read_document(encode(event(), schema_id=99), None, None).form is Form.BYTES


@pytest.mark.parametrize("value", [encode(event(), schema_id=99)[:-1], encode(event(), schema_id=99) + b"\0"])
def test_what_another_schema_does_not_read_whole_is_not_shown_as_fields(value: bytes) -> None:
    document = read_document(value, None, EVENT)
    assert (document.form, document.fields, document.schema_id) == (Form.BYTES, {}, 99)


@pytest.mark.parametrize(
    "start", [b"", b"\0" + (12).to_bytes(8, "big")], ids=["schema named in a header", "Apicurio's eight bytes"]
)
def test_a_body_under_another_clients_framing_is_read_with_a_schema_that_is_given(start: bytes) -> None:
    document = read_document(start + encode(event())[5:], None, EVENT)
    assert (document.form, document.fields) == (Form.GUESS, event())
    assert EVENT.encode(document.fields, repaired=document) == encode(event())
    assert read_document(start + encode(event())[5:-1], None, EVENT).fields == {}


@pytest.mark.parametrize(
    ("value", "form", "fields", "text"),
    [
        (None, Form.NOTHING, {}, None),
        (b"", Form.NOTHING, {}, None),
        (b'{"event_id": "x"}', Form.JSON, {"event_id": "x"}, '{"event_id": "x"}'),
        (b"[1, 2]", Form.JSON, {}, "[1, 2]"),
        (b"hello", Form.TEXT, {}, "hello"),
        (b"[" * 100_000, Form.TEXT, {}, "[" * 100_000),
        (b"\xff\xfe", Form.BYTES, {}, None),
        (b"\0\0\0", Form.TEXT, {}, "\0\0\0"),
    ],
)
def test_values_that_are_no_avro(value: bytes | None, form: Form, fields: dict[str, Any], text: str | None) -> None:
    document = read_document(value, None, EVENT)
    assert (document.form, document.fields, document.text) == (form, fields, text)


def test_a_field_with_a_default_may_be_left_out() -> None:
    fields = {name: value for name, value in event().items() if name not in ("product_id", "amount", "error_code")}
    assert read_document(EVENT.encode(fields), EVENT, None).fields == fields | {
        "product_id": None,
        "amount": None,
        "error_code": None,
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"event_time": "yesterday"}, "event_time"),
        ({"event_time": 2**63}, "event_time"),
        ({"event_type": "stare"}, "event_type"),
        ({"amount": 1.5}, "amount"),
        ({"colour": "red"}, "colour"),
        ({"device": None}, "device"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(NotEncodableError, match=rf"{named}.*schema id {SCHEMA_ID}"):
        EVENT.encode(event() | changes)


@pytest.mark.parametrize("text", ['"string"', "[]", "{", '{"type": "enum", "name": "E", "symbols": ["A"]}', "null"])
def test_a_schema_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(UnusableSchemaError, match="schema id 4"):
        RecordSchema(WriterSchema(4, text))


def test_bytes_become_one_character_each_in_json() -> None:
    assert json.loads(to_json({"raw": b"\x00\xff", "text": "ß"})) == {"raw": "\x00\xff", "text": "ß"}


def test_half_a_character_can_be_written_and_read_again() -> None:
    """As a JSON text cut within an emoji names it."""
    fields = read_document(b'{"device": "\\ud83d", "city": "\\u00df"}', None, None).fields
    written = to_json(dict(fields)).encode()
    assert "ß".encode() in written
    assert json.loads(written) == fields == {"device": "\ud83d", "city": "ß"}


def test_the_schema_of_these_tests_has_a_named_type_inside() -> None:
    assert any(isinstance(field["type"], dict) and field["type"].get("name") for field in SCHEMA["fields"])


def changed(**types: Any) -> str:
    """The schema of events, with other types."""
    return json.dumps(
        {**SCHEMA, "fields": [{**field, "type": types.get(field["name"], field["type"])} for field in SCHEMA["fields"]]}
    )


@pytest.mark.parametrize(
    ("logical_type", "per_millisecond"),
    [("timestamp-micros", 1_000), ("local-timestamp-millis", 1), ("timestamp-nanos", 1_000_000)],
)
def test_an_instant_that_a_repair_leaves_alone_is_written_in_the_ticks_of_the_schema(
    logical_type: str, per_millisecond: int
) -> None:
    text = changed(event_time={"type": "long", "logicalType": logical_type})
    writer = RecordSchema(WriterSchema(8, text))
    sent = event(event_time=event()["event_time"] * per_millisecond)
    document = read_document(writer.encode(sent), writer, None)
    assert document.fields == sent, "shown as its writer wrote it"

    assert EVENT.encode(document.fields, repaired=document) == encode(event())
    by_hand = {**document.fields, "event_time": 1_795_257_060_000}
    assert EVENT.encode(by_hand, repaired=document) == encode(event(event_time=1_795_257_060_000))


def test_a_uuid_of_sixteen_bytes_is_shown_and_repaired_as_its_text() -> None:
    fixed = {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}
    writer = RecordSchema(WriterSchema(8, changed(event_id=fixed)))
    value = writer.encode(event(3))
    assert len(value) == len(encode(event(3))) - 21, "the text has 36 bytes and a length"
    document = read_document(value, writer, None)
    assert document.fields == event(3)
    assert EVENT.encode(document.fields, repaired=document) == encode(event(3))


def test_a_record_of_a_schema_that_contains_itself_is_read_as_it_is() -> None:
    """Read as a record of its first field, it would hold such records as well."""
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [
            {"name": "within", "type": {"type": "array", "items": "Tree"}},
            {"name": "label", "type": "string"},
            {"name": "weight", "type": "long"},
        ],
    }
    schema = RecordSchema(WriterSchema(8, json.dumps(tree)))
    fields = {"within": [{"within": [], "label": "leaf", "weight": 1}], "label": "root", "weight": 2}
    value = schema.encode(fields)
    assert read_document(value, schema, None).fields == fields
    cut = read_document(value[:-1], schema, None)
    assert (cut.form, cut.fields) == (Form.AVRO_IN_PART, {"within": fields["within"], "label": "root"})


def test_a_schema_that_refers_to_others_is_read_and_written_with_them() -> None:
    referred = json.dumps({"type": "enum", "name": "shop.Device", "symbols": ["mobile", "größer"]})
    schema = RecordSchema(WriterSchema(8, changed(device="shop.Device"), [referred]))
    for device in ("mobile", "größer"):
        value = schema.encode(event(device=device))
        assert read_document(value, schema, None).fields == event(device=device)
    with pytest.raises(
        UnusableSchemaError, match=r"shop\.Device is defined neither in the schema nor in what it refers"
    ):
        RecordSchema(WriterSchema(8, changed(device="shop.Device")))


def test_a_record_in_a_union_is_read_and_written_in_its_branch() -> None:
    schema = RecordSchema(WriterSchema(8, json.dumps(["null", SCHEMA])))
    value = schema.encode(event())
    assert value[:6] == b"\0\0\0\0\x08\x02"
    assert read_document(value, schema, None).fields == event()
    assert read_document(b"\0\0\0\0\x08\0", schema, None).fault == "no record: another branch of the union"


@pytest.mark.parametrize(("avro_type", "value"), [("int", 2**40), ("boolean", "false")])
def test_what_fastavro_would_write_although_it_does_not_fit_is_refused(avro_type: str, value: Any) -> None:
    schema = RecordSchema(WriterSchema(8, changed(country=avro_type)))
    with pytest.raises(NotEncodableError, match=r"country: .* is not of the schema's type"):
        schema.encode(event(country=value))

"""What is read of a bad value, and what is written again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from etar.dead_letter_office.document import (
    Form,
    ReadingSchema,
    RecordSchema,
    WriterSchema,
    read_document,
    reading_schema,
    to_json,
)
from etar.records.codec import NotEncodableError, UnusableSchemaError
from etar.records.formats import codec_of
from etar.records.framing import OWN_SCHEMA, SchemaId
from etar.records.registry import RegisteredSchema
from etar.streams import RecordFormat, Stream
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
        assert document.stopped_at == names[len(document.fields)]
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


def json_schema(schema_id: SchemaId) -> ReadingSchema:
    codec = codec_of(Stream("sales", record=RecordFormat.JSON_REGISTERED))
    text = '{"required": ["amount"], "properties": {"amount": {"multipleOf": 0.01}}}'
    return reading_schema(codec.writer(RegisteredSchema(text, "JSON"), schema_id))


@pytest.mark.parametrize(
    ("value", "form", "fields", "fault"),
    [
        (b'{"amount": 0.10}', Form.JSON, {"amount": Decimal("0.10")}, None),
        (b'{"amount": 12345678901234567.89}', Form.JSON, {"amount": Decimal("12345678901234567.89")}, None),
        (b'{"amount": "x"}', Form.JSON, {"amount": "x"}, None),
        (b'{"a": 1, "a": 0.2}', Form.JSON, {"a": Decimal("0.2")}, "line 1, column 10: the key 'a' is in its obj"),
        (b'{"a": 0.1} x', Form.JSON, {"a": Decimal("0.1")}, "line 1, column 12: 1 bytes follow the object"),
        (b'{"a": 0.1', Form.TEXT, {}, "line 1, column 10: Expecting ',' delimiter, and the text ends"),
        (b"[0.1]", Form.JSON, {}, "a record is an object, and the value is a list"),
        (b'{"a": "\xff"}', Form.JSON, {"a": "\N{REPLACEMENT CHARACTER}"}, "byte 7: no UTF-8"),
        (b"[" * 100_000, Form.TEXT, {}, "line 1, column 101: objects and lists in more than 100 levels"),
        (b'{"a": 1e99999999999999999999}', Form.TEXT, {}, "line 1, column 7: a number of more than 400 digits, or"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", Form.TEXT, {}, "line 1, column 7: a number of more than 400 digits, or"),
    ],
    ids=lambda part: str(part)[:20],
)  # fmt: skip
def test_json_is_read_as_far_as_it_goes(value: bytes, form: Form, fields: dict[str, Any], fault: str | None) -> None:
    document = read_document(value, json_schema(OWN_SCHEMA), None, body=0)
    assert (document.form, document.fields, document.schema_id) == (form, fields, None)
    assert fault == (document.fault[: len(fault)] if document.fault and fault else document.fault)


def test_json_without_a_header_or_under_an_unknown_schema_is_read_with_the_streams() -> None:
    value = b'{"amount": 0.10}'
    bare = read_document(value, None, json_schema(7))
    assert (bare.form, bare.fields, bare.schema_id) == (Form.JSON, {"amount": Decimal("0.10")}, None)
    assert bare.fault == "no Confluent header (00, then 4 bytes of schema id)"
    unknown = read_document(b"\0\0\0\0\x63" + value, None, json_schema(7))
    assert (unknown.form, unknown.fields, unknown.schema_id) == (Form.JSON, {"amount": Decimal("0.10")}, 99)
    assert unknown.fault == "there is no readable schema of id 99; read with schema id 7, which may not be its writer's"


def test_json_is_written_behind_the_header_that_its_schema_has() -> None:
    assert json_schema(OWN_SCHEMA).encode({"amount": Decimal("1.10")}) == b'{"amount": 1.10}'
    assert json_schema(7).encode({"amount": Decimal("1.10")}) == b'\0\0\0\0\7{"amount": 1.10}'
    with pytest.raises(NotEncodableError, match="GUID alone"):
        json_schema(UUID(int=5)).encode({"amount": 1})
    with pytest.raises(NotEncodableError, match=r"^the object: required of the JSON Schema"):
        json_schema(7).encode({})


def test_a_number_of_a_patch_is_avros_float_where_the_schema_has_one() -> None:
    writer = RecordSchema(WriterSchema(8, changed(amount="double")))
    fields = {**event(), "amount": Decimal("1.5")}
    assert read_document(writer.encode(fields), writer, None).fields["amount"] == 1.5


@pytest.mark.parametrize("of", ["bytes", "fixed", "null or bytes"])
def test_a_decimal_is_shown_and_repaired_as_the_number_it_is(of: str) -> None:
    kind = {"logicalType": "decimal", "precision": 18, "scale": 2}
    kind |= {"type": "fixed", "name": "Money", "size": 3} if of == "fixed" else {"type": "bytes"}
    writer = RecordSchema(WriterSchema(8, changed(amount=["null", kind] if of.startswith("null") else kind)))
    for number in ("0.00", "19.99", "-0.01", "83886.07", "-83886.08"):
        for value in (Decimal(number), number):
            document = read_document(writer.encode({**event(), "amount": value}), writer, None)
            assert str(document.fields["amount"]) == number
            assert writer.encode(document.fields) == writer.encode({**event(), "amount": value})
    for bad in (Decimal("0.001"), "1e500", "much", 1.5, True, *([Decimal("83886.08")] if of == "fixed" else [])):
        with pytest.raises(NotEncodableError, match="amount"):
            writer.encode({**event(), "amount": bad})

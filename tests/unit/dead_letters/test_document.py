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


def test_a_record_of_an_unknown_schema_is_tried_with_the_latest_and_says_so() -> None:
    document = read_document(encode(event(), schema_id=99), None, EVENT)
    assert (document.form, document.fields, document.schema_id) == (Form.AVRO, event(), 99)
    assert document.fault == f"there is no readable schema of id 99; read with the latest, {SCHEMA_ID}"
    assert read_document(encode(event(), schema_id=99), None, None).form is Form.BYTES


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

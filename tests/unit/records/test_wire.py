"""The wire of other producers: what each way to write a value in Avro becomes in a column for it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pytest

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.records.avro_codec import compile_reader
from etar.records.decode import Decoder, schema_of
from etar.records.record import Headers, Row
from etar.records.table import TableLayout
from etar.records.warehouse import rows_to_arrow
from tests.avro_records import decided
from tests.unit.records.events import APPENDED_MS, DESCRIBED, METADATA, record

BOUNDS = EventTimeBounds(behind_ms=86_400_000, ahead_ms=300_000)
SOME_UUID = UUID("5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11")
DATE = {"type": "int", "logicalType": "date"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
UUID_BYTES = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
KIND = {"type": "enum", "name": "Kind", "symbols": ["phone", "größer"]}
DEVICE = {"type": "record", "name": "Device", "fields": [
    {"name": "os", "type": "string"},
    {"name": "kind", "type": ["null", KIND]},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
]}  # fmt: skip
PHONE = {"os": "x", "kind": "phone", "price": b"\x05"}
DEVICE_COLUMN = "Tuple(os String, kind Nullable(Enum8('phone' = 1)), price Decimal(9, 2))"


def decimal(of: Any = "bytes", **more: Any) -> dict[str, Any]:
    named = {} if of == "bytes" else {"name": "Money", "size": 8}
    return {"type": of, **named, "logicalType": "decimal", "precision": 18, "scale": 2, **more}


def read(column: str, avro_type: Any, value: Any, *references: Any, name: str = "x") -> Any:
    """What the column holds, as JSON would say it; of a letter its reason and detail."""
    layout = TableLayout.of(
        [("event_id", "String", ""), ("event_time", "DateTime64(3, 'UTC')", ""), (name, column, "")]
        + [each for each in DESCRIBED if each[0].startswith("_")],
        database="etar",
        table="t",
        metadata=METADATA,
    )
    fields = [
        ("event_id", "string", "e"),
        ("event_time", INSTANT, APPENDED_MS),
        (name.partition(".")[0], avro_type, value),
    ]
    schema = {
        "type": "record",
        "name": "Event",
        "fields": [{"name": field, "type": kind} for field, kind, _ in fields],
    }
    body = BytesIO()
    written: Any = json.loads(json.dumps(schema))
    named = {each["name"]: each for each in references}
    for field in written["fields"]:
        field["type"] = named.get(field["type"], field["type"]) if isinstance(field["type"], str) else field["type"]
    fastavro.schemaless_writer(body, plain(written), {field: each for field, _, each in fields})
    reader = compile_reader(json.dumps(schema), layout, [json.dumps(each) for each in references])
    found = record(b"\0\0\0\0\7" + body.getvalue())
    (outcome,) = decided(Decoder(layout, BOUNDS), layout, [found], {7: reader})
    if isinstance(outcome, DeadLetter):
        return outcome.reason, outcome.detail
    return rows_to_arrow(layout, [outcome]).to_pylist()[0][name]


def plain(schema: Any) -> Any:
    """Without logical types, so that values are written as they are; symbols beyond ASCII under other names."""
    if isinstance(schema, dict):
        if schema.get("type") == "enum":
            return {**schema, "symbols": [each if each.isascii() else "other" for each in schema["symbols"]]}
        return {key: plain(part) for key, part in schema.items() if key != "logicalType"}
    return [plain(part) for part in schema] if isinstance(schema, list) else schema


WRONG, RANGE = Reason.MISSING_OR_WRONG_FIELD, Reason.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("column", "avro_type", "value", "stored"),
    [
        ("Decimal(18, 2)", decimal(), b"\x07\xcf", "19.99"),
        ("Decimal(18, 2)", decimal("fixed"), b"\xff" * 8, "-0.01"),
        ("Decimal(18, 2)", ["null", decimal()], b"\x07\xcf", "19.99"),
        ("Nullable(Decimal(18, 2))", ["null", decimal()], None, "None"),
        ("Decimal(18, 4)", decimal(), b"\x07\xcf", "19.9900"),
        ("Decimal(18, 1)", decimal(), b"\x07\xcf", (RANGE, "x: 19.99 has more than 1 digits after the point")),
        ("Decimal(18, 2)", decimal(scale="two"), b"\1", (WRONG, "x: expected a decimal number, got by")),
        ("Decimal(18, 2)", "bytes", b"\1", (WRONG, "x: expected a decimal number, got bytes b'\\x01'")),
        ("Decimal(18, 2)", "string", "19.99", "19.99"),
        ("Decimal(18, 2)", "long", 20, "20.00"),
        ("Decimal(18, 2)", "double", 19.99, (WRONG, "x: expected a decimal number, got float 19.99")),
        ("UUID", {"type": "string", "logicalType": "uuid"}, str(SOME_UUID), str(SOME_UUID.bytes)),
        ("UUID", UUID_BYTES, SOME_UUID.bytes, str(SOME_UUID.bytes)),
        ("Date", DATE, 20_778, "2026-11-21"),
        ("Nullable(Date)", ["null", DATE], None, "None"),
        ("Date", "int", 20_778, (WRONG, "x: expected a date")),
        ("Int32", DATE, 20_778, "20778"),
        ("Int32", {"type": "int", "logicalType": "time-millis"}, 37_890_123, "37890123"),
        ("Int64", {"type": "long", "logicalType": "time-micros"}, 37_890_123_456, "37890123456"),
        ("String", {"type": "int", "logicalType": "time-millis"}, 37_890_123, "10:31:30.123"),
        ("String", {"type": "long", "logicalType": "time-micros"}, 37_890_123_456, "10:31:30.123456"),
        ("DateTime('UTC')", INSTANT, 1_795_257_090_999, "2026-11-21 10:31:30+00:00"),
        ("DateTime64(6, 'UTC')", NANOS, 1_001, "1970-01-01 00:00:00.000001+00:00"),
        ("Enum8('phone' = 1, 'größer' = 2)", KIND, "other", "größer"),
        ("String", {**KIND, "default": "phone"}, "phone", "phone"),
        ("Enum8('tablet' = 1)", {**KIND, "default": "phone"}, "phone", (RANGE, "x: str 'phone' is none of the")),
        ("Array(String)", {"type": "array", "items": "string"}, ["a", "b"], "['a', 'b']"),
        ("Array(String)", ["null", {"type": "array", "items": "string"}], None, "[]"),
        ("Array(Decimal(9, 2))", {"type": "array", "items": decimal()}, [b"\1"], "[Decimal('0.01')]"),
        ("Array(Date)", {"type": "array", "items": ["null", DATE]}, [1], "[datetime.date(1970, 1, 2)]"),
        ("Map(String, Int64)", {"type": "map", "values": "long"}, {"a": 1}, "[('a', 1)]"),
        ("Map(String, Int8)", {"type": "map", "values": "long"}, {"a": 200}, (RANGE, "x: key a: 200 does not")),
        (DEVICE_COLUMN, DEVICE, PHONE, "{'os': 'x', 'kind': 'phone', 'price': Decimal('0.05')}"),
        (DEVICE_COLUMN, DEVICE, {**PHONE, "kind": "other"}, (RANGE, "x: kind: str 'größer' is none of")),
        (f"Array({DEVICE_COLUMN})", {"type": "array", "items": DEVICE}, [], "[]"),
        ("String", DEVICE, {"os": "x", "kind": None, "price": b""}, (WRONG, "x: expected text, got dict")),
    ],
    ids=lambda part: str(part)[:40],
)  # fmt: skip
def test_what_a_type_of_avro_becomes(column: str, avro_type: Any, value: Any, stored: Any) -> None:
    found = read(column, avro_type, value)
    if isinstance(stored, str):
        assert str(found) == stored
    else:
        assert (found[0], found[1][: len(stored[1])]) == stored


@pytest.mark.parametrize(
    ("name", "column", "value", "stored"),
    [
        ("x.os", "String", "linux", "linux"),
        ("x.price", "Decimal(9, 2)", "linux", "0.07"),
        ("x.kind", "Nullable(String)", "linux", "None"),
        ("x.no", "String", "linux", (WRONG, "x.no: the schema has no such field, and the column takes no null")),
    ],
)
def test_a_column_with_a_point_in_its_name_takes_a_field_of_a_nested_record(
    name: str, column: str, value: str, stored: Any
) -> None:
    found = read(column, ["null", DEVICE], {"os": value, "kind": None, "price": b"\x07"}, name=name)
    assert (found if isinstance(stored, tuple) else str(found)) == stored


def test_a_nested_record_may_stand_in_what_the_schema_refers_to() -> None:
    assert read("Tuple(os String)", "Device", {"os": "x", "kind": None, "price": b""}, DEVICE) == {"os": "x"}


@pytest.mark.parametrize(
    ("start", "headers"),
    [(b"\0\0\0\0\7", []), (b"", [("__value_schema_id", b"\1" + UUID(int=7).bytes)])],
    ids=["in the value", "GUID in a header"],
)
def test_a_nullable_record_at_the_top_under_either_header(start: bytes, headers: Headers) -> None:
    layout = TableLayout.of(
        DESCRIBED[:1] + DESCRIBED[5:6] + DESCRIBED[11:15], database="d", table="t", metadata=METADATA
    )
    fields = [{"name": "event_id", "type": "string"}, {"name": "event_time", "type": INSTANT}]
    schema = ["null", {"type": "record", "name": "E", "fields": fields}]
    body = BytesIO()
    fastavro.schemaless_writer(body, plain(schema), {"event_id": str(SOME_UUID), "event_time": APPENDED_MS})
    found = record(start + body.getvalue())._replace(headers=headers)
    identifier = schema_of(found)
    assert identifier is not None
    assert isinstance(
        Decoder(layout, BOUNDS).decode(found, {identifier: compile_reader(json.dumps(schema), layout)}), Row
    )

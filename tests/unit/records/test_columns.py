"""Records that are read side by side come to what each of them comes to by itself."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etar.dead_letters import DeadLetter
from etar.records.avro_codec import AvroCodec, RecordReader
from etar.records.batch import Batch
from etar.records.decode import Decoder
from etar.records.framing import with_header
from etar.records.record import Record, Row
from etar.records.table import EventColumns, TableLayout
from etar.streams import Limits
from tests.avro_records import APPENDED_MS, BOUNDS, Readers, batch_of, decided, encoded, value_of
from tests.unit.records.events import LAYOUT, METADATA, SCHEMA

MILLIS, MICROS, NANOS = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros", "nanos"))
DATE = {"type": "int", "logicalType": "date"}
KINDS = ["phone", "tablet", "tv"]
PLACE = [("_topic", "String", ""), ("_partition", "Int32", ""), ("_offset", "Int64", ""),
         ("_timestamp", "DateTime64(3, 'UTC')", "")]  # fmt: skip


def kind(name: str) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": KINDS}


def fixed(name: str, size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def money(of: str, scale: int = 2, name: str = "") -> dict[str, Any]:
    return {"type": of, "logicalType": "decimal", "precision": 9, "scale": scale} | (
        {"name": name, "size": 4} if name else {}
    )


SIDE_BY_SIDE: list[tuple[str, Any]] = [
    ("String", "string"),
    ("LowCardinality(Nullable(String))", ["null", "string"]),
    ("Nullable(String)", ["string", "null"]),
    ("String", ["null", "string"]),
    ("String", kind("A")),
    ("Enum8('phone' = 1, 'tv' = 2)", kind("B")),
    ("Enum8('phone' = 1, 'tv' = 2, '' = 3)", "string"),
    ("Nullable(Enum16('phone' = 1))", ["null", kind("C")]),
    ("UUID", {"type": "string", "logicalType": "uuid"}),
    ("Nullable(UUID)", ["null", "string"]),
    ("UUID", fixed("D", 16, logicalType="uuid")),
    ("Bool", "boolean"),
    ("Nullable(Bool)", ["null", "boolean"]),
    *((f"{sign}Int{bits}", of) for sign in ("", "U") for bits in (8, 16, 32, 64) for of in ("int", "long")),
    ("Nullable(Int64)", ["null", "long"]),
    ("Int64", MILLIS),
    ("Float64", "double"),
    ("Float32", "double"),
    ("Float32", "float"),
    ("Float64", "float"),
    ("Float64", "long"),
    ("Float32", "long"),
    ("Nullable(Float64)", ["null", "double"]),
    *((f"DateTime64({digits}, 'UTC')", of) for digits in (3, 6) for of in (MILLIS, MICROS, NANOS)),
    ("DateTime('UTC')", MILLIS),
    ("Nullable(DateTime64(6))", ["null", MICROS]),
    ("Date", DATE),
    ("Nullable(Date32)", ["null", DATE]),
    ("Decimal(9, 2)", money("bytes")),
    ("Decimal(40, 2)", money("bytes")),
    ("Nullable(Decimal(9, 2))", ["null", money("bytes")]),
    ("Decimal(9, 2)", money("fixed", name="E")),
    ("Decimal(9, 2)", "long"),
    ("Decimal(38, 10)", "long"),
]
"""Columns, and what they are filled from."""

BY_THEMSELVES: list[tuple[str, Any]] = [
    ("String", "bytes"),
    ("String", {"type": "int", "logicalType": "time-millis"}),
    ("String", fixed("F", 16, logicalType="uuid")),
    ("String", ["null", "string", "long"]),
    ("Decimal(9, 3)", money("bytes")),
    ("Decimal(9, 2)", "string"),
    ("Decimal(38, 20)", "long"),
    ("Array(String)", {"type": "array", "items": "string"}),
    ("Map(String, String)", {"type": "map", "values": "string"}),
    ("Tuple(os String)", {"type": "record", "name": "G", "fields": [{"name": "os", "type": "string"}]}),
    ("DateTime64(3)", "long"),
    ("Date", "int"),
]

LIMITED: list[tuple[str, Any, Limits]] = [
    ("Int32", "long", Limits(min=Decimal("-3.5"), max=Decimal(7))),
    ("Int8", "int", Limits(one_of=("1", "2.0", "2.5", "300"))),
    ("Int64", "long", Limits(min=Decimal("1e30"))),
    ("UInt64", "long", Limits(max=Decimal("1e30"), one_of=("9223372036854775807", "200", "18446744073709551615"))),
    ("Nullable(String)", ["null", "string"], Limits(min_length=1, max_length=3)),
    ("String", "string", Limits(one_of=("", "a", "b"))),
    ("String", kind("H"), Limits(min_length=3)),
]


def case(
    pairs: list[tuple[str, Any]], limits: dict[int, Limits] | None = None, **fields: Any
) -> tuple[TableLayout, dict[str, Any]]:
    """A table of a column for each pair, and a schema with a field for each; ``fields``: more of them."""
    described = [("event_id", "String", ""), ("event_time", "DateTime64(3, 'UTC')", "")]
    described += [(f"c{number}", column, "") for number, (column, _) in enumerate(pairs)]
    checks = {f"c{number}": each for number, each in (limits or {}).items()}
    event = EventColumns(checks=checks)
    layout = TableLayout.of([*described, *PLACE], database="d", table="t", metadata=METADATA, event=event)
    named = {"event_id": "string", "event_time": MILLIS} | {f"c{number}": of for number, (_, of) in enumerate(pairs)}
    types = [{"name": name, "type": of} for name, of in (named | fields).items()]
    return layout, {"type": "record", "name": "Event", "fields": types}


SEEDS = st.integers(0, 1 << 32)


def come_to_the_same(layout: TableLayout, schemas: dict[int, Any], seed: int) -> None:
    decided(Decoder(layout, BOUNDS), layout, batch_of(schemas, Random(seed)), Readers(schemas, layout))


def columns_of(layout: TableLayout, schema: Any) -> object:
    reader = Readers({7: schema}, layout)[7]
    assert isinstance(reader, RecordReader)
    return reader.columns


@pytest.mark.parametrize("pair", SIDE_BY_SIDE, ids=str)
@settings(max_examples=3)
@given(SEEDS)
def test_each_type_that_is_read_side_by_side(pair: tuple[str, Any], seed: int) -> None:
    layout, schema = case([pair])
    assert columns_of(layout, schema) is not None
    come_to_the_same(layout, {7: schema}, seed)


@pytest.mark.parametrize(
    ("number", "flag"),
    [
        (b"\x80" * 9, b"\1"),  # of ten bytes, and then no flag: to be cut short after nine
        (b"\x80" * 8 + b"\1", b"\1"),
        (b"\2", b"\2"),
        (b"\2", b"\xff"),
        (b"\2", b""),
    ],
    ids=lambda part: part.hex(),
)
def test_bodies_that_are_nearly_right(number: bytes, flag: bytes) -> None:
    layout, schema = case([("Int64", "long"), ("Bool", "boolean")])
    start = with_header(
        7, encoded({**schema, "fields": schema["fields"][:2]}, {"event_id": "", "event_time": APPENDED_MS})
    )
    records = [Record("t", 0, 0, APPENDED_MS, None, start + number + flag)]
    decided(Decoder(layout, BOUNDS), layout, records, Readers({7: schema}, layout))


def test_an_instant_that_is_a_believable_one_to_whoever_counts_in_64_bits() -> None:
    layout, schema = case([("DateTime64(6, 'UTC')", MILLIS)])
    datum = {"event_id": "", "event_time": APPENDED_MS, "c0": ((1 << 64) + APPENDED_MS * 1_000) // 1_000}
    records = [Record("t", 0, 0, APPENDED_MS, None, with_header(7, encoded(schema, datum)))]
    (outcome,) = decided(Decoder(layout, BOUNDS), layout, records, Readers({7: schema}, layout))
    assert isinstance(outcome, DeadLetter)


def test_a_check_against_no_number_is_left_to_the_records_own_way() -> None:
    layout, schema = case([("Int64", "long")], {0: Limits(max=Decimal("inf"), one_of=("nan", "1"))})
    assert columns_of(layout, schema) is None


def test_a_check_against_numbers_that_are_the_same_as_floats() -> None:
    known = (str(1 << 60), str((1 << 64) - 1))
    layout, schema = case([("UInt64", "long")], {0: Limits(one_of=known)})
    data = [{"event_id": "", "event_time": APPENDED_MS, "c0": (1 << 60) + more} for more in (0, 1)]
    records = [
        Record("t", 0, offset, APPENDED_MS, None, with_header(7, encoded(schema, datum)))
        for offset, datum in enumerate(data)
    ]
    outcomes = decided(Decoder(layout, BOUNDS), layout, records, Readers({7: schema}, layout))
    assert [isinstance(each, Row) for each in outcomes] == [True, False]


@pytest.mark.parametrize("pair", BY_THEMSELVES, ids=str)
def test_what_is_not_read_side_by_side(pair: tuple[str, Any]) -> None:
    layout, schema = case([pair])
    assert columns_of(layout, schema) is None


@pytest.mark.parametrize("limited", LIMITED, ids=str)
@settings(max_examples=5)
@given(SEEDS)
def test_a_streams_checks(limited: tuple[str, Any, Limits], seed: int) -> None:
    column, of, limits = limited
    layout, schema = case([(column, of)], {0: limits})
    assert columns_of(layout, schema) is not None
    come_to_the_same(layout, {7: schema}, seed)


NESTED = {"type": "record", "name": "Device", "fields": [
    {"name": "os", "type": "string"},
    {"name": "kind", "type": ["null", kind("I")]},
]}  # fmt: skip
UNKNOWN: dict[str, Any] = {
    "skipped": "string", "sizes": fixed("J", 3), "ratio": "double", "flag": "boolean", "number": "float",
    "blob": ["null", "bytes"], "more": kind("K"), "count": ["int", "null"], "device": NESTED,
}  # fmt: skip
WIDE_LAYOUT, WIDE = case(SIDE_BY_SIDE, **UNKNOWN)
NARROW = {**WIDE, "fields": [each for each in WIDE["fields"] if each["name"] not in ("c1", "c7")]}


NEWER = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "new", "type": ["null", "string"]}]}


@settings(max_examples=20)
@given(SEEDS)
def test_records_of_the_first_stream_under_two_schemas(seed: int) -> None:
    come_to_the_same(LAYOUT, {7: SCHEMA, 8: NEWER}, seed)


@settings(max_examples=20)
@given(SEEDS)
def test_records_of_every_type_beside_fields_without_a_column(seed: int) -> None:
    come_to_the_same(WIDE_LAYOUT, {7: WIDE, 8: NARROW}, seed)


DEVICE_LAYOUT = TableLayout.of(
    [("event_id", "String", ""), ("event_time", "DateTime64(3, 'UTC')", ""), ("device.kind", "Nullable(String)", ""),
     ("device.no", "Nullable(String)", ""), *PLACE],
    database="d", table="t", metadata=METADATA,
)  # fmt: skip
DEVICE = case([], **UNKNOWN)[1]


@settings(max_examples=20)
@given(SEEDS)
def test_columns_of_fields_of_a_nested_record(seed: int) -> None:
    assert columns_of(DEVICE_LAYOUT, DEVICE) is not None
    come_to_the_same(DEVICE_LAYOUT, {7: DEVICE}, seed)


@settings(max_examples=5)
@given(SEEDS)
def test_good_records_are_all_read_side_by_side(seed: int) -> None:
    identifier = "5e1f0c52-3a53-4a0e-9D52-6B0A3d1f7c11"
    good = dict.fromkeys(("event_id", "user_id", "session_id"), identifier) | {"event_time": APPENDED_MS, "amount": 1}
    data = [value_of(SCHEMA, Random(seed + number)) | good for number in range(50)]
    records = [
        Record("t", 0, offset, APPENDED_MS, None, with_header(7, encoded(SCHEMA, datum)))
        for offset, datum in enumerate(data)
    ]
    readers = Readers({7: SCHEMA}, LAYOUT)
    decided(Decoder(LAYOUT, BOUNDS), LAYOUT, records, readers)
    reader, bodies = readers[7], AvroCodec().bodies(Batch.of(records))
    assert isinstance(reader, RecordReader)
    assert reader.columns is not None
    assert bodies is not None
    _, read = reader.columns.read(bodies, np.arange(len(records)))
    assert read.all()

"""A landing table made of a stream's table: its view lets through what the intake makes a row, value by value. chDB."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from etar.bootstrap.landing import NoLandingError, landing_of
from etar.event_times import EventTimeBounds
from etar.records.decode import Decoder
from etar.records.formats import codec_of
from etar.records.record import Record, Row, Unreadable
from etar.records.registry import RegisteredSchema
from etar.records.table import METADATA, EventColumns, TableLayout
from etar.stream_folder.engine import Database, own_database
from etar.streams import Limits, RecordFormat, Stream

AT = 1_795_000_000_000
DAY_MS = 24 * 3_600_000
FIRST, END = -2_208_988_800_000, 10_413_792_000_000
"""What a DateTime64 holds."""

BOUNDS = EventTimeBounds(behind_ms=DAY_MS, ahead_ms=300_000)
INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
FIELDS: dict[str, Any] = {
    "trip": {"type": "string", "logicalType": "uuid"},
    "started": INSTANT,
    "kind": {"type": "enum", "name": "Kind", "symbols": ["solo", "shared"]},
    "seats": "int",
    "metres": ["null", "long"],
    "price": "double",
    "speed": ["null", "float"],
    "paid": ["null", "boolean"],
    "driver": ["null", "string"],
    "note": ["null", "string"],
    "ended": ["null", INSTANT],
}
TABLE = """CREATE TABLE trips (
    trip UUID, started DateTime64(3, 'UTC'), kind LowCardinality(String), seats UInt8, metres Nullable(Int64),
    price Float64, speed Nullable(Float64), paid Nullable(Bool), driver Nullable(UUID),
    note LowCardinality(Nullable(String)), ended Nullable(DateTime64(6, 'UTC')),
    _topic LowCardinality(String), _partition Int32, _offset Int64, _timestamp DateTime64(3, 'UTC'),
    event_minute DateTime('UTC') MATERIALIZED toStartOfMinute(started)
) ENGINE = ReplacingMergeTree ORDER BY (_topic, _partition, _offset)"""
TRIP = "6f1c0bd4-9df5-4a2f-8a0e-0a3f6b0f9d11"
SOUND: dict[str, Any] = {
    "trip": TRIP, "started": AT, "kind": "solo", "seats": 2, "metres": 1_200, "price": 12.5, "speed": 3.5, "paid": True,
    "driver": TRIP.upper(), "note": "Füße 🦶", "ended": AT + 60_001,
}  # fmt: skip
LITERALS = {"started": "fromUnixTimestamp64Milli({}, 'UTC')", "ended": "fromUnixTimestamp64Milli({}, 'UTC')"}


def trips(**changes: Any) -> Stream:
    fields = [{"name": name, "type": kind} for name, kind in {**FIELDS, **changes}.items()]
    return Stream(
        "trips",
        identity=("trip",),
        time="started",
        schema_text=json.dumps({"type": "record", "name": "Trip", "fields": fields}),
        checks={
            "metres": Limits(min=Decimal("0.5"), max=Decimal(90_000)),
            "note": Limits(max_length=8),
            "kind": Limits(one_of=("solo", "it's")),
        },
    )


@pytest.fixture
def database() -> Iterator[Database]:
    with own_database() as database:
        database.run(TABLE)
        yield database


def layout_of(stream: Stream, database: Database) -> TableLayout:
    described = database.describe("trips")
    return TableLayout.of(described, database="", table="trips", metadata=METADATA, event=EventColumns.of(stream))


def land(database: Database, events: list[dict[str, Any]]) -> None:
    """As the connector writes them, once they are converted."""
    names = ", ".join((*FIELDS, "_topic", "_partition", "_offset", "_timestamp"))
    rows = []
    for offset, event in enumerate(events):
        values = [literal(name, event[name]) for name in FIELDS]
        rows.append(f"SELECT {', '.join(values)}, 'trips', 0, {offset}, fromUnixTimestamp64Milli({AT}, 'UTC')")
    database.run(f"INSERT INTO trips_landing ({names}) {' UNION ALL '.join(rows)}")


def literal(name: str, value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
        return f"'{escaped}'"
    if isinstance(value, float):
        return f"reinterpretAsFloat64(toUInt64({int.from_bytes(struct.pack('<d', value), 'little')}))"
    return LITERALS.get(name, "{}").format(f"toInt64({value})" if type(value) is int else value)


def test_what_lands_is_what_the_intake_makes_a_row_value_by_value(database: Database) -> None:
    stream = trips()
    layout = layout_of(stream, database)
    landing = landing_of(stream, layout, BOUNDS)
    for _ in range(2):  # repeatable
        database.run(landing.table)
        database.run(landing.view)
    none = dict.fromkeys(("metres", "speed", "paid", "driver", "note", "ended"))
    changes: list[dict[str, Any]] = [
        {}, none, {"driver": None}, {"paid": False},
        *({"started": AT + apart} for apart in (-DAY_MS - 1, -DAY_MS, -DAY_MS + 1, 300_000, 300_001, 2**50, -(2**50))),
        *({"seats": seats} for seats in (0, 255, 256, -1, 2**31 - 1)),
        *({"metres": metres} for metres in (0, 1, 90_000, 90_001, -(2**63), 2**63 - 1)),
        *({"price": price} for price in (0.1, -1e300, float("inf"), 5e-324)),
        *({"trip": text} for text in ("", "nobody", TRIP.replace("-", ""), f"{{{TRIP}}}", TRIP.upper(), f"{TRIP} ")),
        *({"driver": text} for text in ("", TRIP[:-1], f"{TRIP}\n")),
        *({"note": text} for text in ("", "it's \\", "12345678", "123456789", "ü" * 8, "🦶" * 9, "\0")),
        *({"kind": kind} for kind in ("shared",)),
        *({"ended": at} for at in (FIRST, FIRST - 1, END - 1, END, 2**62)),
    ]  # fmt: skip
    events = [{**SOUND, **change} for change in changes]

    land(database, events)

    rows = decoded(stream, layout, events)
    columns = ", ".join(
        {"started": "toUnixTimestamp64Milli(started)", "ended": "toUnixTimestamp64Micro(ended)"}.get(name, name)
        for name in FIELDS
    )
    stored = database.rows(f"SELECT _offset, hex(trip), hex(driver), {columns} FROM trips ORDER BY _offset")
    assert [row[0] for row in stored] == list(rows)
    assert 15 < len(rows) < len(events) - 15
    for (offset, trip, driver, *values), row in zip(stored, rows.values(), strict=True):
        wanted = dict(zip(FIELDS, row.values, strict=True))
        found = dict(zip(FIELDS, values, strict=True))
        assert (trip, driver or "") == (wanted["trip"].hex().upper(), (wanted["driver"] or b"").hex().upper()), offset
        for name in FIELDS.keys() - {"trip", "driver"}:
            assert alike(found[name], wanted[name]), (offset, name, found[name], wanted[name])


def decoded(stream: Stream, layout: TableLayout, events: list[dict[str, Any]]) -> dict[int, Row]:
    """Those that the intake makes rows, by offset."""
    codec, schema = codec_of(stream), RegisteredSchema(stream.schema_text or "", "AVRO")
    reader, writer = codec.reader(schema, layout), codec.writer(schema, 1)
    assert not isinstance(reader, Unreadable)
    decoder = Decoder(layout, BOUNDS, codec)
    outcomes = [
        decoder.decode(Record("trips", 0, offset, AT, None, writer.encode(event)), {1: reader})
        for offset, event in enumerate(events)
    ]
    return {outcome.record.offset: outcome for outcome in outcomes if isinstance(outcome, Row)}


def alike(found: Any, wanted: Any) -> bool:
    """JSON has 64-bit integers as text, and no infinity."""
    if isinstance(wanted, float) and not isinstance(wanted, bool):
        return (float(found) if found is not None else float("inf")) == wanted
    return (int(found) if type(wanted) is int and isinstance(found, str) else found) == wanted


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"price": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}, "price is no plain one"),
        ({"started": {"type": "long", "logicalType": "timestamp-micros"}}, "started is no plain one"),
        ({"note": ["null", "string", "int"]}, "note is no plain one"),
        ({"price": "string"}, "price Float64 is filled from String"),
        ({"metres": ["null", "double"]}, "metres Int64 is filled from Float64"),
    ],
)
def test_a_table_that_cannot_be_landed_in_as_the_intake_would_is_named(
    database: Database, changes: dict[str, Any], why: str
) -> None:
    stream = trips(**changes)
    with pytest.raises(NoLandingError, match=f"{why}; write trips_landing and trips_landed in the next file of"):
        landing_of(stream, layout_of(stream, database), BOUNDS)


def test_json_has_no_types_that_a_landing_could_be_made_of(database: Database) -> None:
    stream = replace(trips(), record=RecordFormat.JSON)
    with pytest.raises(NoLandingError, match="its records are json"):
        landing_of(stream, layout_of(stream, database), BOUNDS)

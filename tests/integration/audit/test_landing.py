"""The landing table against the intake: the same records become the same rows, and the others none."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from etar.records.record import Record
from etar.streams import Stream
from tests.integration.audit.conftest import World, milliseconds
from tests.integration.audit.connect_double import Worker, place_of, row_binary
from tests.integration.schemas import register
from tests.unit.records.events import SCHEMA, encode, event

DAY_MS = 24 * 3_600_000
MINUTE_MS = 60_000


def with_field(world: World, name: str, avro_type: Any, value: Any) -> bytes:
    """A record whose writer declared one field differently, registered where nobody compares it."""
    schema = copy.deepcopy(SCHEMA)
    fields = {field["name"]: field for field in schema["fields"]}
    schema["fields"] = list({**fields, name: {"name": name, "type": avro_type}}.values())
    return encode(
        event(**{"event_time": milliseconds(world.minute.start), name: value}),
        schema=schema,
        schema_id=_registered(world, schema),
    )


def without_field(world: World, name: str) -> bytes:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    made = event(event_time=milliseconds(world.minute.start))
    return encode(made, schema=schema, schema_id=_registered(world, schema))


def _registered(world: World, schema: dict[str, Any]) -> int:
    text = json.dumps(schema)
    return register(world.registry, f"{world.stream.name}-{abs(hash(text))}-value", text)


def changed(world: World, **changes: Any) -> bytes:
    return world.good(1, **changes)[0]


def records_of(world: World, values: list[bytes | None]) -> list[Record]:
    """Taken by the broker at the start of the world's minute."""
    appended = milliseconds(world.minute.start)
    return [Record(world.stream.topic, 0, offset, appended, None, value) for offset, value in enumerate(values)]


def stored(world: World) -> list[tuple[Any, ...]]:
    return world.query(f"SELECT *, event_minute FROM {world.stream.table} FINAL ORDER BY _offset")


def test_what_lands_is_what_the_intake_stores_value_by_value_and_nothing_else(
    world: World, each_worker: Worker
) -> None:
    worker = each_worker
    at = milliseconds(world.minute.start)
    good = changed(world)
    upper = event()["event_id"].upper()
    nullable_text = ["null", "string"]
    values = [
        good,
        changed(world, product_id=None, amount=None, error_code="E42", status="error", event_type="search"),
        changed(world, amount=-(2**63), device="", country="Füße 🦶", product_id="\0'\n\t\\"),
        changed(world, amount=2**63 - 1, event_id=upper),
        # Around both bounds of what is believed of the event time, and far beyond what DateTime64 holds.
        *(changed(world, event_time=at - DAY_MS + apart) for apart in (-MINUTE_MS, -1, 0, 1, MINUTE_MS)),
        *(changed(world, event_time=at + 300_000 + apart) for apart in (-1, 0, 1, MINUTE_MS)),
        *(changed(world, event_time=instant) for instant in (0, -1, 2**40, 2**60, 2**63 - 1, -(2**63))),
        # Identifiers that are no UUID as etar writes them, though some can be read as one.
        *(changed(world, event_id=text) for text in ("", "nobody", upper.replace("-", ""), f"{{{upper}}}", upper[:-1])),
        *(changed(world, user_id=f"{upper}{end}") for end in ("\n", " ", "0", "\0")),
        *(changed(world, session_id=text) for text in (f"g{upper[1:]}", upper.replace("-", "_"), f" {upper[1:]}")),
        changed(world, event_id="00000000-0000-0000-0000-000000000000"),
        # Other writers' schemas.
        *(without_field(world, name) for name in ("event_id", "event_time", "device", "status")),
        *(without_field(world, name) for name in ("product_id", "amount", "error_code")),
        *(with_field(world, name, nullable_text, None) for name in ("user_id", "event_type", "country", "product_id")),
        with_field(world, "event_type", "string", "return"),
        with_field(world, "event_time", ["null", {"type": "long", "logicalType": "timestamp-millis"}], None),
        with_field(world, "event_id", {"type": "fixed", "name": "sixteen", "size": 16}, b"\xff" * 16),
        # What no converter gives on.
        None,
        b"",
        b"junk",
        good[:-3],
        b"\0" + (2_000_000_000).to_bytes(4, "big") + good[5:],
    ]
    # Values that the connector cannot write, each of which would cost its batch.
    misfits = [
        with_field(world, "amount", "string", "12"),
        with_field(world, "amount", "double", 12.0),
        with_field(world, "device", "long", 5),
    ]
    records = records_of(world, [*values, *misfits])
    worker.deliver(records[: len(values)])
    for record in records[len(values) :]:
        worker.deliver([record])
    reference = replace(world, stream=Stream(f"{world.stream.name}_reference"))
    world.warehouse_client.command(f"CREATE TABLE {reference.stream.table} AS {world.stream.table}")
    try:
        with reference.intake() as intake:
            taken = intake.take_in(records)
        assert stored(world) == stored(reference)
    finally:
        world.warehouse_client.command(f"DROP TABLE {reference.stream.table}")
    rows = {row.record.offset for row in taken.rows}
    assert {offset for _, offset in world.rows()} == rows
    assert {letter.offset for letter in taken.letters} == set(range(len(records))) - rows
    assert len(rows) == 14


def test_what_a_sink_that_is_given_fields_cannot_tell(world: World, each_worker: Worker) -> None:
    """The differences between the connector and etar's own sink, all of them; docs/dead-letters.md lists them."""
    worker = each_worker
    at = milliseconds(world.minute.start)
    good = changed(world)
    a_row_there_and_a_letter_here = [
        good + b"!",
        with_field(world, "event_time", "long", at),
        with_field(world, "device", "bytes", b"mobile"),
    ]
    not_there_and_a_row_here = [
        with_field(world, "event_time", {"type": "long", "logicalType": "timestamp-micros"}, at * 1000),
        changed(world, country="\ufffd"),
        changed(world, product_id="\ufffd"),
    ]
    left_out_in_both = [good.replace(b"\x0cmobile", b"\x0c\xff\xfebile"), with_field(world, "device", "bytes", b"\xff")]
    assert left_out_in_both[0] != good
    records = records_of(world, [*a_row_there_and_a_letter_here, *not_there_and_a_row_here, *left_out_in_both])
    worker.deliver(records)
    with world.intake() as intake:
        decoded = intake.decode(records)
    assert [offset for _, offset in world.rows()] == [0, 1, 2]
    assert [row.record.offset for row in decoded.rows] == [3, 4, 5]
    assert not worker.given_up


def test_no_number_of_minutes_in_one_block_is_refused_and_only_believable_ones_open_a_partition(
    world: World, worker: Worker
) -> None:
    """Code 252 is one that the connector tries again for ever: it has to be impossible."""
    at = milliseconds(world.minute.start)
    minutes = range(-1_700, 300)
    event_times = [at + minute * MINUTE_MS for minute in minutes]
    records = records_of(world, [None] * len(minutes))
    block = [
        row_binary(event(record.offset, event_time=event_time) | dict(place_of(record)))
        for record, event_time in zip(records, event_times, strict=True)
    ]
    with pytest.raises(ClickHouseError, match=r"\b252\b"):
        worker.insert(block, max_partitions_per_insert_block=100)
    assert not world.rows()

    worker.insert(block)

    believed = [minute for minute in minutes if -1_440 < minute <= 5]
    assert len(world.rows()) == len(believed)
    opened = world.query(
        f"SELECT uniqExact(partition), min(toUnixTimestamp(partition)), max(toUnixTimestamp(partition)) "
        f"FROM system.parts WHERE database = currentDatabase() AND table = '{world.stream.table}' AND active"
    )
    assert opened == [(len(believed), at // 1000 + believed[0] * 60, at // 1000 + believed[-1] * 60)]


def test_a_new_column_lands_once_table_and_view_have_it(world: World, worker: Worker) -> None:
    """The step of docs/schema-evolution.md; the rest of the file's query is as it was."""
    table, landing, view = world.stream.table, worker.landing, f"{world.stream.table}_landed"
    newer = with_field(world, "referrer", ["null", "string"], "a friend")
    records = records_of(world, [changed(world), newer])
    worker.deliver(records[:1])
    query = worker.view.partition(" AS\n")[2]
    added = query.replace("AS country,\n", "AS country,\n    landed.referrer AS referrer,\n")
    for _ in range(2):  # a file that was cut off is applied again from its start
        world.warehouse_client.command(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS referrer Nullable(String)")
        world.warehouse_client.command(f"ALTER TABLE {landing} ADD COLUMN IF NOT EXISTS referrer Nullable(String)")
        world.warehouse_client.command(f"ALTER TABLE {view} MODIFY QUERY {added}")
    last = row_binary(event(2, event_time=milliseconds(world.minute.start)) | dict(place_of(records[1])))
    worker.insert([last + b"\0\x08a friend"])
    assert world.query(f"SELECT _offset, referrer FROM {table} FINAL ORDER BY _offset") == [(0, None), (1, "a friend")]


def test_a_batch_from_before_the_new_column_is_refused_as_a_whole(world: World, worker: Worker) -> None:
    """What becomes of the connector's rows if it is not stopped: they have no names, and come out of step."""
    world.warehouse_client.command(f"ALTER TABLE {worker.landing} ADD COLUMN referrer Nullable(String)")
    records = records_of(world, list(world.good(200)))
    worker.deliver(records)
    assert worker.given_up == records
    assert not world.rows()


def test_landing_table_and_view_have_the_columns_that_a_sink_fills(world: World) -> None:
    def filled(table: str) -> list[str]:
        described = world.warehouse_client.query(f"DESCRIBE TABLE {table}").result_rows
        return sorted(row[0] for row in described if not row[2])

    assert filled("user_interactions_landing") == filled("user_interactions_landed") == filled("user_interactions")

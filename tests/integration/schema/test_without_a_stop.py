"""The steps of ``docs/schema-evolution.md`` on running parts: the column first, then new producers beside old ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etar.bootstrap.migrations import apply_clickhouse, read_migrations
from etar.clients import object_store_client
from etar.minute import MinuteWindow
from etar.pipeline.extract import extract_minute
from etar.settings import ObjectStoreSettings, RegistrySettings
from etar.streams import Stream
from tests.integration.connect.conftest import Lane, client_of
from tests.integration.schema.evolutions import ACCEPTED
from tests.integration.schemas import register
from tests.unit.records.events import encode, event

EVOLUTION = ACCEPTED["an optional field is new"]


@pytest.fixture
def lane(new_lane: Callable[..., Lane]) -> Lane:
    """With a table of its own, which the test may change."""
    lane = new_lane()
    lane.table = lane.topic
    client = client_of(lane.warehouse)
    client.command(f"CREATE TABLE {lane.table} AS user_interactions")
    client.close()
    return lane


def test_a_new_optional_field_arrives_without_a_stop(
    lane: Lane, registry: RegistrySettings, object_store: ObjectStoreSettings, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    window = MinuteWindow.containing(now - timedelta(minutes=5))
    at = {"event_time": int(window.start.timestamp() * 1000)}
    sent = 0

    def old_producer() -> None:
        nonlocal sent
        lane.produce(lane.good(300, first=sent, **at))
        sent += 300

    def new_producer(schema_id: int) -> None:
        nonlocal sent
        events = [event(number, **at, referrer="a friend") for number in range(sent, sent + 300)]
        lane.produce([encode(each, schema=EVOLUTION.schema, schema_id=schema_id) for each in events])
        sent += 300

    def rows_of_the_report() -> int:
        client = client_of(lane.warehouse)
        try:
            extract = extract_minute(
                window,
                stream=Stream(lane.table),
                warehouse=client,
                store=object_store_client(object_store),
                bucket=object_store.bucket,
                grace=timedelta(seconds=2),
                retention=timedelta(hours=26),
                now=lambda: now,
            )
        finally:
            client.close()
        return extract.rows

    sink = lane.sink()
    sink.start()
    old_producer()
    lane.settle(sink)
    assert rows_of_the_report() == sent

    migration = tmp_path / f"{9000 + len(list(tmp_path.iterdir()))}_{lane.table}_referrer.sql"
    migration.write_text(f"ALTER TABLE {lane.table} ADD COLUMN IF NOT EXISTS {EVOLUTION.column};\n")
    assert apply_clickhouse(lane.warehouse, read_migrations(tmp_path)) == [migration.name]
    assert apply_clickhouse(lane.warehouse, read_migrations(tmp_path)) == []
    old_producer()
    lane.settle(sink)
    assert rows_of_the_report() == sent

    evolved = register(registry, f"{lane.topic}-value", json.dumps(EVOLUTION.schema))
    new_producer(evolved)
    old_producer()
    new_producer(evolved)
    lane.settle(sink)

    assert rows_of_the_report() == sent == 1_500
    assert lane.rows("countIf(isNull(referrer)), countIf(referrer = 'a friend')") == [(900, 600)]
    assert not lane.dead_letters()
    lane.assert_every_offset_is_in_one_place()
    assert sink.running

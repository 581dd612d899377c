"""What counts as one event is the stream's to say: several columns together, or each record by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import warehouse_client
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.settings import WarehouseSettings
from etar.streams import Stream
from etar.verify.table import Table

WINDOW = MinuteWindow.containing(datetime.now(UTC) - timedelta(hours=2))
ROWS = [("a", 1), ("a", 1), ("a", 2), ("b", 1), ("b", 1), ("b", 1)]
"""Shop and number of a sale, by offset."""


@pytest.fixture
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(warehouse_client(warehouse)) as client:
        yield client


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    name = f"sales_{uuid4().hex[:12]}"
    client.command(
        f"CREATE TABLE {name} (Shop String, number Int64, sold_at DateTime64(3, 'UTC'), "
        "_topic LowCardinality(String), _partition Int32, _offset Int64, _timestamp DateTime64(3, 'UTC'), "
        "event_minute DateTime('UTC') MATERIALIZED toStartOfMinute(sold_at)) "
        "ENGINE = ReplacingMergeTree PARTITION BY event_minute ORDER BY (_topic, _partition, _offset)"
    )
    rows = [
        [shop, number, WINDOW.start, name, 0, offset, WINDOW.end + timedelta(seconds=offset)]
        for offset, (shop, number) in enumerate(ROWS)
    ]
    columns = ["Shop", "number", "sold_at", "_topic", "_partition", "_offset", "_timestamp"]
    client.insert(name, rows, column_names=columns)
    yield name
    client.command(f"DROP TABLE {name} SYNC")


@pytest.mark.parametrize(
    ("identity", "events"),
    [(("Shop", "number"), (3, 2, 2)), (("Shop",), (2, 1, 1)), ((), (6, 3, 3))],
)
def test_events_are_counted_by_what_the_stream_says_they_are_known_by(
    warehouse: WarehouseSettings, table: str, identity: tuple[str, ...], events: tuple[int, int, int]
) -> None:
    stream = Stream(table, identity=identity, time="sold_at")
    with Table(warehouse, stream, oldest=WINDOW.previous) as here:
        # The first three are the topic's own, and those before the third second are not fresh.
        fresh_from = WINDOW.end + timedelta(seconds=3)
        counts = here.minutes([WINDOW], fresh_from=fresh_from, owned={0: Span(0, 3)})[WINDOW]

    assert counts.rows == 6
    assert (counts.unique, counts.owned_events, counts.established) == events

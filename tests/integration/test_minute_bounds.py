"""Dead letters by the minute they arrived in, where a minute begins and ends.

Each letter lies in a part of its own: the engine leaves parts out by their first and last arrival, and compared with
whole seconds it left out those of the last second before the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import report_store_connection, warehouse_client
from etar.minute import MinuteWindow
from etar.pipeline.facts import read_facts
from etar.settings import ReportStoreSettings, WarehouseSettings
from etar.streams import Stream
from etar.verify.table import Table

DATABASE = f"minute_bounds_{uuid4().hex[:8]}"
WINDOW = MinuteWindow.containing(datetime.now(UTC) - timedelta(hours=2))
INSTANT = timedelta(milliseconds=1)
ARRIVALS = (
    WINDOW.start - INSTANT,
    WINDOW.start,
    WINDOW.start + INSTANT,
    WINDOW.end - timedelta(seconds=1),
    WINDOW.end - timedelta(seconds=1) + INSTANT,
    WINDOW.end - INSTANT,
    WINDOW.end,
)
INSIDE = 5


@pytest.fixture
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(warehouse_client(warehouse, database="default")) as client:
        client.command(f"CREATE DATABASE {DATABASE}")
        yield client
        client.command(f"DROP DATABASE {DATABASE} SYNC")


@pytest.fixture
def stream(client: Client) -> Stream:
    """Its dead letters are in a database of its own, whose parts are never merged."""
    stream = Stream("arrivals")
    client.command(f"CREATE TABLE {DATABASE}.{stream.table} AS etar.user_interactions")
    client.command(f"CREATE TABLE {DATABASE}.dead_letters AS etar.dead_letters")
    client.command(f"ALTER TABLE {DATABASE}.dead_letters MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
    for offset, arrival in enumerate(ARRIVALS):
        row = [stream.topic, 0, offset, arrival, "not_avro"]
        columns = ["_topic", "_partition", "_offset", "_timestamp", "reason"]
        client.insert("dead_letters", [row], column_names=columns, database=DATABASE)
    return stream


def test_the_account_counts_a_minute_to_its_last_instant(warehouse: WarehouseSettings, stream: Stream) -> None:
    here = warehouse.model_copy(update={"database": DATABASE})
    with Table(here, stream, oldest=WINDOW.previous) as table:
        assert table.dead_letters(WINDOW, WINDOW.next) == {WINDOW: INSIDE}
        assert table.dead_letters(WINDOW.previous, WINDOW) == {WINDOW.previous: 1}
        assert table.dead_letters(WINDOW.previous, WINDOW.next.next) == {
            WINDOW.previous: 1,
            WINDOW: INSIDE,
            WINDOW.next: 1,
        }


def test_reconciling_counts_a_minute_to_its_last_instant(
    warehouse: WarehouseSettings, report_store: ReportStoreSettings, stream: Stream
) -> None:
    here = warehouse.model_copy(update={"database": DATABASE})
    with closing(warehouse_client(here)) as client, closing(report_store_connection(report_store)) as connection:
        (facts,) = read_facts(WINDOW, WINDOW.next, stream=stream, connection=connection, warehouse=client)
    assert facts.dead_letters == INSIDE

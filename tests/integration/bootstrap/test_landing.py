"""Landing tables in a warehouse: made of a stream's table, kept up with it, and never in place of somebody's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from clickhouse_connect.driver.client import Client

from etar.bootstrap.landing import make_landing
from etar.clients import warehouse_client
from etar.settings import EventTimeSettings, WarehouseSettings
from etar.streams import Stream, default_stream

BELIEVED = EventTimeSettings()


@pytest.fixture
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(warehouse_client(warehouse)) as client:
        yield client


@pytest.fixture
def stream(client: Client) -> Iterator[Stream]:
    """With a table like the first stream's, and no folder that would bring a landing table."""
    stream = replace(default_stream(), name=f"landing_{uuid.uuid4().hex[:8]}", folder=None)
    client.command(f"CREATE TABLE {stream.table} AS user_interactions")
    yield stream
    for name in (stream.landing_view, stream.landing_table, stream.table):
        client.command(f"DROP TABLE IF EXISTS {name}")


def columns(client: Client, table: str) -> list[str]:
    return [row[0] for row in client.query(f"DESCRIBE TABLE {table}").result_rows]


def with_referrer(stream: Stream) -> Stream:
    schema = json.loads(stream.schema_text or "")
    schema["fields"].append({"name": "referrer", "type": ["null", "string"], "default": None})
    return replace(stream, schema_text=json.dumps(schema))


def test_it_is_made_once_and_anew_when_the_table_and_the_schema_have_another_column(
    warehouse: WarehouseSettings, client: Client, stream: Stream
) -> None:
    assert make_landing(stream, warehouse, BELIEVED)
    assert not make_landing(stream, warehouse, BELIEVED)
    before = columns(client, stream.landing_table)
    assert before == [name for name in columns(client, stream.table) if name != "event_minute"]

    client.command(f"ALTER TABLE {stream.table} ADD COLUMN referrer Nullable(String)")
    assert not make_landing(stream, warehouse, BELIEVED), "no record has it yet"
    assert make_landing(with_referrer(stream), warehouse, BELIEVED)

    assert set(columns(client, stream.landing_table)) == {*before, "referrer"}
    assert set(columns(client, stream.landing_view)) == {*before, "referrer"}
    assert not make_landing(with_referrer(stream), warehouse, BELIEVED)


def test_a_view_that_is_missing_as_its_making_was_cut_off_is_made(
    warehouse: WarehouseSettings, client: Client, stream: Stream
) -> None:
    make_landing(stream, warehouse, BELIEVED)
    client.command(f"DROP TABLE {stream.landing_view}")

    make_landing(stream, warehouse, BELIEVED)

    assert columns(client, stream.landing_view) == columns(client, stream.landing_table)


def test_what_somebody_made_stays(warehouse: WarehouseSettings, client: Client, stream: Stream) -> None:
    client.command(f"CREATE TABLE {stream.landing_table} (event_id String) ENGINE = Null")

    assert not make_landing(stream, warehouse, BELIEVED)

    assert columns(client, stream.landing_table) == ["event_id"]


def test_what_a_folder_brings_stays(warehouse: WarehouseSettings, client: Client) -> None:
    def made() -> list[str]:
        names = ("user_interactions_landing", "user_interactions_landed")
        return [str(client.command(f"SHOW CREATE TABLE {name}")) for name in names]

    before = made()

    assert not make_landing(default_stream(), warehouse, BELIEVED)

    assert made() == before

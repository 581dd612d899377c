"""A stream of the test's own on the session's real parts: topic, table, ledger, reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import object_store_client, report_store_connection, warehouse_client
from etar.kafka.offsets import TopicOffsets
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.tasks import again as steps
from etar.pipeline.tasks import announce
from etar.settings import KafkaSettings, ObjectStoreSettings, ReportStoreSettings, WarehouseSettings, get_settings
from etar.streams import Stream
from stack import airflow_connections
from tests.integration.airflow_connections import to_object_store, to_report_store, to_warehouse
from tests.integration.dashboard.serving import WRITE_TOKEN, RunningApi, serving
from tests.integration.reconcile.world import Stores, World
from tests.integration.topics import delete_topics, make_topic
from tests.stream_folders import FOLDERS, like_the_first


@pytest.fixture(scope="session")
def api(report_store: ReportStoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """The report API on the real report store."""
    log: Path = tmp_path_factory.mktemp("api") / "api.log"
    with serving(report_store, log) as running:
        yield running


@pytest.fixture
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(warehouse_client(warehouse)) as client:
        yield client


@pytest.fixture
def connection(report_store: ReportStoreSettings) -> Iterator[Any]:
    with closing(report_store_connection(report_store)) as connection:
        yield connection


@contextmanager
def new_stream(kafka: KafkaSettings, client: Client) -> Iterator[Stream]:
    """With an empty topic of two partitions and an empty table; what is in the stores shared with others is its own."""
    stream = like_the_first(f"reconcile_{uuid4().hex[:12]}")
    make_topic(kafka, stream.topic, 2)
    client.command(f"CREATE TABLE {stream.table} AS user_interactions")
    yield stream
    client.command(f"DROP TABLE IF EXISTS {stream.table} SYNC")
    delete_topics(kafka, [stream.topic])


@pytest.fixture
def stream(kafka: KafkaSettings, client: Client) -> Iterator[Stream]:
    with new_stream(kafka, client) as stream:
        yield stream


@pytest.fixture
def stores(kafka: KafkaSettings, object_store: ObjectStoreSettings) -> Stores:
    return Stores(kafka, object_store_client(object_store), object_store.bucket)


@pytest.fixture
def world(stream: Stream, client: Client, connection: Any, api: RunningApi, stores: Stores) -> Iterator[World]:
    with TopicOffsets.connect(stream.topic, settings=stores.kafka) as offsets:
        yield World(stream=stream, client=client, connection=connection, api=api, stores=stores, offsets=offsets)


@pytest.fixture
def switch_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``switch_on(*streams)``: these, and no others."""

    def switch(*streams: Stream) -> None:
        monkeypatch.setenv("ETAR_STREAMS", " ".join(stream.name for stream in streams))
        monkeypatch.setenv("ETAR_STREAMS_FOLDERS", FOLDERS)
        get_settings.cache_clear()

    yield switch
    get_settings.cache_clear()


@pytest.fixture
def first(
    world: World, monkeypatch: pytest.MonkeyPatch, airflow_home: Path, switch_on: Callable[..., None]
) -> MinuteWindow:
    """The first minute of a deployment four minutes old; the steps work on the test's stream."""
    first = MinuteWindow.containing(world.now - 4 * MINUTE)
    connections = {
        "etar_warehouse": to_warehouse(get_settings(WarehouseSettings)),
        "etar_s3": to_object_store(get_settings(ObjectStoreSettings)),
        "etar_ledger": to_report_store(get_settings(ReportStoreSettings)),
        "etar_api": airflow_connections.http(
            host="127.0.0.1", port=int(world.api.url.rsplit(":", 1)[1]), token=WRITE_TOKEN
        ),
    }
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", first.start.isoformat())
    monkeypatch.setattr(steps, "_now", lambda: world.now)
    monkeypatch.setattr(announce, "events", lambda *_: [])  # there is no Airflow to be asked
    switch_on(world.stream)
    return first

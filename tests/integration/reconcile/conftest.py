"""A stream of the test's own on the session's real parts: topic, table, ledger, reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import object_store_client, report_store_connection, warehouse_client
from etar.kafka.offsets import TopicOffsets
from etar.settings import KafkaSettings, ObjectStoreSettings, ReportStoreSettings, WarehouseSettings
from etar.streams import Stream
from tests.integration.dashboard.serving import RunningApi, serving
from tests.integration.reconcile.world import Stores, World
from tests.integration.topics import delete_topics, make_topic
from tests.stream_folders import like_the_first


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


@pytest.fixture
def stream(kafka: KafkaSettings, client: Client) -> Iterator[Stream]:
    """With an empty topic of two partitions and an empty table; what is in the stores shared with others is its own."""
    stream = like_the_first(f"reconcile_{uuid4().hex[:12]}")
    make_topic(kafka, stream.topic, 2)
    client.command(f"CREATE TABLE {stream.table} AS user_interactions")
    yield stream
    client.command(f"DROP TABLE {stream.table} SYNC")
    delete_topics(kafka, [stream.topic])


@pytest.fixture
def stores(kafka: KafkaSettings, object_store: ObjectStoreSettings) -> Stores:
    return Stores(kafka, object_store_client(object_store), object_store.bucket)


@pytest.fixture
def world(stream: Stream, client: Client, connection: Any, api: RunningApi, stores: Stores) -> Iterator[World]:
    with TopicOffsets.connect(stream.topic, settings=stores.kafka) as offsets:
        yield World(stream=stream, client=client, connection=connection, api=api, stores=stores, offsets=offsets)

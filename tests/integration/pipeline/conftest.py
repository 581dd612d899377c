"""Clients of the session's real parts, a minute of its own for each test, and Airflow's connections to the parts."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import object_store_client, warehouse_client
from etar.minute import MinuteWindow
from etar.pipeline.tasks import connections
from etar.settings import (
    ObjectStoreSettings,
    PipelineSettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import default_stream
from stack import airflow_connections
from stack.parts import Stack
from tests.integration.airflow_connections import to_object_store, to_report_store, to_warehouse
from tests.integration.pipeline.world import ROWS, TICK, LedgerReader, Minute, Record, store_client

_MINUTES = itertools.count()


@pytest.fixture
def window() -> MinuteWindow:
    """A minute of the last hours that no other test of the session uses, nor its neighbours."""
    return MinuteWindow.containing(datetime.now(UTC) - timedelta(hours=12) + 4 * next(_MINUTES) * timedelta(minutes=1))


@pytest.fixture(scope="session")
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    client = warehouse_client(warehouse)
    yield client
    client.close()


@pytest.fixture
def empty_minute(window: MinuteWindow, client: Client) -> MinuteWindow:
    """The window, without the rows that other tests of the session have left in it and beside it."""
    for minute in (window.previous, window, window.next):
        client.command(f"ALTER TABLE user_interactions DROP PARTITION '{minute.start:%Y-%m-%d %H:%M:%S}'")
    return window


@pytest.fixture
def s3(object_store: ObjectStoreSettings) -> Any:
    return object_store_client(object_store)


@pytest.fixture
def airflow_connection(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, object]], None]:
    """``airflow_connection("etar_s3", {...})`` defines a connection as the stack does: in the environment."""
    return lambda name, fields: monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


@pytest.fixture
def s3_connection(object_store: ObjectStoreSettings, airflow_connection: Callable[..., None]) -> None:
    airflow_connection("etar_s3", to_object_store(object_store))


@pytest.fixture
def warehouse_connection(warehouse: WarehouseSettings, airflow_connection: Callable[..., None]) -> None:
    airflow_connection("etar_warehouse", to_warehouse(warehouse))


@pytest.fixture
def ledger_connection(report_store: ReportStoreSettings, airflow_connection: Callable[..., None]) -> None:
    airflow_connection("etar_ledger", to_report_store(report_store))


@pytest.fixture
def ledger(report_store: ReportStoreSettings) -> LedgerReader:
    return LedgerReader(report_store)


@pytest.fixture
def api(report_api: Stack) -> Stack:
    return report_api


@pytest.fixture
def connect(api: Stack, airflow_connection: Callable[..., None]) -> Callable[..., None]:
    """``connect(port=…, password=…)`` defines ``etar_api``, by default as it should be."""

    def define(**changes: object) -> None:
        right = airflow_connections.http(
            host="127.0.0.1", port=api.settings.port("API"), token=api.settings["ETAR_API_WRITE_TOKEN"]
        )
        airflow_connection("etar_api", right | changes)

    return define


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineSettings]:
    """Pipeline settings with their defaults, deployed two days ago."""
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", (datetime.now(UTC) - timedelta(days=2)).isoformat())
    get_settings.cache_clear()
    yield get_settings(PipelineSettings)
    get_settings.cache_clear()


@pytest.fixture
def minute(
    empty_minute: MinuteWindow,
    client: Client,
    object_store: ObjectStoreSettings,
    ledger: LedgerReader,
    api: Stack,
) -> Minute:
    """A minute with duplicates, a late event and three bad records; beside them are others that are not its own."""
    # Letters of another test's minute would be at the same offsets, and so a reason for this one's rows to be gone.
    client.command(
        "DELETE FROM dead_letters WHERE _topic = {topic:String}", parameters={"topic": default_stream().topic}
    )
    made = Minute(empty_minute, client, object_store, ledger, api)
    window = made.window
    on_time = [Record(n, event=min(n, ROWS - 10), arrived=window.start + n * TICK) for n in range(ROWS - 1)]
    made.arrive([*on_time, Record(ROWS - 1, event=ROWS, arrived=window.end + timedelta(seconds=2))])
    arrivals = [window.start - TICK, window.start, window.start + TICK, window.end - TICK, window.end]
    letters = [[default_stream().topic, 0, 5000 + n, at, "not_avro", ""] for n, at in enumerate(arrivals)]
    columns = ["_topic", "_partition", "_offset", "_timestamp", "reason", "detail"]
    client.insert("dead_letters", letters, column_names=columns)
    return made


@pytest.fixture
def connected(connect: Callable[..., None], object_store: ObjectStoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    connect()
    monkeypatch.setattr(connections, "object_store", lambda: store_client(object_store, os.getpid()))

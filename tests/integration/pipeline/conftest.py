"""Clients of the session's real parts, a minute of its own for each test, and Airflow's connections to the parts."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import object_store_client, warehouse_client
from etar.minute import MinuteWindow
from etar.settings import ObjectStoreSettings, PipelineSettings, WarehouseSettings, get_settings

_MINUTES = itertools.count()


@pytest.fixture
def window() -> MinuteWindow:
    """A minute of the last hours that no other test of the session uses, nor its neighbours."""
    return MinuteWindow.containing(datetime.now(UTC) - timedelta(hours=12) + 4 * next(_MINUTES) * timedelta(minutes=1))


@pytest.fixture
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
def airflow_connection(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, dict[str, object]], None]:
    """``airflow_connection("etar_s3", {...})`` defines a connection as the stack does: in the environment."""
    monkeypatch.setenv("AIRFLOW_HOME", os.environ.get("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow"))))
    return lambda name, fields: monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


@pytest.fixture
def s3_connection(object_store: ObjectStoreSettings, airflow_connection: Callable[..., None]) -> None:
    airflow_connection(
        "etar_s3",
        {
            "conn_type": "aws",
            "login": object_store.access_key_id,
            "password": object_store.secret_access_key.get_secret_value(),
            "extra": {"endpoint_url": object_store.endpoint_url, "region_name": object_store.region},
        },
    )


@pytest.fixture
def warehouse_connection(warehouse: WarehouseSettings, airflow_connection: Callable[..., None]) -> None:
    airflow_connection(
        "etar_warehouse",
        {
            "conn_type": "clickhouse",
            "host": warehouse.host,
            "port": warehouse.port,
            "schema": warehouse.database,
            "login": warehouse.user,
            "password": warehouse.password.get_secret_value(),
        },
    )


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineSettings]:
    """Pipeline settings with their defaults, deployed two days ago."""
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", (datetime.now(UTC) - timedelta(days=2)).isoformat())
    get_settings.cache_clear()
    yield get_settings(PipelineSettings)
    get_settings.cache_clear()

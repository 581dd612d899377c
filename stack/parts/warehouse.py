"""The warehouse: chDB, the ClickHouse engine in a process, behind the HTTP front; and its tables."""

from __future__ import annotations

import sys

from etar.settings import RetentionSettings, WarehouseSettings
from etar.streams import catalogue
from stack.layout import REPOSITORY
from stack.parts.base import Part, Stack, Step, get


def _command(stack: Stack) -> list[str]:
    port = str(stack.settings.port("WAREHOUSE"))
    path = str(stack.layout.data("warehouse"))
    return [sys.executable, "-m", "stack.chdb_http", "--path", path, "--host", "127.0.0.1", "--port", port]


def _create_tables(stack: Stack) -> None:
    from etar.bootstrap.migrations import apply_clickhouse, read_migrations, stream_migrations
    from etar.bootstrap.places import require_retention

    settings = stack.settings.of(WarehouseSettings)
    apply_clickhouse(settings, read_migrations(REPOSITORY / "sql" / "clickhouse"))
    for stream in catalogue().on:
        apply_clickhouse(settings, stream_migrations(stream))
        require_retention(stream, settings, stack.settings.of(RetentionSettings))


def _answers_a_query(stack: Stack) -> bool:
    settings = stack.settings
    who = {
        "X-ClickHouse-User": settings["ETAR_WAREHOUSE_USER"],
        "X-ClickHouse-Key": settings["ETAR_WAREHOUSE_PASSWORD"],
    }
    # Not /ping, which the front answers without its engine.
    return get(f"http://127.0.0.1:{settings.port('WAREHOUSE')}/?query=SELECT+1", timeout=5, headers=who).is_success


WAREHOUSE = Part(
    name="warehouse",
    command=_command,
    environment=lambda stack: {
        "CHDB_HTTP_USER": stack.settings["ETAR_WAREHOUSE_USER"],
        "CHDB_HTTP_PASSWORD": stack.settings["ETAR_WAREHOUSE_PASSWORD"],
    },
    ready=_answers_a_query,
    address=lambda stack: f"http://127.0.0.1:{stack.settings.port('WAREHOUSE')}",
)
TABLES = Step(name="tables", needs=("warehouse",), action=_create_tables)

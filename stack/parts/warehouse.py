"""The warehouse: chDB, the ClickHouse engine in a process, behind the HTTP front; and its tables."""

from __future__ import annotations

import sys

from etar.settings import EventTimeSettings, RetentionSettings, WarehouseSettings
from etar.streams import Stream
from stack.layout import REPOSITORY
from stack.parts.base import Part, Stack, Step, get

READER = "etar-reader"
"""The user who may only read."""


def _command(stack: Stack) -> list[str]:
    port = str(stack.settings.port("WAREHOUSE"))
    path = str(stack.layout.data("warehouse"))
    return [sys.executable, "-m", "stack.chdb_http", "--path", path, "--host", "127.0.0.1", "--port", port]


def _create_shared_tables(stack: Stack) -> None:
    from etar.bootstrap.migrations import apply_clickhouse, read_migrations

    apply_clickhouse(stack.settings.of(WarehouseSettings), read_migrations(REPOSITORY / "sql" / "clickhouse"))


def _create_table(stack: Stack, stream: Stream) -> None:
    from etar.bootstrap.landing import make_landing
    from etar.bootstrap.migrations import apply_clickhouse, stream_migrations
    from etar.bootstrap.places import require_retention

    settings = stack.settings.of(WarehouseSettings)
    apply_clickhouse(settings, stream_migrations(stream))
    if stack.settings.shape("SINK") == "connect":
        make_landing(stream, settings, stack.settings.of(EventTimeSettings))
    require_retention(stream, settings, stack.settings.of(RetentionSettings))


def _answers_a_query(stack: Stack) -> bool:
    settings = stack.settings
    who = {
        "X-ClickHouse-User": settings["ETAR_WAREHOUSE_USER"],
        "X-ClickHouse-Key": settings["ETAR_WAREHOUSE_PASSWORD"],
    }
    # Not /ping, which the front answers without its engine.
    return get(f"http://127.0.0.1:{settings.port('WAREHOUSE')}/?query=SELECT+1", timeout=5, headers=who).is_success


def reader_settings(stack: Stack) -> dict[str, str]:
    """Where the warehouse is, for who may only read."""
    own = {
        "ETAR_WAREHOUSE_USER": READER,
        "ETAR_WAREHOUSE_PASSWORD": stack.settings["ETAR_STACK_READER_WAREHOUSE_PASSWORD"],
    }
    return stack.settings.starting_with("ETAR_WAREHOUSE_") | own


WAREHOUSE = Part(
    name="warehouse",
    command=_command,
    environment=lambda stack: {
        "CHDB_HTTP_USER": stack.settings["ETAR_WAREHOUSE_USER"],
        "CHDB_HTTP_PASSWORD": stack.settings["ETAR_WAREHOUSE_PASSWORD"],
        "CHDB_HTTP_READER": READER,
        "CHDB_HTTP_READER_PASSWORD": stack.settings["ETAR_STACK_READER_WAREHOUSE_PASSWORD"],
    },
    ready=_answers_a_query,
    address=lambda stack: f"http://127.0.0.1:{stack.settings.port('WAREHOUSE')}",
)
TABLES = Step(name="tables", needs=("warehouse",), action=_create_shared_tables)


def table_step(stream: Stream) -> Step:
    """Makes the stream's own table."""
    return Step(
        name=table_of(stream),
        needs=("warehouse", "tables"),
        action=lambda stack: _create_table(stack, stream),
        stream=stream.name,
    )


def table_of(stream: Stream) -> str:
    """Name of the step that makes the stream's table."""
    return f"table-{stream.name}"

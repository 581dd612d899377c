"""A table of its own and an intake into it, in this process, on the session's registry and warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from clickhouse_connect.driver.client import Client

from etar.event_times import EventTimeBounds
from etar.records.framing import SchemaId
from etar.records.intake import Intake
from etar.records.record import Record, Row
from etar.records.registry import RegisteredSchema, Registry
from etar.records.table import TableLayout
from etar.records.warehouse import Warehouse
from etar.settings import RegistrySettings, WarehouseSettings
from tests.integration.connect.conftest import client_of, now_ms
from tests.unit.records.events import SCHEMA, SCHEMA_TEXT, encode, event

BOUNDS = EventTimeBounds(behind_ms=86_400_000, ahead_ms=300_000)


class CountingWarehouse(Warehouse):
    """The real one; counts the inserts that are tried."""

    inserts = 0

    def insert_rows(self, layout: TableLayout, rows: Sequence[Row]) -> None:
        self.inserts += 1
        super().insert_rows(layout, rows)


class CountingRegistry(Registry):
    """The real one; remembers the ids that it was asked for."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__(client)
        self.asked: list[SchemaId] = []

    def schema(self, schema_id: SchemaId) -> RegisteredSchema | None:
        self.asked.append(schema_id)
        return super().schema(schema_id)


@dataclass
class Desk:
    """A table of its own with an intake into it. ``clock``: seconds, set by the test."""

    table: str
    client: Client
    warehouse: CountingWarehouse
    registry: CountingRegistry
    subject: str
    clock: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self.intake = self.another()

    def another(self) -> Intake:
        database = self.client.database
        assert database
        return Intake(
            database=database,
            table=self.table,
            bounds=BOUNDS,
            registry=self.registry,
            warehouse=self.warehouse,
            layout_seconds=30,
            now=lambda: self.clock[0],
        )

    def register(self, schema: str = SCHEMA_TEXT) -> int:
        answer = self.registry._client.post(f"subjects/{self.subject}/versions", json={"schema": schema})
        return int(answer.raise_for_status().json()["id"])

    def alter(self, change: str) -> None:
        self.client.command(f"ALTER TABLE {self.table} {change}")

    def records(
        self, schema_id: int, count: int, *, first: int = 0, schema: Mapping[str, Any] = SCHEMA, **changes: Any
    ) -> list[Record]:
        """Of partition 0; the offset is the event's number."""
        now = now_ms()
        return [
            self.record(
                number, encode(event(number, **{"event_time": now} | changes), schema=schema, schema_id=schema_id)
            )
            for number in range(first, first + count)
        ]

    def record(self, offset: int, value: bytes) -> Record:
        return Record(self.table, 0, offset, now_ms(), None, value)

    def column(self, select: str) -> list[Any]:
        """Of the table's rows, by offset."""
        rows = self.client.query(f"SELECT {select} FROM {self.table} FINAL ORDER BY _offset").result_rows
        return [row[0] for row in rows]

    def letters(self) -> dict[int, tuple[str, str]]:
        """``{offset: (reason, detail)}``."""
        query = "SELECT _offset, reason, detail FROM dead_letters FINAL WHERE _topic = {topic:String}"
        rows = self.client.query(query, parameters={"topic": self.table}).result_rows
        return {offset: (reason, detail) for offset, reason, detail in rows}


@contextmanager
def open_desk(registry: RegistrySettings, warehouse: WarehouseSettings) -> Iterator[Desk]:
    table = f"desk_{uuid4().hex[:12]}"
    with (
        closing(client_of(warehouse)) as client,
        closing(CountingRegistry.connect(registry)) as schemas,
        closing(CountingWarehouse(warehouse)) as rows,
    ):
        client.command(f"CREATE TABLE {table} AS user_interactions")
        yield Desk(table, client, rows, schemas, f"{table}-value")
        client.command(f"DROP TABLE {table}")

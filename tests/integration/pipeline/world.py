"""A minute on the real parts: its run as its tasks see it, its steps, and what readers see of it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid5

import pyarrow.parquet as pq
import requests
from clickhouse_connect.driver.client import Client

from etar.clients import object_store_client, report_store_connection
from etar.extracts import Extract
from etar.ledger import LedgerEntry, between, revisions
from etar.minute import MinuteWindow
from etar.pipeline.tasks import connections
from etar.pipeline.tasks.minute import MinuteSteps
from etar.settings import ObjectStoreSettings, ReportStoreSettings
from etar.streams import Stream, default_stream
from stack.parts import Stack
from tests.interactions import Outcomes, Report

STEPS = MinuteSteps(default_stream())
NAMESPACE = UUID("00000000-0000-4000-8000-000000000002")
TICK = timedelta(milliseconds=1)
ROWS = 2_000  # more than one block of an upload, so that it can be killed half-way
COLUMNS = (
    "event_id", "user_id", "session_id", "event_type", "status", "event_time", "device", "country",
    "_topic", "_partition", "_offset", "_timestamp",
)  # fmt: skip


def count(extract: bytes, *, window: MinuteWindow, source: str, stream: Stream | None = None) -> Report:
    """What Spark would make of an extract of which every event is a view that succeeded."""
    rows = pq.read_table(io.BytesIO(extract), columns=["event_id", "user_id"])
    events = len(rows["event_id"].unique())
    return Report(
        stream=(stream or default_stream()).name,
        minute=window.start,
        total_events=events,
        total_errors=0,
        event_types={"view": Outcomes(success=events)},
        unique_users=len(rows["user_id"].unique()),
        rows_read=rows.num_rows,
        source_object=source,
    )


@dataclass(frozen=True)
class Run:
    """A run of the DAG, as its tasks see it."""

    window: MinuteWindow
    run_id: str = "scheduled__of-a-test"
    dag_id: str = "etar_pipeline"

    @property
    def data_interval_start(self) -> datetime:
        return self.window.start

    @property
    def data_interval_end(self) -> datetime:
        return self.window.end


@dataclass(frozen=True)
class LedgerReader:
    """What a reader of the ledger sees."""

    settings: ReportStoreSettings

    def entry(self, window: MinuteWindow) -> LedgerEntry | None:
        with report_store_connection(self.settings) as connection:
            found = between(connection, default_stream(), window, window.next)
        return found[0] if found else None

    def history(self, window: MinuteWindow) -> list[LedgerEntry]:
        with report_store_connection(self.settings) as connection:
            return revisions(connection, default_stream(), window)


@dataclass(frozen=True)
class Record:
    """One record of the minute: the event at an offset of partition 0 or 1, and when the broker took it."""

    offset: int
    event: int
    arrived: datetime

    @property
    def partition(self) -> int:
        return self.offset % 2


@cache
def identities(event: int) -> tuple[UUID, UUID]:
    """Of the event and of its user."""
    return uuid5(NAMESPACE, f"event {event}"), uuid5(NAMESPACE, f"user {event}")


@cache
def store_client(settings: ObjectStoreSettings, _process: int) -> Any:
    """One client a process: Airflow's hook takes a second to make one, and a forked process may not share sockets."""
    return object_store_client(settings)


@dataclass
class Minute:
    """A minute on the real parts, its steps, and what readers see of it."""

    window: MinuteWindow
    client: Client
    objects: ObjectStoreSettings
    ledger: LedgerReader
    api: Stack
    records: tuple[Record, ...] = ()
    extracted: Extract = field(init=False)
    run: Run = field(init=False)

    def __post_init__(self) -> None:
        self.run = Run(self.window)

    @property
    def s3(self) -> Any:
        return store_client(self.objects, os.getpid())

    @property
    def bucket(self) -> str:
        return self.objects.bucket

    # -- what happens to it

    def arrive(self, records: Iterable[Record]) -> None:
        stream = default_stream()  # once: it looks at the streams' folders each time

        def row(record: Record) -> list[Any]:
            event, user = identities(record.event)
            return [
                event, user, user, "view", "success", self.window.start + TICK, "mobile", "DE",
                stream.topic, record.partition, record.offset, record.arrived,
            ]  # fmt: skip

        new = tuple(records)
        self.client.insert(stream.table, [row(record) for record in new], column_names=COLUMNS)
        self.records += new

    def lose_all(self, *, known_reason: bool) -> None:
        """The table loses the rows; for a known reason if they have become dead letters, as the auditor makes them."""
        stream = default_stream()
        if known_reason:
            letters = [
                [stream.topic, record.partition, record.offset, record.arrived, "truncated", ""]
                for record in self.records
            ]
            columns = ["_topic", "_partition", "_offset", "_timestamp", "reason", "detail"]
            self.client.insert("dead_letters", letters, column_names=columns)
        partition = f"{self.window.start:%Y-%m-%d %H:%M:%S}"
        self.client.command(f"ALTER TABLE {stream.table} DROP PARTITION '{partition}'")

    def settle(self) -> None:
        STEPS.settle(self.run)

    def extract(self) -> None:
        self.extracted = STEPS.extract(self.run, connections.object_store())

    def analyse(self) -> None:
        """As the task does, but for Spark: the result is written in one PUT, as the real program's is."""
        STEPS.begin_analysis(self.run, self.extracted.rows)
        store = connections.object_store()
        body = store.get_object(Bucket=self.bucket, Key=default_stream().extract_key(self.window))["Body"]
        report = count(body.read(), window=self.window, source=self.extracted.source or "")
        content = io.BytesIO(report.model_dump_json().encode())
        store.put_object(Bucket=self.bucket, Key=default_stream().result_key(self.window), Body=content)
        STEPS.end_analysis(self.run)

    def report(self) -> None:
        STEPS.report(self.run, self.extracted.rows, connections.object_store())

    def run_from(self, first: str) -> None:
        """The steps from ``first`` on, each as often as Airflow may run it."""
        names = ["settle", "extract", "analyse", "report"]
        for name in names[names.index(first) :]:
            if name != "analyse" or self.extracted.rows:
                getattr(self, name)()

    # -- what readers see

    def stored(self) -> bytes | None:
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=default_stream().extract_key(self.window))
        except self.s3.exceptions.NoSuchKey:
            return None
        return bytes(answer["Body"].read())

    def published(self) -> dict[str, Any] | None:
        answer = requests.get(
            f"{self.api.settings['ETAR_API_URL']}/report",
            params={"minute": str(self.window)},
            headers={"Authorization": f"Bearer {self.api.settings['ETAR_API_READ_TOKEN']}"},
            timeout=10,
        )
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return dict(answer.json())

    def entry(self) -> LedgerEntry | None:
        return self.ledger.entry(self.window)

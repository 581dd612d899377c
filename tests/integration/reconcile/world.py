"""What happens to a stream in these tests, and one run of reconciling it: the real steps on the real parts.

Only Spark is stood in for: its driver would take ten seconds a run. The stand-in counts the same Parquet object and
leaves the same result object; ``tests/integration/spark_apps`` and ``tests/e2e`` run the real one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pyarrow.parquet as pq
import requests
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition

from etar.extracts import Extract
from etar.kafka.offsets import TopicOffsets
from etar.ledger import Ledger, LedgerEntry, between
from etar.minute import MinuteWindow
from etar.pipeline.affected import Affected, affected, batch, span
from etar.pipeline.extract import extract_minute
from etar.pipeline.facts import read_facts
from etar.pipeline.lost_rows import lost_rows
from etar.pipeline.publish import publish, report_of
from etar.pipeline.tasks import again as steps
from etar.pipeline.tasks.again import Failures, extract_batch, leave_lost, report_batch
from etar.pipeline.tasks.announce import REPORTS
from etar.settings import KafkaSettings, PipelineSettings, ReconcileSettings
from etar.streams import Stream
from tests.integration.dashboard.serving import WRITE_TOKEN, RunningApi, bearer
from tests.interactions import Outcomes, Report

GRACE = timedelta(seconds=2)
RETENTION = timedelta(hours=26)
HORIZON = timedelta(hours=24)
_COLUMNS = (
    "event_id", "user_id", "session_id", "event_type", "status", "event_time", "device", "country",
    "_topic", "_partition", "_offset", "_timestamp",
)  # fmt: skip
_LETTER_COLUMNS = ("_topic", "_partition", "_offset", "_timestamp", "reason", "detail", "key", "value")


def report_all(
    extracted: Mapping[str, Any], run: Any, analysed: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """What the last two tasks of a run do; returns what Airflow is told of."""
    from airflow.sdk.execution_time.context import OutletEventAccessors

    outlets = OutletEventAccessors()
    if failed := steps.report(extracted, run, outlets, analysed):
        steps.conclude(failed)
    return [dict(event.extra) for event in outlets[REPORTS].asset_alias_events]


@dataclass(frozen=True)
class Stores:
    """Kafka, and a boto3 client of the object store with its bucket."""

    kafka: KafkaSettings
    s3: Any
    bucket: str


@dataclass(frozen=True)
class Http:
    """The shape of Airflow's HttpHook, on the test's API."""

    url: str
    token: str

    def run(self, endpoint: str, *, data: str, headers: dict[str, str], **_: Any) -> requests.Response:
        return requests.post(f"{self.url}{endpoint}", data=data, headers=headers | bearer(self.token), timeout=30)


@dataclass
class World:
    """One stream, from its records to its reports, at an instant that stands still: no minute ends during a test."""

    stream: Stream
    client: Client
    connection: Any
    api: RunningApi
    stores: Stores
    offsets: TopicOffsets
    policy: ReconcileSettings = field(default_factory=lambda: ReconcileSettings(allowance_seconds=0))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    write_token: str = WRITE_TOKEN
    _next_offset: count[int] = field(default_factory=count)
    _runs: count[int] = field(default_factory=lambda: count(1))

    def row(self, window: MinuteWindow, event: UUID | None = None) -> list[Any]:
        at = window.start + timedelta(seconds=30)
        place = [self.stream.topic, 0, next(self._next_offset), at]
        return [event or uuid4(), uuid4(), uuid4(), "view", "success", at, "mobile", "DE", *place]

    def arrive(self, rows: Sequence[Sequence[Any]]) -> None:
        self.client.insert(self.stream.table, rows, column_names=_COLUMNS)

    def letters(self, window: MinuteWindow, number: int) -> list[list[Any]]:
        at = window.start + timedelta(seconds=30)
        return [[self.stream.topic, 1, next(self._next_offset), at, "not_avro", "", None, "x"] for _ in range(number)]

    def arrive_bad(self, letters: Sequence[Sequence[Any]]) -> None:
        self.client.insert("dead_letters", letters, column_names=_LETTER_COLUMNS)

    def append(self, number: int) -> None:
        """Records in Kafka that no sink has seen."""
        producer = Producer({"bootstrap.servers": self.stores.kafka.bootstrap_servers, "log_level": 2})
        for _ in range(number):
            producer.produce(self.stream.topic, b"event", partition=0)
        assert producer.flush(30) == 0

    def commit(self, offset: int) -> None:
        """As the sink does, in partition 0."""
        group = Consumer({"bootstrap.servers": self.stores.kafka.bootstrap_servers, "group.id": self.stream.sink_group})
        group.commit(offsets=[TopicPartition(self.stream.topic, 0, offset)], asynchronous=False)
        group.close()

    def ledger(self, *, now: datetime | None = None) -> Ledger:
        """A new run's."""
        run_id = f"etar_reconcile/{next(self._runs)}"
        return Ledger(self.connection, stream=self.stream, run_id=run_id, now=lambda: now or datetime.now(UTC))

    def find(self, since: MinuteWindow, *, now: datetime | None = None) -> list[Affected]:
        """Minutes to be reported again by a deployment that began with ``since``."""
        now, pipeline = now or self.now, PipelineSettings(start_date=since.start)
        first, end = span(now, pipeline)
        facts = read_facts(first, end, stream=self.stream, connection=self.connection, warehouse=self.client)
        return affected(facts, now=now, pipeline=pipeline, policy=self.policy)

    def causes(self, since: MinuteWindow, *, now: datetime | None = None) -> dict[MinuteWindow, str]:
        return {each.window: str(each.cause) for each in self.find(since, now=now)}

    def lost_rows(self, window: MinuteWindow) -> dict[int, list[int]]:
        return lost_rows(
            window,
            stream=self.stream,
            connection=self.connection,
            warehouse=self.client,
            store=lambda: self.stores.s3,
            bucket=self.stores.bucket,
        )

    def extract(self, found: Sequence[Affected], ledger: Ledger) -> tuple[list[Extract], Failures]:
        return extract_batch(
            found,
            offsets=self.offsets,
            group=self.stream.sink_group,
            grace=GRACE,
            kept_from=lambda: datetime.now(UTC) - RETENTION,
            ledger=ledger,
            extract=self.extract_one,
        )

    def extract_one(self, window: MinuteWindow) -> Extract:
        return extract_minute(
            window,
            stream=self.stream,
            warehouse=self.client,
            store=self.stores.s3,
            bucket=self.stores.bucket,
            grace=GRACE,
            retention=RETENTION,
            now=lambda: datetime.now(UTC),
        )

    def analyse(self, extracts: Sequence[Extract]) -> None:
        for each in extracts:
            if each.object_key:
                body = self.stores.s3.get_object(Bucket=self.stores.bucket, Key=each.object_key)["Body"].read()
                events = pq.read_table(io.BytesIO(body))["event_id"].to_pylist()
                window = MinuteWindow.parse(each.minute)
                unique = len(set(events))
                report = Report(
                    stream=self.stream.name,
                    minute=window.start,
                    total_events=unique,
                    total_errors=0,
                    event_types={"view": Outcomes(success=unique)},
                    unique_users=unique,
                    rows_read=len(events),
                    source_object=each.source,
                )
                key = self.stream.result_key(window)
                self.stores.s3.put_object(Bucket=self.stores.bucket, Key=key, Body=report.model_dump_json().encode())

    def report(self, extracts: Sequence[Extract], ledger: Ledger) -> Failures:
        _, failures = report_batch(
            extracts,
            ledger=ledger,
            report_of=lambda window, rows: report_of(
                window, rows=rows, stream=self.stream, store=self.stores.s3, bucket=self.stores.bucket
            ),
            publish=lambda made: publish(made, http=Http(self.api.url, self.write_token)),
        )
        return failures

    def run(self, since: MinuteWindow) -> dict[str, str]:
        """One whole run; returns the minutes that failed."""
        ledger = self.ledger()
        found = {self.stream.name: self.find(since)}
        shares = batch(found, self.policy.batch_minutes, complete_before=self.now - HORIZON)
        chosen = leave_lost(
            shares.get(self.stream.name, []),
            stream=self.stream,
            ledger=ledger,
            connection=self.connection,
            lost=self.lost_rows,
            low=self.offsets.low,
        )
        extracts, failures = self.extract(chosen, ledger)
        self.analyse(extracts)
        return failures.reasons | self.report(extracts, ledger).reasons

    def entries(self, since: MinuteWindow) -> dict[MinuteWindow, LedgerEntry]:
        end = MinuteWindow.containing(datetime.now(UTC)).next
        return {entry.window: entry for entry in between(self.connection, self.stream, since, end)}

    def served(self, window: MinuteWindow) -> Mapping[str, Any]:
        """The minute's report as a reader of the API gets it."""
        answer = self.api.reader.get("/report", params={"stream": self.stream.name, "minute": str(window)})
        answer.raise_for_status()
        return dict(answer.json())

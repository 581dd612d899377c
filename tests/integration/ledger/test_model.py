"""Any order of arrivals, runs, crashes, retries and replays ends in the account of an oracle of a few lines.

Ledger and reports are real: PostgreSQL, and the report API in front of it. Table, dead letters and object store are
kept in memory, as the source of truth that is fed to the same code; Spark's part is a few lines of Python.

The orders are the same at every run; `pytest --hypothesis-profile=default` on this file tries others.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from uuid import uuid4

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from etar.clients import report_store_connection
from etar.errors import PermanentError
from etar.extracts import Extract
from etar.ledger import Ledger, LedgerEntry, Stage, State, between, revisions
from etar.minute import MinuteWindow
from etar.pipeline.affected import MinuteFacts, ReportCounts, affected
from etar.pipeline.extract import extract_minute
from etar.pipeline.publish import publish, report_of
from etar.report import PublishedReport
from etar.settings import PipelineSettings, ReconcileSettings, ReportStoreSettings
from etar.streams import Stream
from tests.integration.dashboard.serving import RunningApi, serving
from tests.interactions import Outcomes, Report
from tests.stream_folders import like_the_first

FIRST = MinuteWindow.containing(datetime.now(UTC) - timedelta(hours=3))
MINUTES = (FIRST, FIRST.next)
GRACE = timedelta(seconds=2)
BUCKET = "etar"
WRITES = 14  # of one run, with its reads; it can be stopped after each


@dataclass(frozen=True)
class Record:
    """A record in Kafka: an event of a minute, or, without an event, a bad one."""

    offset: int
    arrived: datetime
    minute: MinuteWindow | None = None
    event: int | None = None


@dataclass
class Kafka:
    """Every record there ever was. The sink has stored all of them, good ones in the table."""

    records: list[Record] = field(default_factory=list)

    def append(self, **record: Any) -> None:
        self.records.append(Record(offset=len(self.records), **record))

    def of_minute(self, window: MinuteWindow) -> list[Record]:
        return [record for record in self.records if record.minute == window]

    def bad(self, start: datetime, end: datetime) -> list[Record]:
        return [record for record in self.records if record.event is None and start <= record.arrived < end]


def oracle(kafka: Kafka, window: MinuteWindow) -> dict[str, Any]:
    """The account of a minute."""
    rows = kafka.of_minute(window)
    events = {record.event for record in rows}
    return {
        "state": State.REPORTED,
        "received": len(rows),
        "unique_events": len(events),
        "duplicates": len(rows) - len(events),
        "late_events": sum(record.arrived >= window.end + GRACE for record in rows),
        "dead_letters": len(kafka.bad(window.start, window.end)),
        "offsets": {0: {"first": rows[0].offset, "last": rows[-1].offset, "rows": len(rows)}} if rows else {},
    }


class Table:
    """Answers as the warehouse does."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        assert (fmt, "FINAL" in query, bool(settings)) == ("Parquet", True, True)
        rows = self._kafka.of_minute(MinuteWindow(parameters["minute"]))
        columns = {
            "event_id": pa.array([row.event for row in rows], pa.int64()),
            "_partition": pa.array([0 for _ in rows], pa.int32()),
            "_offset": pa.array([row.offset for row in rows], pa.int64()),
            "_timestamp": pa.array([row.arrived for row in rows], pa.timestamp("ms", "UTC")),
        }
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out)
        out.seek(0)
        return out

    def query(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(result_rows=[("event_id", "Int64", "")])

    def command(self, _: str, parameters: dict[str, Any]) -> int:
        return len(self._kafka.bad(parameters["start"], parameters["end"]))


class Objects(dict[str, bytes]):
    """The object store. What is put waits until it is :meth:`arrived`: another run may come in between."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, bytes | None] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: IO[bytes], ContentType: str) -> dict[str, str]:
        assert (Bucket, ContentType) == (BUCKET, "application/vnd.apache.parquet")
        content = Body.read()
        self._waiting[Key] = content
        return {"ETag": f'"{etag(content)}"'}

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        assert Bucket == BUCKET
        self._waiting[Key] = None

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == BUCKET
        return {"Body": io.BytesIO(self[Key])}

    def taken(self) -> dict[str, bytes | None]:
        waiting, self._waiting = self._waiting, {}
        return waiting

    def arrived(self, waiting: dict[str, bytes | None]) -> None:
        for key, content in waiting.items():
            self.pop(key, None)
            if content is not None:
                self[key] = content


def etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Poster:
    """Airflow's HttpHook, by its shape, over the real API."""

    def __init__(self, writer: httpx.Client) -> None:
        self._writer = writer

    def run(self, endpoint: str, *, data: str, headers: dict[str, str], extra_options: dict[str, Any]) -> Any:
        assert extra_options["check_response"] is False
        return self._writer.post(endpoint, content=data, headers=headers)


@dataclass
class World:
    """Everything outside of the runs."""

    connection: psycopg.Connection[Any]
    api: RunningApi
    stream: Stream = field(default_factory=lambda: like_the_first(f"model_{uuid4().hex[:12]}"))
    kafka: Kafka = field(default_factory=Kafka)
    objects: Objects = field(default_factory=Objects)
    now: datetime = FIRST.end + timedelta(hours=1)

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def entry(self, window: MinuteWindow) -> LedgerEntry | None:
        found = between(self.connection, self.stream, window, window.next)
        return found[0] if found else None

    def published(self, window: MinuteWindow, revision: int | None = None) -> PublishedReport | None:
        query = {"stream": self.stream.name, "minute": str(window)} | ({"revision": revision} if revision else {})
        answer = self.api.reader.get("/report", params=query)
        return None if answer.status_code == 404 else PublishedReport.model_validate_json(answer.content)


class Run:
    """One run of a minute's steps. It can be stopped between any two of its writes."""

    def __init__(self, world: World, window: MinuteWindow, run_id: str) -> None:
        self.window = window
        self.over = False
        self._world = world
        self._ledger = Ledger(world.connection, stream=world.stream, run_id=run_id, now=world.clock)
        self._stages = list(Stage)
        self._extract: Extract | None = None
        self._writes = self._begin()

    def go_on(self) -> None:
        """One write further."""
        try:
            next(self._writes)
        except StopIteration:
            self._stages.pop(0)
            self.over = not self._stages
            if not self.over:
                self._writes = self._begin()
                self.go_on()
        except PermanentError as error:
            self._ledger.failed(self.window, self._stages[0], str(error))
            self.over = True

    def finish(self) -> None:
        while not self.over:
            self.go_on()

    def try_again(self) -> None:
        """As Airflow does after a task was killed: from the start of that task, with the others' results."""
        self._writes = self._begin()

    def _begin(self) -> Iterator[None]:
        steps = {
            Stage.SETTLE: self._settle,
            Stage.EXTRACT: self._extract_rows,
            Stage.ANALYSE: self._analyse,
            Stage.REPORT: self._report,
        }
        return steps[self._stages[0]]()

    def _settle(self) -> Iterator[None]:
        self._ledger.began(self.window, Stage.SETTLE)
        yield
        self._ledger.settled(self.window, {0: len(self._world.kafka.records)})
        yield

    def _extract_rows(self) -> Iterator[None]:
        self._ledger.began(self.window, Stage.EXTRACT)
        yield
        extract = extract_minute(
            self.window,
            stream=self._world.stream,
            warehouse=Table(self._world.kafka),
            store=self._world.objects,
            bucket=BUCKET,
            grace=GRACE,
            retention=timedelta(hours=26),
            now=lambda: self._world.now,
        )
        sent = self._world.objects.taken()
        yield
        self._world.objects.arrived(sent)
        yield
        self._extract = extract
        self._ledger.extracted(self.window, extract)
        yield

    def _analyse(self) -> Iterator[None]:
        assert self._extract is not None
        if not self._extract.rows:
            return
        self._ledger.began(self.window, Stage.ANALYSE)
        yield
        # The object may be another run's by now.
        content = self._world.objects.get(self._world.stream.extract_key(self.window))
        if content is None:
            raise PermanentError("no object")
        events = pq.read_table(io.BytesIO(content))["event_id"].to_pylist()
        report = Report(
            stream=self._world.stream.name,
            minute=self.window.start,
            total_events=len(set(events)),
            total_errors=0,
            event_types={"view": Outcomes(success=len(set(events)))},
            unique_users=min(1, len(events)),
            rows_read=len(events),
            source_object=self._extract.source,
        )
        yield
        key = self._world.stream.result_key(self.window)
        self._world.objects.arrived({key: report.model_dump_json().encode()})
        yield
        self._ledger.analysed(self.window)
        yield

    def _report(self) -> Iterator[None]:
        assert self._extract is not None
        self._ledger.began(self.window, Stage.REPORT)
        yield
        world = self._world
        report = report_of(
            self.window, rows=self._extract.rows, stream=world.stream, store=world.objects, bucket=BUCKET
        )
        yield
        published = publish(report, http=Poster(world.api.writer))
        yield
        self._ledger.reported(self.window, published)
        yield


class AccountMachine(RuleBasedStateMachine):
    """Two minutes, and up to three runs at work on them at a time."""

    def __init__(self, connection: psycopg.Connection[Any], api: RunningApi) -> None:
        super().__init__()
        self.world = World(connection, api)
        self.runs: list[Run] = []
        self.begun = 0

    minutes = st.sampled_from(MINUTES)
    which = st.integers(0, 2)

    @rule(minute=minutes)
    def an_event_arrives(self, minute: MinuteWindow) -> None:
        self.world.kafka.append(arrived=minute.start, minute=minute, event=len(self.world.kafka.records))

    @rule(minute=minutes, after=st.sampled_from([timedelta(0), timedelta(milliseconds=-1), timedelta(hours=1)]))
    def an_event_arrives_late(self, minute: MinuteWindow, after: timedelta) -> None:
        arrived = minute.end + GRACE + after
        self.world.kafka.append(arrived=arrived, minute=minute, event=len(self.world.kafka.records))

    @precondition(lambda self: any(record.minute for record in self.world.kafka.records))
    @rule(which=st.integers(0))
    def an_event_arrives_again(self, which: int) -> None:
        good = [record for record in self.world.kafka.records if record.minute]
        known = good[which % len(good)]
        self.world.kafka.append(arrived=known.arrived, minute=known.minute, event=known.event)

    @rule(minute=minutes)
    def a_bad_record_arrives(self, minute: MinuteWindow) -> None:
        self.world.kafka.append(arrived=minute.start)

    @precondition(lambda self: any(record.event is None for record in self.world.kafka.records))
    @rule(minute=minutes, which=st.integers(0))
    def a_bad_record_is_fixed_and_replayed(self, minute: MinuteWindow, which: int) -> None:
        bad = [record for record in self.world.kafka.records if record.event is None]
        self.world.kafka.append(arrived=self.world.now, minute=minute, event=bad[which % len(bad)].offset)

    @precondition(lambda self: len(self.runs) < 3)
    @rule(minute=minutes)
    def a_run_begins(self, minute: MinuteWindow) -> None:
        self.begun += 1
        self.runs.append(Run(self.world, minute, f"etar_pipeline/{self.begun}"))

    @rule(minute=minutes, writes=st.integers(1, WRITES))
    def a_run_gets_so_far_and_dies(self, minute: MinuteWindow, writes: int) -> None:
        self.a_run_begins(minute)
        run = self.runs.pop()
        for _ in range(writes):
            if not run.over:
                run.go_on()

    @precondition(lambda self: self.runs)
    @rule(which=which, writes=st.integers(1, WRITES))
    def a_run_goes_on(self, which: int, writes: int) -> None:
        run = self._run(which)
        for _ in range(writes):
            if not run.over:
                run.go_on()
        self._drop_finished()

    @precondition(lambda self: self.runs)
    @rule(which=which)
    def a_run_goes_on_to_its_end(self, which: int) -> None:
        self._run(which).finish()
        self._drop_finished()

    @precondition(lambda self: self.runs)
    @rule(which=which)
    def a_task_is_killed_and_tried_again(self, which: int) -> None:
        self._run(which).try_again()

    @precondition(lambda self: self.runs)
    @rule(which=which)
    def a_run_is_killed_for_good(self, which: int) -> None:
        self.runs.remove(self._run(which))

    def teardown(self) -> None:
        """Runs that are still at work die. Reconciling is left to find what is off, and one round of it has to do."""
        for window in self._affected():
            Run(self.world, window, "etar_reconcile/1").finish()
        assert self._affected() == []
        for window in MINUTES:
            self._assert_exact(window)
            # That a dead run's old object has come over a newer one can be seen in the object store only; `etar verify`
            # looks there, and has the minute reported again. It is the same report.
            if not self._object_is_the_ledgers(window):
                Run(self.world, window, "etar_reconcile/2").finish()
                self._assert_exact(window)
                assert self._object_is_the_ledgers(window)

    def _run(self, which: int) -> Run:
        return self.runs[which % len(self.runs)]

    def _drop_finished(self) -> None:
        self.runs = [run for run in self.runs if not run.over]

    def _affected(self) -> list[MinuteWindow]:
        policy = ReconcileSettings()
        facts = [self._facts(window) for window in MINUTES]
        now = self.world.now + policy.stale + timedelta(seconds=1)
        pipeline = PipelineSettings(start_date=FIRST.start)
        return [each.window for each in affected(facts, now=now, pipeline=pipeline, policy=policy)]

    def _facts(self, window: MinuteWindow) -> MinuteFacts:
        report = self.world.published(window)
        return MinuteFacts(
            window=window,
            entry=self.world.entry(window),
            report=ReportCounts(report.revision, report.rows_read, report.total_events) if report else None,
            rows=len(self.world.kafka.of_minute(window)),
            dead_letters=len(self.world.kafka.bad(window.start, window.end)),
        )

    def _assert_exact(self, window: MinuteWindow) -> None:
        entry, published = self.world.entry(window), self.world.published(window)
        expected = oracle(self.world.kafka, window)
        assert entry is not None
        assert published is not None
        assert entry.model_dump(include=set(expected)) == expected
        assert (entry.revision, entry.received, entry.unique_events) == (
            published.revision,
            published.rows_read,
            published.total_events,
        )
        history = revisions(self.world.connection, self.world.stream, window)
        assert history[-1] == entry
        assert [each.revision for each in history] == list(range(1, published.revision + 1))
        for each in history:
            then = self.world.published(window, each.revision)
            assert then is not None
            assert (each.received, each.unique_events) == (then.rows_read, then.total_events)
            # One whose run died before it wrote to the ledger is known by its report alone.
            assert each.offsets is None or sum(span.rows for span in each.offsets.values()) == each.received

    def _object_is_the_ledgers(self, window: MinuteWindow) -> bool:
        entry = self.world.entry(window)
        content = self.world.objects.get(self.world.stream.extract_key(window))
        assert entry is not None
        return entry.object_etag == (None if content is None else etag(content))


@pytest.fixture(scope="module")
def api(report_store: ReportStoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    log: Path = tmp_path_factory.mktemp("api") / "api.log"
    with serving(report_store, log) as running:
        yield running


def test_any_order_of_events_ends_in_the_same_account(report_store: ReportStoreSettings, api: RunningApi) -> None:
    with report_store_connection(report_store) as connection:
        run_state_machine_as_test(
            lambda: AccountMachine(connection, api),  # type: ignore[arg-type]
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

"""What the report store says of the minutes, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from etar.alerts.of_store import numbers_of_store
from etar.clients import report_store_connection
from etar.job_progress import keep
from etar.ledger import State
from etar.minute import MinuteWindow
from etar.settings import PipelineSettings, ReconcileSettings, ReportStoreSettings
from etar.streams import Job, Stream
from tests.integration.dashboard.ledger_rows import keep_minutes
from tests.unit.dashboard.samples import an_entry

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
START = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
RIDES = Stream("rides", jobs=(Job("sums", "spark-streaming", "app.py"),))
SALES = Stream("sales")
PIPELINE = PipelineSettings(start_date=START)
POLICY = ReconcileSettings()


class Store:
    """A store to write to, and what it says of ``rides``."""

    def __init__(self, settings: ReportStoreSettings, connection: psycopg.Connection[Any]) -> None:
        self.settings = settings
        self.connection = connection

    def __getitem__(self, name: str) -> float | None:
        return self.numbers().get((name, "rides"))

    def numbers(self, *, now: datetime = NOW, pipeline: PipelineSettings = PIPELINE) -> Mapping[tuple[str, str], float]:
        found = numbers_of_store(self.connection, streams=[RIDES, SALES], now=now, pipeline=pipeline, policy=POLICY)
        return {(each.name, each.labels["stream"]): each.value for each in found}

    def minutes(self, *minutes: str, stream: str = "rides", **changed: Any) -> None:
        """Rows of the ledger, each with a report that says the same."""
        for minute in minutes:
            window = MinuteWindow.parse(f"2026-11-21T{minute}Z")
            entry = an_entry(window).model_copy(update={"stream": stream} | changed)
            keep_minutes(self.settings, entry)
            if entry.state is State.REPORTED:
                self.report(minute, entry.received or 0, entry.unique_events or 0, stream=stream)

    def report(self, minute: str, rows: int, events: int, *, revision: int = 1, stream: str = "rides") -> None:
        self.connection.execute(
            "INSERT INTO reports (stream, minute, revision, content) VALUES (%s, %s, %s, %s)",
            (stream, f"2026-11-21T{minute}Z", revision, Jsonb({"rows_read": rows, "total_events": events})),
        )

    def audited(
        self, at: datetime, *, letters: int = 0, lost: int = 0, offset: int = 0, log: str = "rides", partition: int = 0
    ) -> None:
        self.connection.execute(
            'INSERT INTO audited_offsets (stream, "partition", minute, first_offset, end_offset, "rows", dead_letters, '
            "no_record, lost) VALUES (%s, %s, %s, %s, %s, 10, %s, 0, %s)",
            (log, partition, MinuteWindow.containing(at).start, offset, offset + 10 + letters + lost, letters, lost),
        )

    def decided(self, offset: int, state: str) -> None:
        self.connection.execute(
            'INSERT INTO dead_letter_changes (topic, "partition", "offset", action, state, changed_by, command) '
            "VALUES (%s, 0, %s, 'discarded', %s, 'me', 'test')",
            (RIDES.topic, offset, state),
        )


@pytest.fixture
def store(empty_store: ReportStoreSettings) -> Iterator[Store]:
    with report_store_connection(empty_store) as connection:
        connection.autocommit = True
        yield Store(empty_store, connection)


def failed(error: str | None = "no") -> dict[str, Any]:
    return {"state": State.FAILED, "error": error, "revision": None}


def test_an_empty_store_has_what_is_overdue_and_missing_and_nothing_that_nobody_knows(store: Store) -> None:
    assert store.numbers() == {
        (name, stream): value
        for stream in ("rides", "sales")
        for name, value in {
            "etar_report_age_seconds": 3630,
            "etar_minutes_missing": 59,  # 11:58 ended 90 s ago; the run of 11:59 may still begin
            "etar_minutes_given_up": 0,
            "etar_difference_records": 0,
            "etar_dead_letters_open": 0,
        }.items()
    } | {("etar_job_up", "rides"): 0}


def test_before_the_first_minute_is_due_nothing_is_missing(store: Store) -> None:
    found = store.numbers(now=START - timedelta(minutes=5))
    assert (found["etar_minutes_missing", "rides"], found["etar_report_age_seconds", "rides"]) == (0, 0)


def test_the_age_is_of_the_newest_minutes_end_whenever_it_was_reported(store: Store) -> None:
    store.minutes("11:57", "11:50")
    store.report("11:50", 102, 100, revision=2)
    assert store["etar_report_age_seconds"] == 150
    assert store.numbers()["etar_report_age_seconds", "sales"] == 3630


def test_minutes_that_a_run_has_taken_are_not_missing_however_far_they_are(store: Store) -> None:
    store.minutes("11:00", "11:58")
    store.minutes("11:30", state=State.OPEN)
    store.minutes("11:31", **failed())
    # Not of these minutes: one that is not due yet, and one of before the deployment.
    store.minutes("11:59", "10:59")
    assert store["etar_minutes_missing"] == 59 - 4


def test_what_has_left_the_table_is_not_missing_any_more(store: Store) -> None:
    long_ago = PIPELINE.model_copy(update={"start_date": START - timedelta(days=30)})
    missing = store.numbers(pipeline=long_ago)["etar_minutes_missing", "rides"]
    assert missing == 26 * 60 - 5 - 2  # retention, margin, and what is not due


def test_minutes_that_were_given_up_are_counted_for_seven_days(store: Store) -> None:
    store.minutes("11:31", "11:32", **failed())
    store.minutes("11:33", stream="sales", **failed())
    assert store["etar_minutes_given_up"] == 2
    later = store.numbers(now=NOW + timedelta(days=7) - timedelta(minutes=28, seconds=30))
    assert later["etar_minutes_given_up", "rides"] == 1


def test_the_share_of_bad_records_is_of_the_last_minutes_that_are_reported(store: Store) -> None:
    assert store["etar_bad_record_ratio"] is None
    store.minutes("11:57", "11:58", received=99, unique_events=99, duplicates=0, dead_letters=1)
    store.minutes("11:59", state=State.OPEN, dead_letters=1000)
    store.minutes("11:40", dead_letters=1000)
    assert store["etar_bad_record_ratio"] == 0.01


def test_of_minutes_without_records_none_is_bad(store: Store) -> None:
    store.minutes("11:58", received=0, unique_events=0, duplicates=0, late_events=0, dead_letters=0)
    assert store["etar_bad_record_ratio"] == 0


def test_reports_that_are_not_what_the_ledger_has_are_a_difference(store: Store) -> None:
    store.minutes("11:56", "11:57")
    assert store["etar_difference_records"] == 0
    store.report("11:57", 105, 102, revision=2)
    assert store["etar_difference_records"] == 3
    # One that is being reported again is not: its row is not the report's yet.
    store.minutes("11:57", state=State.ANALYSED)
    assert store["etar_difference_records"] == 0


def test_a_report_that_is_gone_is_a_difference_of_all_its_rows(store: Store) -> None:
    store.minutes("11:57")
    store.connection.execute("DELETE FROM reports")
    assert store["etar_difference_records"] == 102


def test_lost_records_are_a_difference_until_a_person_has_taken_note(store: Store) -> None:
    store.audited(NOW - timedelta(days=20), lost=2)
    store.connection.execute(
        "INSERT INTO former_logs (log, stream, topic_id, begun_by) VALUES ('rides@1', 'rides', 'x', 'me')"
    )
    store.audited(NOW, lost=3, log="rides@1")
    store.audited(NOW, lost=50, log="sales")
    assert store["etar_difference_records"] == 5
    store.connection.execute("UPDATE audited_offsets SET lost_accepted_at = now() WHERE stream = 'rides'")
    assert store["etar_difference_records"] == 3


def test_letters_are_open_until_a_person_decides(store: Store) -> None:
    store.audited(NOW - timedelta(hours=25), letters=100, offset=0)
    store.audited(NOW - timedelta(hours=23), letters=5, offset=110)
    store.audited(NOW - timedelta(hours=1), letters=0, offset=125)
    store.audited(NOW, letters=7, offset=135)
    assert store["etar_dead_letters_open"] == 12
    store.decided(111, "discarded")
    store.decided(136, "replayed")
    store.decided(50, "discarded")  # of before
    assert store["etar_dead_letters_open"] == 10
    store.decided(111, "open")
    assert store["etar_dead_letters_open"] == 11


def test_the_audit_is_as_far_as_its_slowest_partition(store: Store) -> None:
    for minutes, partition in ((20, 0), (25, 0), (5, 1), (3, 4)):
        store.audited(NOW - timedelta(minutes=minutes), partition=partition)
    assert store["etar_audit_age_seconds"] == 19 * 60 + 30
    assert ("etar_audit_age_seconds", "sales") not in store.numbers()


def test_jobs_have_the_numbers_that_they_told(store: Store) -> None:
    keep(store.connection, "rides/sums", {"batch": 3, "behind": 17})
    assert (store["etar_job_up"], store["etar_job_lag_records"]) == (1, 17)
    keep(store.connection, "rides/sums", {"batch": "soon"})
    assert (store["etar_job_up"], store["etar_job_lag_records"]) == (0, None)


def test_no_question_reads_what_does_not_grow_old(store: Store) -> None:
    """Of a year of minutes and a month of audits, the numbers of one stream take no more pages than of a day."""
    store.connection.execute(
        'INSERT INTO audited_offsets (stream, "partition", minute, first_offset, end_offset, "rows", dead_letters, '
        "no_record) SELECT 'rides', p, %(now)s::timestamptz - make_interval(mins => m), 0, 1, 0, 1, 0 "
        "FROM generate_series(1, 30 * 1440) AS m, generate_series(0, 2) AS p",
        {"now": MinuteWindow.containing(NOW).start},
    )
    store.connection.execute(
        "INSERT INTO minutes (stream, minute, state, run_id, updated_at, received, unique_events, duplicates, "
        "dead_letters, late_events, revision) SELECT 'rides', %(now)s::timestamptz - make_interval(mins => m), "
        "'reported', 'r', now(), 0, 0, 0, 0, 0, 1 FROM generate_series(1, 60 * 1440) AS m",
        {"now": MinuteWindow.containing(NOW).start},
    )
    store.connection.execute("VACUUM ANALYZE minutes, audited_offsets")
    before = _rows_read(store)
    store.numbers()
    # A day and two hours of minutes, and a day of three partitions, each once or twice; of the years nothing.
    assert _rows_read(store) - before < 4 * (1560 + 3 * 1440)


def _rows_read(store: Store) -> int:
    store.connection.execute("SELECT pg_stat_force_next_flush()")
    (found,) = store.connection.execute(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables "
        "WHERE relname IN ('minutes', 'audited_offsets')"
    ).fetchone() or (0,)
    return int(found)

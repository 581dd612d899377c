"""Micro-batches on a PostgreSQL that is killed: without Spark, as the job hands them over."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from pyspark.sql import Row

from etar.bootstrap.migrations import apply_postgres, stream_postgres_migrations
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings, StreamSettings
from etar.streams import catalogue
from spark_apps.category_sales import CategorySales
from spark_apps.streaming import JobError, StoredBatches
from stack.parts import Stack
from stack.processes import exists
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part
from tests.integration.stream_jobs.conftest import database_of_its_own
from tests.stream_folders import FOLDERS

JOB = "transactions/category-sales"


@pytest.fixture
def sales_stack() -> Any:
    with new_stack({"ETAR_STREAMS": "transactions"}) as stack:
        yield stack


def changed(total: str, count: int, category: str = "Home") -> Row:
    window = Row(start=datetime(2026, 11, 21, 10, 31), end=datetime(2026, 11, 21, 10, 32))  # noqa: DTZ001  (as Spark's)
    return Row(window=window, category=category, total_sales=Decimal(total), transaction_count=count)


def kept(settings: ReportStoreSettings) -> list[Any]:
    with report_store_connection(settings) as connection:
        return connection.execute("SELECT *, xmin::text FROM category_sales ORDER BY category").fetchall()


def test_a_batch_waits_for_a_postgresql_that_was_killed_and_is_stored_once(
    sales_stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    settings = sales_stack.settings.of(ReportStoreSettings)
    stopping = Event()
    batches = StoredBatches(JOB, CategorySales(), settings, stopping)
    with running_part("postgres", sales_stack) as pid:
        assert batches.store("run", 0, [changed("10.00", 1), changed("20.00", 2, "Fashion")])
        before = kept(settings)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not exists(pid), timeout=30, what="PostgreSQL to end")

    with ThreadPoolExecutor(1) as pool:
        stored = pool.submit(batches.store, "run", 1, [changed("30.00", 3)])
        wait_until(lambda: "PostgreSQL is away" in caplog.text, timeout=30, what="the job to wait")
        with running_part("postgres", sales_stack):
            assert stored.result(60)
            after = kept(settings)
            assert after[0] == before[0]
            assert after[1][3:5] == (Decimal("30.00"), 3)

            assert not batches.store("run", 1, [changed("99.00", 9)])
            assert not batches.store("run", 0, [changed("99.00", 9)])
            assert kept(settings) == after

            # A checkpoint of another id numbers its batches from the beginning.
            assert batches.store("another run", 0, [changed("40.00", 4)])
            assert kept(settings)[1][3:5] == (Decimal("40.00"), 4)
            batches.close()


def test_a_job_that_is_told_to_end_waits_no_longer_and_a_missing_table_is_told(sales_stack: Stack) -> None:
    settings = sales_stack.settings.of(ReportStoreSettings)
    stopping = Event()
    batches = StoredBatches(JOB, CategorySales(), settings, stopping)
    stopping.set()
    with pytest.raises(InterruptedError):
        batches.store("run", 0, [changed("10.00", 1)])

    with running_part("postgres", sales_stack):
        with report_store_connection(settings) as connection:
            connection.execute("DROP TABLE category_sales")
        with pytest.raises(JobError, match="etar bootstrap report-store"):
            batches.store("run", 0, [changed("10.00", 1)])
        batches.close()


def test_what_was_reported_before_there_were_windows_is_final(
    parts_stack: Stack, report_store: ReportStoreSettings
) -> None:
    minute = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
    sales = catalogue(StreamSettings(streams_folders=FOLDERS)).named("transactions")

    def content(amount: str, count: int) -> Jsonb:
        return Jsonb({"sales_by_category": {"Home": amount}, "transactions_by_category": {"Home": count}})

    with database_of_its_own(parts_stack, report_store) as store:
        with report_store_connection(store) as connection:
            for stream, revision, reported in (
                ("transactions", 1, content("10.00", 1)),
                ("transactions", 2, content("30.50", 2)),
                ("another", 3, content("99.00", 9)),
            ):
                connection.execute(
                    "INSERT INTO reports (stream, minute, revision, content) VALUES (%s, %s, %s, %s)",
                    (stream, minute, revision, reported),
                )
        apply_postgres(store, stream_postgres_migrations(sales))
        with report_store_connection(store) as connection:
            windows = connection.execute(
                "SELECT window_start, category, total_sales, transaction_count, final, revision FROM category_sales"
            ).fetchall()
    assert windows == [(minute, "Home", Decimal("30.50"), 2, True, 2)]

"""A job of a stream on real parts: its own topic, table, database and checkpoint for each test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Producer

from etar.bootstrap.migrations import (
    apply_clickhouse,
    apply_postgres,
    read_migrations,
    stream_migrations,
    stream_postgres_migrations,
)
from etar.clients import object_store_client, report_store_connection
from etar.settings import KafkaSettings, ObjectStoreSettings, ReportStoreSettings, StreamSettings, WarehouseSettings
from etar.streams import Stream, catalogue
from stack.launch import environment_of
from stack.layout import REPOSITORY
from stack.parts import Part, Stack, jobs
from stack.parts.postgres import create_database
from stack.waiting import wait_until
from tests.integration.topics import delete_topics, make_topic
from tests.stopping import stop
from tests.stream_folders import FOLDERS, copy_of

SALES = "transactions"
PARTITIONS = 3

Row = tuple[Any, ...]


def sale(at: datetime, amount: str = "10.00", category: str = "Home", **changed: Any) -> dict[str, Any]:
    """An event of the stream; ``at`` to the millisecond, the amount as it stands in the JSON."""
    products = {"Home": "Lamp", "Fashion": "Jeans", "Grocery": "Fruit Basket"}
    return {
        "transaction_id": str(uuid4()),
        "user_id": "user_7",
        "product_category": category,
        "product_name": products[category],
        "amount": amount,
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "payment_method": "paypal",
    } | changed


def encoded(event: dict[str, Any]) -> bytes:
    """As JSON, with the amount in its own digits."""
    return json.dumps({**event, "amount": "AMOUNT"}).replace('"AMOUNT"', event["amount"]).encode()


@dataclass
class RunningJob:
    """The job as the stack starts it, on a stream, a database and checkpoints of the test's own."""

    stack: Stack
    stream: Stream
    part: Part
    kafka: KafkaSettings
    store: ReportStoreSettings
    objects: ObjectStoreSettings
    log: Path
    more: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    # -- what is done to it

    def start(self) -> None:
        store = {
            "ETAR_REPORT_STORE_DATABASE": self.store.database,
            "ETAR_REPORT_STORE_USER": self.store.user,
            "ETAR_REPORT_STORE_PASSWORD": self.store.password.get_secret_value(),
        }
        self.stack.layout.temporary(self.part.name).mkdir(parents=True, exist_ok=True)
        assert self.part.prepare
        self.part.prepare(self.stack)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.part.command(self.stack),
                env=environment_of(self.stack, self.part) | store | self.more,
                cwd=REPOSITORY,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """With SIGKILL, and its Spark as well."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def end(self) -> int:
        """As the supervisor does it; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def wait_for_its_end(self) -> int:
        assert self.process is not None
        return self.process.wait(180)

    # -- what it is given, and what it makes

    def send(self, *values: bytes | None, partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "log_level": 2})
        for value in values:
            producer.produce(self.stream.topic, value=value, partition=partition)
        assert producer.flush(30) == 0

    def rows(self, columns: str = "*") -> list[Row]:
        """All of the table, with what PostgreSQL keeps of each row's last change."""
        with report_store_connection(self.store) as connection:
            found = connection.execute(
                f"SELECT {columns}, xmin::text, ctid::text FROM category_sales ORDER BY window_start, category".encode()
            )
            return found.fetchall()

    def windows(self) -> dict[tuple[datetime, str], tuple[Decimal, int]]:
        """Sum and count by window and category."""
        with report_store_connection(self.store) as connection:
            found = connection.execute(
                "SELECT window_start, category, total_sales, transaction_count FROM category_sales"
            )
            return {(start, category): (sales, count) for start, category, sales, count in found}

    def wait_until_counted(self, count: int, *, timeout: float = 150) -> None:
        """So many transactions, in whatever windows."""

        def enough() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self._end_of_log()
            return sum(each for _, each in self.windows().values()) >= count

        try:
            wait_until(enough, timeout=timeout, what=f"{count} transactions to be counted")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.windows()}\n{self._end_of_log()}") from None

    def wait_until_said(self, text: str) -> None:
        wait_until(lambda: text in self.log.read_text(), timeout=150, what=f"{text!r} in {self.log}")

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def checkpoint_keys(self, part: str = "") -> list[str]:
        found = object_store_client(self.objects).list_objects_v2(
            Bucket=self.objects.bucket, Prefix=self.stream.checkpoints_key(self.stream.jobs[0]) + "/"
        )
        return sorted(each["Key"] for each in found.get("Contents", []) if part in each["Key"])

    def newest(self, log: str) -> int:
        """Number of the newest batch that ``offsets`` or ``commits`` of the checkpoint has; -1 without any."""
        names = [key.rpartition("/")[2] for key in self.checkpoint_keys(f"/{log}/")]
        return max((int(name) for name in names if name.isdigit()), default=-1)

    def wait_until_noted(self) -> None:
        """Spark's note of each batch that has begun."""
        wait_until(lambda: self.newest("commits") == self.newest("offsets") >= 0, timeout=60, what="the newest commit")

    def forget_newest_commit(self) -> int:
        """As if it had been killed between PostgreSQL's commit and Spark's note of it."""
        newest = self.newest("commits")
        (key,) = (each for each in self.checkpoint_keys("/commits/") if each.endswith(f"/commits/{newest}"))
        object_store_client(self.objects).delete_object(Bucket=self.objects.bucket, Key=key)
        return newest


@contextmanager
def database_of_its_own(stack: Stack, settings: ReportStoreSettings) -> Iterator[ReportStoreSettings]:
    """With the tables of reports."""
    name = f"test_{uuid4().hex[:16]}"
    create_database(stack, name, settings.password.get_secret_value())
    own = settings.model_copy(update={"database": name, "user": name})
    apply_postgres(own, read_migrations(REPOSITORY / "sql" / "postgres"))
    yield own
    with psycopg.connect(
        host=settings.host,
        port=settings.port,
        dbname="postgres",
        user="postgres",
        password=stack.settings["ETAR_STACK_POSTGRES_PASSWORD"],
        autocommit=True,
    ) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {name}".encode())


@contextmanager
def sales_stream(
    stack: Stack, kafka: KafkaSettings, warehouse: WarehouseSettings, report_store: ReportStoreSettings, partitions: int
) -> Iterator[tuple[Stream, ReportStoreSettings]]:
    """A stream like the sales, with its topic and tables, and a database of its own for what its job counts."""
    sales = catalogue(StreamSettings(streams_folders=FOLDERS)).named(SALES)
    stream = copy_of(SALES, f"sales_{uuid4().hex[:12]}")
    make_topic(kafka, stream.topic, partitions)
    try:
        apply_clickhouse(warehouse, stream_migrations(stream))
        with database_of_its_own(stack, report_store) as store:
            apply_postgres(store, stream_postgres_migrations(sales))
            yield stream, store
    finally:
        delete_topics(kafka, [stream.topic])


@pytest.fixture
def job(  # noqa: PLR0917
    parts_stack: Stack,
    kafka: KafkaSettings,
    warehouse: WarehouseSettings,
    object_store: ObjectStoreSettings,
    report_store: ReportStoreSettings,
    tmp_path: Path,
) -> Iterator[RunningJob]:
    """Not started yet."""
    with sales_stream(parts_stack, kafka, warehouse, report_store, PARTITIONS) as (stream, store):
        (part,) = jobs.parts(stream)
        made = RunningJob(parts_stack, stream, part, kafka, store, object_store, tmp_path / "job.log")
        try:
            yield made
        finally:
            if made.process and made.process.poll() is None:
                stop(made.process, part.name, seconds=60)


def counts(job: RunningJob, start: datetime) -> dict[str, Sequence[Any]]:
    """Of one window, by category."""
    return {category: values for (window, category), values in job.windows().items() if window == start}

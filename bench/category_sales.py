"""What a sale's way into its window costs: seconds from event to row, the job's memory and CPU, PostgreSQL's CPU.

    .venv/bin/python bench/category_sales.py --rate 1000 --seconds 120 --triggers 0.5 1 2

Parts of its own (Kafka, warehouse, S3, PostgreSQL), and the job as the stack starts it. Each sale carries its instant;
its row is there when the windows together count as many. PostgreSQL's CPU is measured without Spark:
the same micro-batches stored as the job stores them, by a statement for each row that the job has of one, and by a
statement for each sale.
"""

from __future__ import annotations

import random
import statistics
import sys
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import psutil
from confluent_kafka import Producer
from pyspark.sql import Row as SparkRow

from bench.measure import Bar, Row, in_turn, options_of_a_figure, tell
from etar.clients import report_store_connection
from etar.settings import KafkaSettings, ReportStoreSettings
from spark_apps.category_sales import CategorySales
from spark_apps.streaming import StoredBatches
from stack.parts import Stack, steps_of
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part

_PARTS = ("kafka", "registry", "warehouse", "s3", "postgres")
_STREAM = "transactions"
_JOB = "category-sales"
_CATEGORIES = {
    "Electronics": "Laptop",
    "Fashion": "Jeans",
    "Beauty": "Perfume",
    "Home": "Lamp",
    "Sports": "Yoga Mat",
    "Grocery": "Fruit Basket",
}
_SLICE_SECONDS = 0.01
_LOOK_SECONDS = 0.02
_WARM_SECONDS = 30.0
_FEW = 3
"""Micro-batches of which each sale is a statement, and a transaction of its own."""


class Load(NamedTuple):
    """The job under load, or without any: seconds from event to row, and what its processes took."""

    latencies: Sequence[float]
    cores: float
    pss_mb: float


@contextmanager
def running_stack(trigger: float) -> Iterator[Stack]:
    """A stack with the parts that the job needs, and the job."""
    with ExitStack() as closing:
        given = {"ETAR_STREAMS": _STREAM, "ETAR_JOBS_TRIGGER_SECONDS": str(trigger)}
        stack = closing.enter_context(new_stack(given))
        for name in _PARTS:
            closing.enter_context(running_part(name, stack))
        for step in steps_of(stack):
            if step.stream:
                step.action(stack)
        closing.enter_context(running_part(_JOB, stack))
        yield stack


class Traffic:
    """Sales that are sent at a rate, each at its own instant."""

    def __init__(self, kafka: KafkaSettings, rate: float) -> None:
        self.sent: list[float] = []
        """When each was, in order (seconds since 1970)."""
        self._rate = rate
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 5, "acks": "all"})
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._producer.flush(60)

    def _run(self) -> None:
        chance = random.Random(1)  # noqa: S311
        began = time.time()
        while not self._ending.wait(_SLICE_SECONDS):
            now = time.time()
            for _ in range(int((now - began) * self._rate) - len(self.sent)):
                category, product = chance.choice(list(_CATEGORIES.items()))
                self._producer.produce(_STREAM, _sale(now, category, product, chance), key=str(chance.randrange(9999)))
                self.sent.append(now)
            self._producer.poll(0)


def _sale(now: float, category: str, product: str, chance: random.Random) -> bytes:
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    cents = chance.randint(1000, 99_999)
    return (
        f'{{"transaction_id": "{uuid.uuid4()}", "user_id": "user_{chance.randrange(9999)}", "product_category": '
        f'"{category}", "product_name": "{product}", "amount": {cents // 100}.{cents % 100:02}, "timestamp": "{at}", '
        '"payment_method": "paypal"}'
    ).encode()


def processes_of(stack: Stack) -> list[psutil.Process]:
    """The job's, with its Spark and Pythons."""
    beat = str(stack.layout.run / f"{_JOB}.beat")
    (root,) = [each for each in psutil.process_iter(["cmdline"]) if beat in (each.info["cmdline"] or ())]
    return [root, *root.children(recursive=True)]


def taken(processes: Sequence[psutil.Process]) -> tuple[dict[int, float], float]:
    """CPU seconds so far of each, and megabytes of all now (PSS)."""
    times: dict[int, float] = {}
    sizes = 0.0
    for process in processes:
        try:
            spent = process.cpu_times()
            times[process.pid] = spent.user + spent.system
            sizes += process.memory_full_info().pss / 1e6
        except psutil.Error:  # it has ended meanwhile
            continue
    return times, sizes


def measured(stack: Stack, rate: float, seconds: float) -> Load:
    """The job for some seconds at a rate, once it is warm; at 0 nothing is sent. All is counted before and after."""
    with ExitStack() as closing:
        connection = closing.enter_context(report_store_connection(stack.settings.of(ReportStoreSettings)))
        connection.autocommit = True
        before = _counted(connection)
        looks: list[tuple[int, float]] = []

        def look() -> bool:
            looks.append((_counted(connection) - before, time.time()))
            return len(traffic.sent) <= looks[-1][0]

        with Traffic(stack.settings.of(KafkaSettings), rate) as traffic:
            _looking(look, _WARM_SECONDS, every=_LOOK_SECONDS)
            began = time.time()
            cpu, _ = taken(processes_of(stack))
            _looking(look, seconds, every=_LOOK_SECONDS if rate else seconds)
            cpu_after, pss = taken(processes_of(stack))
            wall = time.time() - began
        if rate:
            wait_until(look, timeout=300, what="the job to count all that was sent")
    counts = [count for count, _ in looks]
    first = bisect_left(traffic.sent, began)
    latencies = [
        looks[bisect_left(counts, number + 1)][1] - at for number, at in enumerate(traffic.sent) if number >= first
    ]
    # Of processes that there still are: a Python that had nothing to do may have ended.
    used = sum(seconds - cpu.get(pid, 0.0) for pid, seconds in cpu_after.items())
    return Load(latencies, used / wall, pss)


def _looking(look: Callable[[], object], seconds: float, *, every: float) -> None:
    end = time.time() + seconds
    while time.time() < end:
        look()
        time.sleep(every)


def _counted(connection: Any) -> int:
    return int(connection.execute("SELECT coalesce(sum(streamed_count), 0) FROM category_sales").fetchone()[0])


# -- PostgreSQL alone

_ONE_ROW = """\
INSERT INTO category_sales AS known (
    window_start, window_end, category, total_sales, transaction_count, streamed_sales, streamed_count
) VALUES (%s, %s, %s, %s, 1, %s, 1)
ON CONFLICT (window_start, category) DO UPDATE SET
    total_sales = known.total_sales + excluded.total_sales,
    transaction_count = known.transaction_count + 1,
    streamed_sales = known.streamed_sales + excluded.streamed_sales,
    streamed_count = known.streamed_count + 1,
    updated_at = now()"""


_ONE_RESULT = """\
INSERT INTO category_sales AS known (
    window_start, window_end, category, total_sales, transaction_count, streamed_sales, streamed_count, batch_id
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (window_start, category) DO UPDATE SET
    total_sales = excluded.total_sales,
    transaction_count = excluded.transaction_count,
    streamed_sales = excluded.streamed_sales,
    streamed_count = excluded.streamed_count,
    batch_id = excluded.batch_id,
    updated_at = now()"""


def postgres_cpu(postmaster: int) -> float:
    """Seconds of all of its processes, those that have ended too."""
    root = psutil.Process(postmaster)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        spent = process.cpu_times()
        total += spent.user + spent.system
    ended = root.cpu_times()
    return total + ended.children_user + ended.children_system


class Stored(NamedTuple):
    """A micro-batch as the job has it, and the sales that it is of."""

    rows: list[Any]
    sales: list[tuple[datetime, str, Decimal]]


def micro_batches(count: int, sales: int) -> list[Stored]:
    """So many, of so many sales each; a window is of some of them."""
    chance = random.Random(2)  # noqa: S311
    first = datetime.now(UTC).replace(second=0, microsecond=0)
    made: list[Stored] = []
    totals: dict[tuple[datetime, str], tuple[Decimal, int]] = {}
    for number in range(count):
        start = first + timedelta(minutes=number // 60)
        sold = []
        for _ in range(sales):
            category, amount = chance.choice(list(_CATEGORIES)), Decimal(chance.randint(1000, 99_999)) / 100
            total, known = totals.get((start, category), (Decimal(0), 0))
            totals[start, category] = total + amount, known + 1
            sold.append((start, category, amount))
        window = SparkRow(start=start.replace(tzinfo=None), end=(start + timedelta(minutes=1)).replace(tzinfo=None))
        rows = [
            SparkRow(
                window=window,
                category=each,
                total_sales=totals[start, each][0],
                transaction_count=totals[start, each][1],
            )
            for each in sorted({category for _, category, _ in sold})
        ]
        made.append(Stored(rows, sold))
    return made


def postgres_seconds(stack: Stack, postmaster: int, batches: Sequence[Stored], way: str) -> float:
    """CPU seconds of PostgreSQL for each million sales."""
    settings = stack.settings.of(ReportStoreSettings)
    with report_store_connection(settings) as connection:
        connection.execute("TRUNCATE category_sales, stream_batches")
        connection.commit()
        began = postgres_cpu(postmaster)
        if way == "ours":
            stored = StoredBatches("bench", CategorySales(), settings, threading.Event())
            for number, batch in enumerate(batches):
                stored.store("run", number, batch.rows)
            stored.close()
        else:
            connection.autocommit = True
            for number, batch in enumerate(batches):
                if way == "a statement a row":
                    for row in batch.rows:
                        start, end = (each.replace(tzinfo=UTC) for each in (row.window.start, row.window.end))
                        values = (row.total_sales, row.transaction_count)
                        connection.execute(_ONE_RESULT, (start, end, row.category, *values, *values, number))
                else:
                    for start, category, amount in batch.sales:
                        connection.execute(_ONE_ROW, (start, start + timedelta(minutes=1), category, amount, amount))
    return (postgres_cpu(postmaster) - began) / sum(len(batch.sales) for batch in batches) * 1e6


def rows_of_postgres(sales_a_batch: int, runs: int) -> list[Row]:
    ways = ("ours", "a statement a row", "a statement a sale")
    with new_stack({"ETAR_STREAMS": _STREAM}) as stack, running_part("postgres", stack) as postmaster:
        for step in steps_of(stack):
            if step.name == f"job-tables-{_STREAM}":
                step.action(stack)
        batches = micro_batches(120, sales_a_batch)
        variants = {
            way: partial(postgres_seconds, stack, postmaster, batches[:_FEW] if way == ways[-1] else batches, way)
            for way in ways
        }
        found = in_turn(variants, runs)
    title = f"PostgreSQL, {sales_a_batch} sales a micro-batch"
    return [
        Row.of(title, "CPU s/M sales", found["ours"], found[way], against=way, bar=Bar("ratio", at_most=0.2))
        for way in ways[1:]
    ]


def rows_of_job(trigger: float, rate: float, seconds: float) -> list[Row]:
    with running_stack(trigger) as stack:
        load = measured(stack, rate, seconds)
        idle = measured(stack, 0, 30)
    every = f"a micro-batch each {trigger:g} s"
    p50, p95 = (statistics.quantiles(load.latencies, n=20)[place] for place in (9, 18))
    return [
        Row(f"event to row, median, {rate:g}/s, {every}", "s", p50),
        Row(f"event to row, p95, {rate:g}/s, {every}", "s", p95, bar=Bar("ours", at_most=2.0)),
        Row(f"the job's CPU, {rate:g}/s, {every}", "cores", load.cores),
        Row(f"the job's memory (PSS), {rate:g}/s, {every}", "MB", load.pss_mb, bar=Bar("ours", at_most=900.0)),
        Row(f"the job's CPU idle, {every}", "cores", idle.cores, bar=Bar("ours", at_most=0.05)),
    ]


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--rate", type=float, default=1000, help="sales a second")
    parser.add_argument("--seconds", type=float, default=60, help="of each load")
    parser.add_argument("--triggers", type=float, nargs="*", default=[0.5, 1.0], help="seconds between micro-batches")
    parser.add_argument("--runs", type=int, default=3, help="of PostgreSQL alone")
    asked = parser.parse_args()
    rows = rows_of_postgres(int(asked.rate), asked.runs) if asked.runs else []
    for trigger in asked.triggers:
        rows += rows_of_job(trigger, asked.rate, asked.seconds)
    return tell(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())

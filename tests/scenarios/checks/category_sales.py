"""A stream's job: sales by category and minute, streamed."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

from confluent_kafka import Producer

from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import KafkaSettings, ReportStoreSettings, WarehouseSettings, get_settings
from stack.waiting import wait_until
from tests.integration.connect.conftest import PARTITIONS
from tests.integration.stream_jobs.conftest import encoded, sale, sales_stream
from tests.scenarios.model import Check
from tests.scenarios.streams import running_job, running_sink

_CATEGORIES = ("Home", "Fashion", "Grocery")
_BATCH = 30
_BATCHES_OF_A_RUN = 20
_PAUSE_SECONDS = 0.1

Sums = dict[tuple[datetime, str], tuple[Decimal, int]]
"""Sales and their number, by window and category."""


def batch_of(number: int, first: datetime) -> Iterator[tuple[datetime, str, str, bytes]]:
    """Sales of a batch, always the same: time, category, amount, and the event. All are of two windows: nothing of them
    is behind a watermark of a minute."""
    chance = Random(number)
    for _ in range(_BATCH):
        at = first + timedelta(milliseconds=chance.randrange(120_000))
        category, amount = chance.choice(_CATEGORIES), f"{chance.randrange(10, 1000)}.{chance.randrange(100):02}"
        identity = str(UUID(int=chance.getrandbits(128), version=4))
        yield at, category, amount, encoded(sale(at, amount, category, transaction_id=identity))


def sell(topic: str, first: datetime, account: Path) -> None:
    """Send some batches from the one on that ``account`` names, which is told of each that Kafka has acknowledged.

    One that it was not told of is sent again by the next run.
    """
    settings = get_settings(KafkaSettings)
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "acks": "all", "log_level": 2})
    failed: list[object] = []

    def delivered(error: object, _message: object) -> None:
        if error:
            failed.append(error)

    for _ in range(_BATCHES_OF_A_RUN):
        number = acknowledged(account)
        for place, (*_, event) in enumerate(batch_of(number, first)):
            producer.produce(topic, value=event, partition=place % PARTITIONS, on_delivery=delivered)
        if producer.flush(60) or failed:
            raise RuntimeError(f"batch {number} was not acknowledged: {failed}")
        draft = account.with_suffix(".draft")
        draft.write_text(json.dumps(number + 1))
        draft.replace(account)
        time.sleep(_PAUSE_SECONDS)  # the rate of the traffic


def acknowledged(account: Path) -> int:
    """How many batches are."""
    return int(json.loads(account.read_text())) if account.exists() else 0


class CategorySales(Check):
    """Each window's sums and counts are the producer's to the cent, in the job's table and in the warehouse."""

    def prepare_first(self) -> None:
        kafka, warehouse = get_settings(KafkaSettings), get_settings(WarehouseSettings)
        own = sales_stream(self.parts.stack, kafka, warehouse, get_settings(ReportStoreSettings), PARTITIONS)
        self.stream, self.store = self.closing.enter_context(own)
        self.lane, self.sink = self.closing.enter_context(running_sink(self.parts, self.stream))
        self.closing.enter_context(running_job(self.parts, self.stream, self.store))
        self.first = MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=5)).start
        self.account = self.lane.folder / "acknowledged.json"
        self.traffic = self.closing.enter_context(
            self.parts.repeated(sell, self.stream.topic, self.first, self.account)
        )
        wait_until(lambda: bool(self._streamed()), timeout=300, what="the job's first windows")

    def prepare_second(self) -> None:
        self.traffic.finish()

    def validate(self) -> None:
        expected = self._sold()
        counted = sum(count for _, count in expected.values())

        def all_is_counted() -> bool:
            return sum(count for _, count in self._streamed().values()) >= counted

        wait_until(all_is_counted, timeout=300, what=f"{counted} sales to be counted")
        assert self._streamed() == expected
        self.lane.settle(self.sink, timeout=300)
        assert self._stored() == expected

    def _sold(self) -> Sums:
        return summed(
            (at, category, Decimal(amount))
            for number in range(acknowledged(self.account))
            for at, category, amount, _ in batch_of(number, self.first)
        )

    def _streamed(self) -> Sums:
        with closing(report_store_connection(self.store)) as connection:
            found = connection.execute(
                "SELECT window_start, category, total_sales, transaction_count FROM category_sales"
            ).fetchall()
        return {(start, category): (sales, count) for start, category, sales, count in found}

    def _stored(self) -> Sums:
        """As a minute's report has it: each transaction once."""
        once = f"(SELECT DISTINCT ON (transaction_id) * FROM {self.stream.table} FINAL)"
        rows = self.lane.rows("toUnixTimestamp(timestamp), product_category, amount", source=once)
        return summed((datetime.fromtimestamp(at, UTC), category, amount) for at, category, amount in rows)


def summed(sales: Iterable[tuple[datetime, str, Decimal]]) -> Sums:
    by_window: dict[tuple[datetime, str], list[Decimal]] = defaultdict(list)
    for at, category, amount in sales:
        by_window[MinuteWindow.containing(at).start, category].append(amount)
    return {key: (sum(amounts, Decimal()), len(amounts)) for key, amounts in by_window.items()}

"""The same event twice counts once, wherever the second one comes from; without deduplication the tests would see it.

What is counted is what a report counts: ``received`` rows of the table as the extract reads it (FINAL), and how many
event ids are among them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from etar.settings import WarehouseSettings
from producer.options import Mix, ProduceOptions
from producer.run import produce
from stack.waiting import wait_until
from tests.integration.connect.conftest import Lane, SinkProcess, client_of

KILLED_BEFORE_ITS_COMMIT = """\
import os, signal, sys
from connect.native_sink import __main__, source
source.Source.commit = lambda self: self._next and os.kill(os.getpid(), signal.SIGKILL)
sys.exit(__main__.main())
"""


def counted(lane: Lane) -> tuple[int, int]:
    """``(received, unique events)``"""
    ((received, unique),) = lane.rows("count(), uniqExact(event_id)")
    return received, unique


def sink_all(lane: Lane) -> None:
    sink = lane.sink()
    sink.start()
    lane.settle(sink)


def killed_after_the_insert(lane: Lane) -> SinkProcess:
    """A sink that ends as by ``kill -9`` once its first batch is stored and not yet committed."""
    sink = lane.sink()
    sink.command = [sys.executable, "-c", KILLED_BEFORE_ITS_COMMIT, *sink.command[3:]]
    return sink


@pytest.fixture
def without_deduplication(warehouse: WarehouseSettings) -> Iterator[str]:
    """The control: a table like the real one that keeps whatever is inserted."""
    client = client_of(warehouse)
    client.command(
        "CREATE TABLE keeps_duplicates AS user_interactions ENGINE = MergeTree "
        "PARTITION BY event_minute ORDER BY (_topic, _partition, _offset)"
    )
    yield "keeps_duplicates"
    client.command("DROP TABLE keeps_duplicates")
    client.close()


def test_a_producer_that_is_restarted_with_the_same_seed_and_start(lane: Lane) -> None:
    start = datetime.now(UTC) - timedelta(minutes=2)
    options = ProduceOptions(topic=lane.topic, rate=1000, duration=timedelta(seconds=1), start=start, seed=21)
    assert [produce(options).acknowledged for _ in range(2)] == [1000, 1000]
    sink_all(lane)

    received, unique = counted(lane)

    assert unique == 1000
    assert received == 2000, "counting rows and not event ids would have doubled every event"
    lane.assert_every_offset_is_in_one_place()


def test_a_client_that_repeats_what_it_believes_lost(lane: Lane) -> None:
    account = produce(
        ProduceOptions(
            topic=lane.topic,
            rate=2000,
            duration=timedelta(seconds=1),
            start=datetime.now(UTC) - timedelta(minutes=2),
            seed=22,
            mix=Mix(duplicates=0.2),
        )
    )
    sink_all(lane)

    received, unique = counted(lane)

    assert account.duplicates > 300
    assert received == account.acknowledged == 2000, "counting rows and not event ids would have counted repeats"
    assert received - unique == account.duplicates
    lane.assert_every_offset_is_in_one_place()


def test_a_sink_that_is_killed_between_its_insert_and_its_commit(lane: Lane) -> None:
    lane.produce(lane.good(3_000))
    deliver_twice(lane)

    assert counted(lane) == (3_000, 3_000)
    lane.assert_every_offset_is_in_one_place()


def test_without_deduplication_the_redelivery_shows(new_lane: Callable[..., Lane], without_deduplication: str) -> None:
    lane = new_lane(table=without_deduplication)
    lane.produce(lane.good(3_000))
    stored = deliver_twice(lane)

    ((rows, records),) = lane.rows("count(), uniqExact(_partition, _offset)", source=lane.table)
    assert records == 3_000
    assert rows == 3_000 + stored
    assert stored > 0


def deliver_twice(lane: Lane) -> int:
    """Let a sink store a batch and die, and another do all; how many rows the first had stored."""
    first = killed_after_the_insert(lane)
    first.start()
    wait_until(lambda: not first.running, timeout=60, what="the first sink to be killed")
    assert first.process is not None
    assert first.process.returncode == -9, first.log.read_text()
    ((stored,),) = lane.rows("count()", source=lane.table)
    sink_all(lane)
    return int(stored)

"""Counting, and that the counts outlive the process that made them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError

from producer.account import NO_PARTITION, Counts, Outcome
from producer.kinds import Kind
from producer.tally import Tally, shared_memory
from tests.unit.producer.drafts import MINUTE

TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


def test_a_new_one_has_counted_nothing() -> None:
    assert Tally().counts() == Counts()


def test_how_much_of_the_input_is_read_is_no_count() -> None:
    tally = Tally()
    tally.read(4096)
    tally.read(8192)
    assert (tally.bytes_read, tally.counts()) == (8192, Counts())


def test_every_outcome_is_counted_by_kind_and_by_partition() -> None:
    tally = Tally()
    for kind in (Kind.EVENT, Kind.DUPLICATE, Kind.TRUNCATED, Kind.TRUNCATED, Kind.TRUNCATED, Kind.LATE):
        tally.made(kind)
    tally.acknowledged(Kind.EVENT, 0)
    tally.acknowledged(Kind.DUPLICATE, 0)
    tally.acknowledged(Kind.TRUNCATED, 4)
    tally.failed(Kind.TRUNCATED, 4, TIMED_OUT)
    tally.failed(Kind.TRUNCATED, NO_PARTITION, KafkaError(KafkaError._PURGE_QUEUE))
    tally.rejected()

    counts = tally.counts()

    assert counts.generated == {Kind.EVENT: 1, Kind.LATE: 1, Kind.DUPLICATE: 1, Kind.TRUNCATED: 3}
    assert counts.kinds == {
        Kind.EVENT: Outcome(acknowledged=1),
        Kind.DUPLICATE: Outcome(acknowledged=1),
        Kind.TRUNCATED: Outcome(acknowledged=1, failed=2),
    }
    assert counts.partitions == {
        0: Outcome(acknowledged=2),
        4: Outcome(acknowledged=1, failed=1),
        NO_PARTITION: Outcome(failed=1),
    }
    assert counts.failures == {"_MSG_TIMED_OUT": 1, "_PURGE_QUEUE": 1}
    assert (counts.rejected, counts.under_way) == (1, 1)


def test_what_kafkas_client_did_not_take_was_never_made() -> None:
    tally = Tally()
    tally.made(Kind.EVENT)
    tally.withdrawn(Kind.EVENT)
    assert tally.counts() == Counts()


@pytest.mark.parametrize(
    "spans", [[(0, 0)], [(5, 5), (-7, -7), (0, 0)], [(MINUTE, MINUTE + 2), (MINUTE - 1, MINUTE), (MINUTE, MINUTE + 3)]]
)
def test_it_knows_the_earliest_and_the_latest_acknowledged_event(spans: list[tuple[int, int]]) -> None:
    tally = Tally()
    for first, last in spans:
        tally.seen(first, last)
    counts = tally.counts()
    assert counts.first_event_time == min(first for first, _ in spans)
    assert counts.last_event_time == max(last for _, last in spans)


def test_a_parent_sees_what_a_child_counted_before_it_was_killed() -> None:
    memory = shared_memory()
    seen = Tally(memory)
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, signal\n"
            "from producer.tally import Tally\n"
            "from producer.kinds import Kind\n"
            f"tally = Tally({memory})\n"
            "for number in range(1000):\n"
            "    tally.made(Kind.EVENT)\n"
            "    if number % 3:\n"
            "        tally.acknowledged(Kind.EVENT, number % 6)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n",
        ],
        pass_fds=(memory,),
    )
    os.close(memory)
    assert child.wait(60) == -signal.SIGKILL
    counts = seen.counts()
    assert counts.generated == {Kind.EVENT: 1000}
    assert sum(outcome.acknowledged for outcome in counts.partitions.values()) == 666
    assert counts.partitions.keys() == {1, 2, 4, 5}
    assert counts.under_way == 334

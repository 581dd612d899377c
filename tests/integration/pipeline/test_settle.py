"""Settling against a real topic and the commits of a real consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from etar.kafka.offsets import TopicOffsets
from etar.kafka.standstill import standstills
from etar.minute import MinuteWindow
from etar.pipeline.settle import NotSettledError, wait_until_settled
from etar.settings import KafkaSettings
from etar.streams import Stream
from stack.waiting import wait_until
from tests.integration.topics import give_partitions, make_topic


class Topic:
    """A topic of two partitions, what is appended to it, and what a group has committed of it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.name = f"settle-{uuid4().hex}"
        self.stream = Stream(self.name)
        self.settings = settings
        self._producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "log_level": 2})
        make_topic(settings, self.name, 2)

    def append(self, partition: int, count: int) -> None:
        for _ in range(count):
            self._producer.produce(self.name, b"event", partition=partition)
        assert self._producer.flush(30) == 0

    def commit(self, offsets: Mapping[int, int]) -> None:
        group = Consumer({"bootstrap.servers": self.settings.bootstrap_servers, "group.id": self.group})
        positions = [TopicPartition(self.name, partition, offset) for partition, offset in offsets.items()]
        group.commit(offsets=positions, asynchronous=False)
        group.close()

    @contextmanager
    def open_transaction(self, partition: int) -> Iterator[None]:
        """With one record in it, the first of the partition."""
        producer = Producer({"bootstrap.servers": self.settings.bootstrap_servers, "transactional.id": self.name})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(self.name, b"event", partition=partition)
        producer.flush(30)
        try:
            yield
        finally:
            producer.abort_transaction(30)

    @contextmanager
    def paused_reader(self) -> Iterator[str]:
        """A member of the group that reads nothing of what it is given; yields its client's name."""
        name = f"reader-of-{self.name}"
        settings = {"bootstrap.servers": self.settings.bootstrap_servers, "group.id": self.group, "client.id": name}
        with closing(Consumer(settings)) as consumer:
            consumer.subscribe([self.name])
            wait_until(lambda: consumer.poll(0.2) is None and bool(consumer.assignment()), timeout=30, what=name)
            yield name

    @property
    def group(self) -> str:
        return self.stream.sink_group

    def settle(self, *, grace_ends: datetime, timeout: float) -> dict[int, int]:
        """Settle the last whole minute, with the grace that ends at the given instant."""
        window = MinuteWindow.containing(grace_ends).previous
        with TopicOffsets.connect(self.name, settings=self.settings) as offsets:
            return wait_until_settled(
                window,
                offsets=offsets,
                stream=self.stream,
                grace=grace_ends - window.end,
                timeout=timedelta(seconds=timeout),
                now=lambda: datetime.now(UTC),
                sleep=time.sleep,
                why_behind=partial(standstills, offsets, self.group),
            )


@pytest.fixture
def topic(kafka: KafkaSettings) -> Topic:
    return Topic(kafka)


def instant_after_everything_appended() -> datetime:
    """An instant that the broker's millisecond clock has left behind what was appended before the call."""
    instant = datetime.now(UTC) + timedelta(milliseconds=2)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def test_it_returns_what_was_held_once_that_is_committed(topic: Topic) -> None:
    topic.append(0, 5)
    topic.append(1, 3)
    topic.commit({0: 5, 1: 3})
    assert topic.settle(grace_ends=instant_after_everything_appended(), timeout=20) == {0: 5, 1: 3}


def test_what_arrives_after_the_grace_is_not_waited_for(topic: Topic) -> None:
    topic.append(0, 5)
    grace_ends = instant_after_everything_appended()
    while datetime.now(UTC) <= grace_ends:
        time.sleep(0.001)
    topic.append(0, 100)
    topic.append(1, 1)
    topic.commit({0: 5, 1: 0})
    assert topic.settle(grace_ends=grace_ends, timeout=20) == {0: 5, 1: 0}


def test_a_partition_that_the_topic_has_got_since_is_waited_for_too(topic: Topic) -> None:
    assert topic.settle(grace_ends=instant_after_everything_appended(), timeout=20) == {0: 0, 1: 0}
    give_partitions(topic.settings, topic.name, 3)
    topic.append(2, 4)
    grace_ends = instant_after_everything_appended()
    with pytest.raises(NotSettledError, match="partition 2"):
        topic.settle(grace_ends=grace_ends, timeout=2)

    topic.commit({2: 4})

    assert topic.settle(grace_ends=grace_ends, timeout=20) == {0: 0, 1: 0, 2: 4}


def test_it_waits_for_a_commit_that_comes_later(topic: Topic) -> None:
    topic.append(0, 5)
    topic.append(1, 3)
    topic.commit({0: 5, 1: 2})
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(topic.settle, grace_ends=instant_after_everything_appended(), timeout=30)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2)
        topic.commit({1: 3})
        assert waiting.result(timeout=20) == {0: 5, 1: 3}


def test_a_sink_that_never_committed_is_behind_by_everything(topic: Topic) -> None:
    topic.append(1, 3)
    with pytest.raises(NotSettledError, match=r"3 records behind .* partition 1 at 0 of 3.*nobody reads it") as behind:
        topic.settle(grace_ends=instant_after_everything_appended(), timeout=2)
    assert topic.group in str(behind.value)


def test_an_empty_topic_is_settled_at_once(topic: Topic) -> None:
    assert topic.settle(grace_ends=instant_after_everything_appended(), timeout=20) == {0: 0, 1: 0}


def test_an_open_transaction_is_named_with_its_partition_and_since_when(topic: Topic) -> None:
    topic.append(0, 2)
    topic.commit({0: 2, 1: 0})
    with topic.open_transaction(1):
        topic.append(1, 3)
        before = datetime.now(UTC)
        with pytest.raises(NotSettledError, match="a transaction has been open since offset 0") as behind:
            topic.settle(grace_ends=instant_after_everything_appended(), timeout=0.1)
        assert "partition 1 at 0 of 4" in str(behind.value)
        assert "partition 0" not in str(behind.value)
        with TopicOffsets.connect(topic.name, settings=topic.settings) as offsets:
            (standing,) = standstills(offsets, topic.group, offsets.end())
        assert standing.since is not None
        assert before - timedelta(seconds=30) < standing.since < before


def test_a_reader_that_commits_nothing_is_named(topic: Topic) -> None:
    topic.append(1, 3)
    with topic.paused_reader() as client, pytest.raises(NotSettledError, match=f"{client} .* has not committed it"):
        topic.settle(grace_ends=instant_after_everything_appended(), timeout=0.1)


def test_commits_past_the_end_are_named_though_nothing_waits(topic: Topic) -> None:
    topic.append(0, 2)
    topic.commit({0: 5, 1: 0})
    with TopicOffsets.connect(topic.name, settings=topic.settings) as offsets:
        (standing,) = standstills(offsets, topic.group, offsets.end())
    assert (standing.partition, standing.committed, standing.target, standing.heals) == (0, 5, 2, False)

"""What the sink's source does with an answer to its commit. Kafka cannot be made to give each of them, so the consumer
is a double; with a real Kafka: ``tests/integration/connect/test_native_sink.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connect.native_sink import source as source_module
from connect.native_sink.source import _COMMIT_NOT_OURS, KafkaAwayError, Source
from etar.settings import KafkaSettings, SinkSettings

AWAY = KafkaError._TRANSPORT


@dataclass
class Group:
    """A consumer that has read to ``ends``. ``refuses``: the error that the next commits end with, or None."""

    ends: dict[int, int]
    refuses: KafkaError | None = None
    answers_for_each: bool = False
    asked: list[dict[int, int]] = field(default_factory=list)

    def subscribe(self, _topics: Sequence[str], **_callbacks: Any) -> None: ...

    def consume(self, _count: int, timeout: float) -> list[Any]:
        at_end = KafkaError(KafkaError._PARTITION_EOF)
        return [
            SimpleNamespace(error=lambda: at_end, partition=lambda p=p: p, offset=lambda end=end: end)
            for p, end in self.ends.items()
        ]

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[Any]:
        assert not asynchronous
        self.asked.append({each.partition: each.offset for each in offsets})
        if self.refuses is not None and not self.answers_for_each:
            raise KafkaException(self.refuses)
        return [SimpleNamespace(error=self.refuses) for _ in offsets]


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Group], Source]:
    """A source that has given out all that the group has, and has committed none of it."""

    def reading(group: Group) -> Source:
        monkeypatch.setattr(source_module, "Consumer", lambda *_, **__: group)
        source = Source("t", group="g", instance="0", kafka=KafkaSettings(), settings=SinkSettings())
        clock = iter(range(100))
        source.take(lambda: next(clock) / 10, lambda: bool(group.asked))
        return source

    return reading


@pytest.mark.parametrize("answers_for_each", [False, True])
def test_offsets_of_a_commit_that_failed_are_kept_and_committed_by_the_next(
    reading: Callable[[Group], Source], answers_for_each: bool
) -> None:
    group = Group({0: 7, 2: 9}, refuses=KafkaError(AWAY), answers_for_each=answers_for_each)
    source = reading(group)
    for _ in range(2):
        with pytest.raises(KafkaAwayError):
            source.commit()
    group.refuses = None
    source.commit()
    source.commit()
    assert group.asked == [{0: 7, 2: 9}] * 3, "and none is asked for again once it got through"


@pytest.mark.parametrize("code", sorted(_COMMIT_NOT_OURS))
def test_offsets_that_a_rebalance_gave_to_another_are_not_committed_again(
    reading: Callable[[Group], Source], code: int
) -> None:
    group = Group({0: 7}, refuses=KafkaError(code))
    source = reading(group)
    source.commit()
    group.refuses = None
    source.commit()
    assert group.asked == [{0: 7}]


def test_an_error_that_only_a_new_start_cures_ends_the_sink(reading: Callable[[Group], Source]) -> None:
    group = Group({0: 7}, refuses=KafkaError(KafkaError._FENCED, "another took its place", fatal=True))
    with pytest.raises(KafkaException, match="another took its place"):
        reading(group).commit()


def test_a_partition_that_was_taken_away_is_not_committed(reading: Callable[[Group], Source]) -> None:
    group = Group({0: 7, 2: 9})
    source = reading(group)
    source._revoked(cast(Consumer, group), [TopicPartition("t", 2)])
    source.commit()
    assert group.asked == [{0: 7}]

"""What the sink's source does with an answer to its commit. Kafka cannot be made to give each of them, so the consumer
is a double; with a real Kafka: ``tests/integration/connect/test_native_sink.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
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
    """A consumer that has read to ``ends``. ``refuses``: the error that the next commits end with, or None. While
    ``answers`` is not set, a commit blocks.
    """

    ends: dict[int, int]
    refuses: KafkaError | None = None
    answers_for_each: bool = False
    asked: list[dict[int, int]] = field(default_factory=list)
    answers: Event = field(default_factory=Event)
    closed: bool = False
    positions: dict[int, int] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answers.set()

    def subscribe(self, _topics: Sequence[str], **_callbacks: Any) -> None: ...

    def consume(self, _count: int, timeout: float) -> list[Any]:
        return [self.end(partition, offset) for partition, offset in self.ends.items()]

    @staticmethod
    def end(partition: int, offset: int) -> Any:
        at_end = KafkaError(KafkaError._PARTITION_EOF)
        return SimpleNamespace(error=lambda: at_end, partition=lambda: partition, offset=lambda: offset)

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[Any]:
        assert not asynchronous
        self.asked.append({each.partition: each.offset for each in offsets})
        self.answers.wait()
        if self.refuses is not None and not self.answers_for_each:
            raise KafkaException(self.refuses)
        return [SimpleNamespace(error=self.refuses) for _ in offsets]

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("t", partition) for partition in self.positions]

    def position(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition("t", each.partition, self.positions[each.partition]) for each in partitions]

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached, "asking Kafka takes as long as Kafka likes"
        return 0, self.watermarks[partition.partition]

    def close(self) -> None:
        self.closed = True


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


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    """A group whose commits block until the test lets them go."""
    monkeypatch.setattr(source_module, "_COMMIT_LOOKED_AT_EVERY_SECONDS", 0.01)
    group = Group({0: 7, 2: 9})
    group.answers.clear()
    yield group
    group.answers.set()


def test_a_commit_without_an_answer_is_told_of_and_not_made_twice(
    reading: Callable[[Group], Source], silent: Group
) -> None:
    source = reading(silent)
    told = set()
    for _ in range(3):
        with pytest.raises(
            KafkaAwayError, match=r"no answer to a commit since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        ) as away:
            source.commit()
        told.add(str(away.value))
    assert len(told) == 1, "since when it was made, however often it is looked at"
    silent.answers.set()
    committed(source)
    source.commit()
    assert silent.asked == [{0: 7, 2: 9}]


def test_what_a_commit_that_failed_late_was_to_say_is_said_by_the_next(
    reading: Callable[[Group], Source], silent: Group
) -> None:
    source = reading(silent)
    with pytest.raises(KafkaAwayError, match="no answer"):
        source.commit()
    source._revoked(cast(Consumer, silent), [TopicPartition("t", 2)])
    silent.refuses = KafkaError(AWAY)
    silent.answers.set()
    with pytest.raises(KafkaAwayError, match="commit to Kafka failed"):
        committed(source)
    silent.refuses = None
    source.commit()
    assert silent.asked == [{0: 7, 2: 9}, {0: 7}], "but not for the partition that was taken away meanwhile"


def test_what_came_to_be_while_a_commit_had_no_answer_is_the_next_ones(
    reading: Callable[[Group], Source], silent: Group
) -> None:
    source = reading(silent)
    with pytest.raises(KafkaAwayError):
        source.commit()
    source._revoked(cast(Consumer, silent), [TopicPartition("t", 2)])
    source._note(silent.end(0, 8))
    silent.answers.set()
    committed(source)
    # Taken away and given back: what was known of its commit may be another's by then.
    source._note(silent.end(2, 9))
    source.commit()
    assert silent.asked == [{0: 7, 2: 9}, {0: 8, 2: 9}]


def test_a_client_that_waits_for_a_commit_is_left_to_the_end_of_the_process(
    reading: Callable[[Group], Source], silent: Group
) -> None:
    source = reading(silent)
    with pytest.raises(KafkaAwayError):
        source.commit()
    source.close()
    assert not silent.closed
    silent.answers.set()
    committed(source)
    source.close()
    assert silent.closed


def test_a_fault_of_ours_in_a_commit_ends_the_sink(
    reading: Callable[[Group], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group({0: 7})
    source = reading(group)
    monkeypatch.setattr(group, "commit", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        source.commit()


def committed(source: Source) -> None:
    """Looks at the commit until it has its answer."""
    for _ in range(1_000):
        try:
            source.commit()
        except KafkaAwayError as away:
            if "no answer" not in str(away):
                raise
        else:
            return
    pytest.fail("no answer to a commit that was let go")


UNKNOWN = -1001
"""What Kafka's client says before it knows."""


@pytest.mark.parametrize(
    ("position", "watermark", "behind"),
    [
        (4, 9, 5),
        (4, UNKNOWN, 0),
        (UNKNOWN, 9, 0),
        (UNKNOWN, UNKNOWN, 0),
    ],
)
def test_behind_is_what_kafka_holds_and_was_not_given_out(
    reading: Callable[[Group], Source], position: int, watermark: int, behind: int
) -> None:
    group = Group({}, positions={0: position, 1: 3}, watermarks={0: watermark, 1: 4})
    group.asked.append({})  # nothing is to be read
    assert reading(group).behind() == behind + 1


def test_nothing_is_behind_the_end_of_a_partition_whatever_stands_before_it(
    reading: Callable[[Group], Source],
) -> None:
    """Markers and records that were taken back are given to nobody."""
    group = Group({0: 7}, positions={0: 5}, watermarks={0: 7})
    source = reading(group)
    assert source.behind() == 0
    source.commit()
    assert source.behind() == 0

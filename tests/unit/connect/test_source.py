"""What the sink's source does with an answer to its commit. Kafka cannot be made to give each of them, so the consumer
is a double; with a real Kafka: ``tests/integration/connect/test_native_sink.py``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from connect.native_sink import source as source_module
from connect.native_sink.pace import Pace
from connect.native_sink.source import _COMMIT_NOT_OURS, KafkaAwayError, OtherLogError, Source
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
    answers: threading.Event = field(default_factory=threading.Event)
    closed: bool = False
    messages: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """How many records were asked for at once."""
    callbacks: dict[str, Callable[..., None]] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answers.set()

    def subscribe(self, topics: Sequence[str], **callbacks: Callable[..., None]) -> None:
        assert topics == ["t"]
        assert set(callbacks) == {"on_assign", "on_revoke", "on_lost"}
        assert all(map(callable, callbacks.values()))
        self.callbacks = callbacks

    def consume(self, count: int, timeout: float) -> list[Any]:
        self.counts.append(count)
        assert 0 < timeout <= 1.0, "or a stop would be noticed late"
        if self.messages:
            given, self.messages = self.messages[:count], self.messages[count:]
            return given
        return [self.end(partition, offset) for partition, offset in self.ends.items()]

    @staticmethod
    def end(partition: int, offset: int) -> Any:
        at_end = KafkaError(KafkaError._PARTITION_EOF)
        return SimpleNamespace(error=lambda: at_end, partition=lambda: partition, offset=lambda: offset)

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[Any]:
        assert asynchronous is False, "whose answers would come to nobody"
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
        source = opened(group, monkeypatch)
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
    reading: Callable[[Group], Source], caplog: pytest.LogCaptureFixture, code: int
) -> None:
    group = Group({0: 7}, refuses=KafkaError(code))
    source = reading(group)
    source.commit()
    (said,) = caplog.records
    assert said.getMessage() == (
        f"not committed, as the group was rebalanced meanwhile ({group.refuses}); these records come again"
    )
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
    group.callbacks["on_revoke"](group, [TopicPartition("t", 2)])
    source.commit()
    assert group.asked == [{0: 7}]
    group.callbacks["on_revoke"](group, [TopicPartition("t", 2)])  # of which nothing is known any more


def test_what_was_committed_of_a_partition_that_was_taken_away_is_forgotten(
    reading: Callable[[Group], Source], caplog: pytest.LogCaptureFixture
) -> None:
    """Its new owner may have committed less than what this one has, or Kafka lost it: it is said again."""
    group = Group({0: 7, 2: 9})
    source = reading(group)
    source.commit()
    for partition, offset in group.ends.items():
        source._note(group.end(partition, offset))
    source.commit()
    assert group.asked == [{0: 7, 2: 9}], "nothing is new"
    group.callbacks["on_lost"](group, [TopicPartition("t", 2)])
    assert [record.getMessage() for record in caplog.records] == [
        "the group has given the partitions to others, as Kafka was away or did not hear of this sink"
    ]
    for partition, offset in group.ends.items():
        source._note(group.end(partition, offset))
    source.commit()
    assert group.asked[1:] == [{2: 9}]


def message(partition: int, offset: int, value: bytes | None = b"x") -> Message:
    return Message(topic="t", partition=partition, offset=offset, value=value, timestamp=(1, 1_795_266_311_705))


def opened(group: Group, monkeypatch: pytest.MonkeyPatch, *, longest: float = 1.0, **settings: Any) -> Source:
    """A source that has taken nothing yet; its wall clock stands in the middle of a minute."""
    noon = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
    pace = Pace(longest=longest, grace=timedelta(0), now=lambda: noon)
    kafka = KafkaSettings(bootstrap_servers="broker:1")

    def consumer(given: KafkaSettings, *, group: str, member: str) -> Group:
        assert (given, group, member) == (kafka, "g", "g-0")
        return double

    double = group
    monkeypatch.setattr(source_module, "_consumer", consumer)
    return Source("t", group="g", instance="0", kafka=kafka, settings=SinkSettings(**settings), pace=pace)


def never() -> bool:
    return False


def test_what_was_taken_is_committed_past_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group({}, messages=[message(0, 6), message(2, 8, None), message(0, 7)])
    clock = iter([0.0, 0.1, 0.2, 1.0])
    source = opened(group, monkeypatch)
    records = source.take(lambda: next(clock), never)
    assert [(record.partition, record.offset, record.value) for record in records] == [
        (0, 6, b"x"), (2, 8, None), (0, 7, b"x"),
    ]  # fmt: skip
    source.commit()
    assert group.asked == [{0: 8, 2: 9}]


def test_a_batch_has_no_more_rows_than_the_settings_allow_nor_asks_for_more_than_a_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_module, "_CHUNK_ROWS", 3)
    group = Group({}, messages=[message(0, offset) for offset in range(9)])
    source = opened(group, monkeypatch, batch_rows=4)
    assert [record.offset for record in source.take(lambda: 0.0, never)] == [0, 1, 2, 3]
    assert group.counts == [3, 1]


def test_a_batch_ends_when_its_values_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_BATCH_BYTES", 10)
    monkeypatch.setattr(source_module, "_CHUNK_ROWS", 1)
    sizes = [4, 5, 1, 1]
    group = Group({}, messages=[message(0, offset, b"x" * size) for offset, size in enumerate(sizes)])
    assert len(opened(group, monkeypatch).take(lambda: 0.0, never)) == 3, "ten bytes"


def test_a_batch_ends_at_its_time_and_when_the_sink_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 0.5])
    group = Group({0: 7})
    assert not opened(group, monkeypatch, longest=0.5).take(lambda: next(clock), never)
    assert len(group.counts) == 1
    assert not opened(group, monkeypatch).take(lambda: 0.0, lambda: True)
    assert len(group.counts) == 1


def test_what_comes_of_a_topic_that_was_made_anew_meanwhile_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group({}, messages=[message(0, 6)])
    source = opened(group, monkeypatch)
    source.topic_id = "known"
    source._topic_checked_at = -100.0

    def made_anew() -> None:
        assert not group.messages, "looked at before the records were read"
        raise OtherLogError("made anew")

    monkeypatch.setattr(source, "_require_same_topic", made_anew)
    clock = iter([0.0, 0.0])
    with pytest.raises(OtherLogError):
        source.take(lambda: next(clock, 2.0), never)


@pytest.mark.parametrize(
    ("topic_id", "seconds", "looked"), [("x", 10.0, 0), ("x", 10.1, 1), ("", 9.0, 0), ("", 11.0, 0)]
)
def test_the_topic_that_records_come_from_is_looked_at_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, topic_id: str, seconds: float, looked: int
) -> None:
    monotonic = iter([1_000.0, 1_000.0, 1_000.0 + seconds, 1_020.0])
    monkeypatch.setattr(source_module, "monotonic", lambda: next(monotonic))
    source = opened(Group({}), monkeypatch)
    assert source.topic_id == "", "none is known yet"
    source.topic_id = topic_id
    looks: list[None] = []
    monkeypatch.setattr(source, "_require_same_topic", lambda: looks.append(None))
    source.take(lambda: 0.0, lambda: True)
    assert len(looks) == looked


def failed(error: KafkaError) -> Any:
    return SimpleNamespace(error=lambda: error)


@pytest.mark.parametrize(
    "error",
    [
        KafkaError(KafkaError._FENCED, "another took its place", fatal=True),
        KafkaError(KafkaError._FATAL, "another took its place"),
        KafkaError(KafkaError._AUTO_OFFSET_RESET, "another took its place"),
    ],
    ids=["fatal", "of a fatal error", "no offset to go on from"],
)
def test_what_kafka_says_that_only_a_new_start_cures_ends_the_sink(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError
) -> None:
    group = Group({}, messages=[failed(error)])
    with pytest.raises(KafkaException, match="another took its place"):
        opened(group, monkeypatch).take(lambda: 0.0, never)


def test_what_else_kafka_says_is_told_and_of_an_absent_topic_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    absent, other = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), KafkaError(AWAY, "broker down")
    group = Group({}, messages=[failed(each) for each in (absent, other, absent, other)])
    clock = iter([0.0, 0.0, 1.0])
    assert not opened(group, monkeypatch).take(lambda: next(clock), never)
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for the topic 't', which does not exist; `etar up` creates it",
        f"Kafka says: {other}",
        f"Kafka says: {other}",
    ]


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
    silent.callbacks["on_revoke"](silent, [TopicPartition("t", 2)])
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
    silent.callbacks["on_revoke"](silent, [TopicPartition("t", 2)])
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
    assert [each.daemon for each in threading.enumerate() if each.name == "commit"] == [True], "or it would not end"
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
        (0, 9, 9),
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

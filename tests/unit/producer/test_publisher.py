"""What the publisher does without a Kafka, with the broker in Kafka's client, and with stand-ins for clients."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import ConfigResource

from etar.rows.conversion import Records
from etar.rows.values import Values
from etar.settings import KafkaSettings
from etar.streams import default_stream
from producer.account import NO_PARTITION, Outcome
from producer.block_publisher import BlockPublisher
from producer.event_log import EventLog
from producer.kinds import Kind
from producer.made_up import KINDS, RecordBlock, Traffic, source_of
from producer.publisher import (
    Publisher,
    Queue,
    Stop,
    TopicMissingError,
    longest_batch,
    producer_configuration,
    require_topic,
    span_of,
)
from producer.tally import Tally
from producer.waiting import AwayError, until_there
from streams.user_interactions.input import RowConverter
from streams.user_interactions.shop import EventFactory
from tests.unit.producer.drafts import ENCODING, MINUTE, shop

USER = UUID("0123456789abcdef0123456789abcdef")
PARTITIONS = 4
"""As many as a topic of the broker in Kafka's client has."""


@pytest.fixture
def nowhere() -> Iterator[KafkaSettings]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield KafkaSettings(bootstrap_servers=f"127.0.0.1:{held.getsockname()[1]}")


def publisher(
    settings: KafkaSettings, tally: Tally, stop: Stop, *, queue: int = 100, timeout: timedelta = timedelta(hours=1)
) -> BlockPublisher:
    configuration = producer_configuration(
        settings, queue_records=queue, delivery_timeout=timeout, linger_ms=5, only_failures=True
    )
    return block_publisher(Producer(configuration), tally, stop)


def block_publisher(producer: Producer, tally: Tally, stop: Stop, event_log: EventLog | None = None) -> BlockPublisher:
    return BlockPublisher(
        producer, "t", ENCODING, partitions=PARTITIONS, tally=tally, stop=stop, event_log=event_log
    )  # fmt: skip


def block(count: int = 3, **shares: float) -> RecordBlock:
    """Records of one millisecond after the other."""
    source = source_of(default_stream(), EventFactory(seed=1, shop=shop(), errors=0.2), ENCODING)
    return Traffic(source, ENCODING, seed=1, **shares).block(MINUTE + np.arange(count))  # type: ignore[arg-type]


def with_large(made: RecordBlock, row: int) -> RecordBlock:
    """The same with a record that the client does not take."""
    value = made.values[row] or b""
    event = ENCODING.event_of(value) | {"product_id": "x" * 2_000_000}
    return made._replace(values=[*made.values[:row], ENCODING.encode(event), *made.values[row + 1 :]])


def test_what_cannot_be_delivered_in_time_is_counted_as_failed(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(), timeout=timedelta(seconds=1))
    assert publishing.send(block(3)) == 3
    publishing.close(timedelta(seconds=30))
    assert tally.counts().generated == {Kind.EVENT: 3}
    assert tally.counts().kinds == {Kind.EVENT: Outcome(failed=3)}
    assert tally.counts().failures == {"_MSG_TIMED_OUT": 3}
    assert (tally.counts().first_event_time, tally.counts().under_way) == (None, 0)


def test_after_a_stop_it_gives_up_when_its_time_is_over_and_counts_what_it_gives_up(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(requested=True))
    publishing.send(block(1))
    began = time.monotonic()
    publishing.close(timedelta(seconds=0.5))
    assert 0.5 <= time.monotonic() - began < 10
    assert tally.counts().failures == {"_PURGE_QUEUE": 1}


def test_a_second_signal_does_not_wait(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(requested=True, at_once=True))
    publishing.send(block(1))
    began = time.monotonic()
    publishing.close(timedelta(seconds=60))
    assert time.monotonic() - began < 10
    assert tally.counts().kinds == {Kind.EVENT: Outcome(failed=1)}


def test_a_full_queue_is_waited_for_until_a_stop_and_what_did_not_fit_was_never_made(nowhere: KafkaSettings) -> None:
    tally, stop = Tally(), Stop()
    publishing = publisher(nowhere, tally, stop, queue=2)
    sent: list[int | None] = []
    waiting = threading.Thread(target=lambda: sent.append(publishing.send(block(100, malformed=0.3, duplicates=0.2))))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "a full queue was not waited for"
    stop.requested = True
    waiting.join(10)
    assert sent == [None]
    publishing.close(timedelta(0))
    counts = tally.counts()
    assert (sum(counts.generated.values()), counts.under_way) == (2, 0)
    assert counts.failures == {"_PURGE_QUEUE": 2}


def test_a_block_that_is_under_way_is_waited_for_until_a_stop_and_the_next_was_never_made(
    nowhere: KafkaSettings,
) -> None:
    tally, stop = Tally(), Stop()
    publishing = publisher(nowhere, tally, stop)
    assert publishing.send(block(3)) == 3
    sent: list[int | None] = []
    waiting = threading.Thread(target=lambda: sent.append(publishing.send(block(5))))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    assert tally.counts().generated == {Kind.EVENT: 3}
    stop.requested = True
    waiting.join(10)
    assert sent == [None]
    publishing.close(timedelta(0))
    assert tally.counts().kinds == {Kind.EVENT: Outcome(failed=3)}


def test_a_record_that_kafka_would_never_take_is_counted_and_the_others_are_sent() -> None:
    tally = Tally()
    publishing = block_publisher(client_with_a_broker(queue=10, only_failures=True), tally, Stop())
    # The earliest and the latest: the span is that of those that arrived.
    assert publishing.send(with_large(with_large(block(5), 0), 4))
    publishing.close(timedelta(seconds=30))
    counts = tally.counts()
    assert counts.failures == {"MSG_SIZE_TOO_LARGE": 2}
    assert counts.kinds == {Kind.EVENT: Outcome(acknowledged=3, failed=2)}
    assert counts.partitions[NO_PARTITION] == Outcome(failed=2)
    assert (counts.first_event_time, counts.last_event_time) == (MINUTE + 1, MINUTE + 3)


@pytest.mark.parametrize("logged", [False, True])
def test_records_are_counted_by_kind_and_by_the_partition_that_kafkas_own_client_would_choose(
    logged: bool, tmp_path: Path
) -> None:
    made = [block(500, malformed=0.2, duplicates=0.2, late=0.1, late_by=1000), block(200)]
    tally, log = Tally(), EventLog(tmp_path / "log", ENCODING) if logged else None
    client = client_with_a_broker(queue=1000, only_failures=not logged)
    publishing = block_publisher(client, tally, Stop(), log)
    for each in made:
        assert publishing.send(each)
    publishing.close(timedelta(seconds=30))

    chosen: Counter[int] = Counter()
    by_itself = client_with_a_broker(queue=1000)
    for each in made:
        for key in each.keys:
            by_itself.produce("t", b"x", key, on_delivery=lambda _error, message: chosen.update([message.partition()]))
    by_itself.flush(30)
    counts = tally.counts()
    kinds = Counter(KINDS[kind] for each in made for kind in each.kinds.tolist())
    assert counts.kinds == {kind: Outcome(acknowledged=number) for kind, number in kinds.items()}
    assert counts.generated == kinds
    assert counts.partitions == {number: Outcome(acknowledged=records) for number, records in chosen.items()}
    good = [
        at for each in made for at, kind in zip(each.happened, each.kinds, strict=True) if not KINDS[kind].malformed
    ]
    assert (counts.first_event_time, counts.last_event_time) == (min(good), max(good))
    if logged:
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert Counter(line["kind"] for line in lines) == kinds
        assert Counter(line["partition"] for line in lines) == chosen
        ahead = [line["event_time"] for line in lines if line["kind"] == Kind.TIME_FAR_AHEAD]
        assert sorted(ahead) == sorted(
            draft.happened for draft in made[0].malformed.values() if draft.kind is Kind.TIME_FAR_AHEAD
        )


def test_a_block_is_counted_while_the_next_is_waited_for() -> None:
    tally = Tally()
    publishing = block_publisher(client_with_a_broker(queue=100, only_failures=True), tally, Stop())
    publishing.send(block(20))
    assert tally.counts().under_way == 20
    ended = time.monotonic() + 30
    while tally.counts().under_way and time.monotonic() < ended:
        publishing.wait(0.1)
    assert tally.counts().kinds == {Kind.EVENT: Outcome(acknowledged=20)}
    publishing.wait(0)
    publishing.close(timedelta(seconds=30))
    assert tally.counts().kinds == {Kind.EVENT: Outcome(acknowledged=20)}


def test_what_is_given_up_is_failed_by_its_kind_and_what_arrived_is_not(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(requested=True), queue=1000)
    made = block(300, malformed=0.3, duplicates=0.2)
    assert publishing.send(made)
    publishing.close(timedelta(0))
    kinds = Counter(KINDS[kind] for kind in made.kinds.tolist())
    counts = tally.counts()
    assert counts.kinds == {kind: Outcome(failed=number) for kind, number in kinds.items()}
    assert (counts.first_event_time, counts.under_way) == (None, 0)


def client_with_a_broker(*, queue: int, only_failures: bool = False) -> Producer:
    """Kafka's client, and the broker that it has in it for tests."""
    configuration = producer_configuration(
        KafkaSettings(),
        queue_records=queue,
        delivery_timeout=timedelta(hours=1),
        linger_ms=5,
        only_failures=only_failures,
    )
    return Producer(configuration | {"test.mock.num.brokers": 1})


def records(*times: int, product: str = "P1") -> Records:
    columns = {
        "user_id": [str(USER)] * len(times),
        "event_type": ["view"] * len(times),
        "event_time": list(times),
        "product_id": [None] * (len(times) - 1) + [product],
    }
    made, errors = RowConverter(Values(), b"\0\0\0\0\1").convert(columns, len(times))
    assert not errors
    return made


def test_records_of_a_file_are_counted_one_by_one_and_their_span_is_that_of_those_that_arrived(tmp_path: Path) -> None:
    tally, log = Tally(), EventLog(tmp_path / "log", ENCODING)
    producer = client_with_a_broker(queue=10)
    publishing = Publisher(producer, "t", ENCODING, tally=tally, stop=Stop(), event_log=log)
    # The last is larger than the client takes, and the latest; the times are not in order.
    assert publishing.send(records(MINUTE + 2, MINUTE, MINUTE + 1, MINUTE + 9, product="x" * 1_000_000))
    publishing.close(timedelta(seconds=30))
    counts = tally.counts()
    assert counts.generated == {Kind.EVENT: 4}
    assert counts.kinds == {Kind.EVENT: Outcome(acknowledged=3, failed=1)}
    assert counts.failures == {"MSG_SIZE_TOO_LARGE": 1}
    assert (counts.first_event_time, counts.last_event_time) == (MINUTE, MINUTE + 2)
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["user_id"], line["event_time"], line["offset"]) for line in logged] == [
        (str(USER), MINUTE + 2, 0),
        (str(USER), MINUTE, 1),
        (str(USER), MINUTE + 1, 2),
    ]


def test_records_of_a_file_that_are_given_up_are_failed_and_have_no_span(nowhere: KafkaSettings) -> None:
    tally = Tally()
    configuration = producer_configuration(nowhere, queue_records=100, delivery_timeout=timedelta(hours=1))
    publishing = Publisher(Producer(configuration), "t", ENCODING, tally=tally, stop=Stop(requested=True))
    assert publishing.send(records(MINUTE, MINUTE + 1))
    publishing.close(timedelta(0))
    counts = tally.counts()
    assert (counts.kinds, counts.failures) == ({Kind.EVENT: Outcome(failed=2)}, {"_PURGE_QUEUE": 2})
    assert (counts.first_event_time, counts.under_way) == (None, 0)


def test_of_a_file_what_does_not_fit_into_a_full_queue_at_a_stop_was_never_made() -> None:
    tally = Tally()
    publishing = Publisher(client_with_a_broker(queue=2), "t", ENCODING, tally=tally, stop=Stop(requested=True))
    assert not publishing.send(records(MINUTE, MINUTE + 1, MINUTE + 2))
    assert tally.counts().generated == {Kind.EVENT: 2}
    publishing.close(timedelta(seconds=30))
    counts = tally.counts()
    assert counts.kinds == {Kind.EVENT: Outcome(acknowledged=2)}
    assert (counts.first_event_time, counts.last_event_time) == (MINUTE, MINUTE + 1)


def test_the_topic_of_a_kafka_that_is_away_can_be_asked_for_again(
    nowhere: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.publisher._METADATA_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(AwayError, match=nowhere.bootstrap_servers):
        require_topic(nowhere, "t")


def test_waiting_says_each_reason_once_and_ends_with_the_result(caplog: pytest.LogCaptureFixture) -> None:
    reasons = iter(["no network", "no network", "not ready"])
    pauses: list[float] = []

    def attempt() -> str:
        for reason in reasons:
            raise AwayError(reason)
        return "there"

    with caplog.at_level("INFO"):
        assert until_there(attempt, stopping=lambda: False, pause=pauses.append) == "there"
    assert caplog.messages == [
        "waiting: no network",
        "waiting: not ready",
        "there again; going on",
    ]
    assert len(pauses) == 3


def test_waiting_ends_with_nothing_on_a_stop() -> None:
    def attempt() -> str:
        raise AwayError("no network")

    stop = Stop()

    def pause(_seconds: float) -> None:
        stop.requested = True

    assert until_there(attempt, stopping=stop, pause=pause) is None


def test_an_acknowledgement_is_every_replicas_and_a_retry_doubles_nothing(nowhere: KafkaSettings) -> None:
    configuration = producer_configuration(nowhere, queue_records=100, delivery_timeout=timedelta(minutes=5))
    assert (configuration["acks"], configuration["enable.idempotence"]) == ("all", True)
    assert configuration["message.timeout.ms"] == 300_000


def test_batches_are_compressed_as_the_stream_says(nowhere: KafkaSettings) -> None:
    configuration = producer_configuration(
        nowhere, queue_records=100, delivery_timeout=timedelta(minutes=5), compression="zstd"
    )
    assert configuration["compression.type"] == "zstd"


@pytest.mark.parametrize(
    ("longest", "limit"),
    [(None, None), (999, 1000), (1000, 1000), (1001, 1001), (10**9, 10**9), (10**9 + 1, 10**9)],
)
def test_no_batch_is_larger_than_the_topic_takes_nor_than_the_client_can_be_told(
    longest: int | None, limit: int | None, nowhere: KafkaSettings
) -> None:
    configuration = producer_configuration(
        nowhere, queue_records=100, delivery_timeout=timedelta(minutes=5), longest=longest
    )
    assert configuration.get("message.max.bytes") == limit
    Producer(configuration)  # refuses what it does not know, or is out of its range


def test_the_client_waits_for_a_batch_and_reports_as_it_is_told(nowhere: KafkaSettings) -> None:
    plain = producer_configuration(nowhere, queue_records=123, delivery_timeout=timedelta(seconds=1.5))
    assert plain["bootstrap.servers"] == nowhere.bootstrap_servers
    assert (plain["queue.buffering.max.messages"], plain["message.timeout.ms"], plain["linger.ms"]) == (123, 1500, 50)
    assert plain["delivery.report.only.error"] is False
    told = producer_configuration(
        nowhere, queue_records=1, delivery_timeout=timedelta(1), linger_ms=7, only_failures=True
    )
    assert (told["linger.ms"], told["delivery.report.only.error"]) == (7, True)


# --- what Kafka says of the topic


@pytest.mark.parametrize(
    ("answer", "raised", "said"),
    [
        (None, None, ""),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, TopicMissingError, "has no topic 't'. The set-up makes it"),
        (KafkaError.LEADER_NOT_AVAILABLE, AwayError, r"is not ready for topic 't' \(.*[Ll]eader"),
    ],
)
def test_a_topic_is_there_with_its_partitions_or_missing_or_not_ready_yet(
    answer: int | None, raised: type[Exception] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def __init__(self, configuration: dict[str, Any]) -> None:
            assert configuration["bootstrap.servers"] == "kafka:9092"

        def list_topics(self, topic: str, timeout: float) -> Any:
            assert timeout == 5
            error = None if answer is None else KafkaError(answer)
            return SimpleNamespace(topics={topic: SimpleNamespace(error=error, partitions={0: "", 1: "", 2: ""})})

    monkeypatch.setattr("producer.publisher.Producer", Client)
    settings = KafkaSettings(bootstrap_servers="kafka:9092")
    if raised is None:
        assert require_topic(settings, "t") == 3
    else:
        with pytest.raises(raised, match=f"Kafka at kafka:9092 {said}"):
            require_topic(settings, "t")


@pytest.mark.parametrize("known", [True, False])
def test_the_largest_batch_is_what_the_topic_says_and_unknown_where_it_does_not(
    known: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Admin:
        def __init__(self, configuration: dict[str, Any]) -> None:
            assert configuration["bootstrap.servers"] == "kafka:9092"

        def describe_configs(self, resources: list[ConfigResource], request_timeout: float) -> Any:
            assert (resources, request_timeout) == ([ConfigResource(ConfigResource.Type.TOPIC, "t")], 5)
            answer: Future[Any] = Future()
            if known:
                answer.set_result({"max.message.bytes": SimpleNamespace(value="1048588")})
            else:
                answer.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
            return {resources[0]: answer}

    monkeypatch.setattr("producer.publisher.AdminClient", Admin)
    found = longest_batch(KafkaSettings(bootstrap_servers="kafka:9092"), "t")
    assert found == (1_048_588 if known else None)
    assert ("the largest record that topic t takes is not known" in caplog.text) is not known


# --- the queue of a client that sends nothing


@dataclass
class StuckClient:
    """Holds ``records`` for ``flushes`` attempts to send them, or until they are given up. A second passes with each,
    and so much in what is polled."""

    records: int = 2
    flushes: float = float("inf")
    now: float = 100.0
    asked: list[tuple[str, float]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.records

    def poll(self, seconds: float) -> None:
        self.asked.append(("poll", seconds))

    def flush(self, seconds: float) -> int:
        assert seconds == 0.1
        self.now += 1
        self.flushes -= 1
        if self.flushes <= 0:
            self.records = 0
        return self.records

    def purge(self) -> None:
        self.asked.append(("purge", self.now))
        self.records = 0

    def queue(self, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> Queue:
        monkeypatch.setattr("producer.publisher.time", SimpleNamespace(monotonic=lambda: self.now))
        return Queue(cast(Producer, self), stop)


def test_a_full_queue_is_told_of_at_once_and_then_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = StuckClient(records=7)
    queue = client.queue(Stop(), monkeypatch)
    told = []
    with caplog.at_level("INFO"):
        for at in (0, 1, 10, 10.5, 11, 20.5, 21):
            client.now = at
            assert queue.wait_for_room()
            told += [at] * len(caplog.messages)
            caplog.clear()
    assert told == [0, 10.5, 21]
    assert client.asked == [("poll", 0.1)] * 7


def test_nothing_waits_for_room_after_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    client = StuckClient()
    assert not client.queue(Stop(requested=True), monkeypatch).wait_for_room()
    assert client.asked == []


@pytest.mark.parametrize(
    ("stop", "given_up_at"),
    [
        (Stop(requested=True), 107),  # the first second over the five that began with the first look after the stop
        (Stop(requested=True, at_once=True), 101),
    ],
)
def test_what_is_under_way_is_given_up_once_its_time_after_the_stop_is_over(
    stop: Stop, given_up_at: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = StuckClient()
    client.queue(stop, monkeypatch).empty(timedelta(seconds=5))
    assert client.asked == [("purge", given_up_at)]
    assert "giving up 2 records" in caplog.text


@pytest.mark.parametrize("stop", [Stop(), Stop(requested=True)])
def test_what_leaves_in_time_is_not_given_up(stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    client = StuckClient(flushes=6)
    client.queue(stop, monkeypatch).empty(timedelta(seconds=5))
    assert (client.asked, client.now) == ([], 106)


# --- the span of the times


@pytest.mark.parametrize(
    ("times", "failed", "span"),
    [
        ([], [], None),
        ([5], [], (5, 5)),
        ([5, 3, 9], [], (3, 9)),
        ([5, 3, 9], [3], (5, 9)),
        ([5, 3, 9], [9, 3], (5, 5)),
        ([5, 3, 9], [9, 3, 5], None),
        ([3, 3, 9], [3], (3, 9)),  # another of that time arrived
        ([3, 3, 9], [3, 3], (9, 9)),
    ],
)
def test_the_span_is_of_what_did_not_fail(times: list[int], failed: list[int], span: tuple[int, int] | None) -> None:
    assert span_of(np.array(times, np.int64), failed) == span

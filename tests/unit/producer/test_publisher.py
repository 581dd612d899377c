"""What the publisher does when there is no Kafka to publish to: nothing listens on the port it is given."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from confluent_kafka import Producer

from etar.rows.conversion import Records
from etar.rows.values import Values
from etar.settings import KafkaSettings
from etar.streams import default_stream
from producer.account import NO_PARTITION, Outcome
from producer.block_publisher import BlockPublisher
from producer.event_log import EventLog
from producer.kinds import Kind
from producer.made_up import KINDS, RecordBlock, Traffic, source_of
from producer.publisher import Publisher, Stop, producer_configuration, require_topic
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

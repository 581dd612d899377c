"""What the publisher does when there is no Kafka to publish to: nothing listens on the port it is given."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import Producer

from etar.rows.conversion import Records
from etar.rows.values import Values
from etar.settings import KafkaSettings
from producer.account import NO_PARTITION, Outcome
from producer.encoding import NoEventError
from producer.event_log import EventLog
from producer.kinds import Draft, Kind
from producer.publisher import Publisher, Stop, producer_configuration, require_topic
from producer.tally import Tally
from producer.waiting import AwayError, until_there
from streams.user_interactions.event import UserEvent
from streams.user_interactions.input import RowConverter
from tests.unit.producer.drafts import ENCODING, MINUTE

USER = UUID("0123456789abcdef0123456789abcdef")
DRAFT = Draft(Kind.EVENT, UserEvent(USER, USER, USER, "view", "success", 1, None, None, None, "mobile", "DE"), 1)


@pytest.fixture
def nowhere() -> Iterator[KafkaSettings]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield KafkaSettings(bootstrap_servers=f"127.0.0.1:{held.getsockname()[1]}")


def publisher(
    settings: KafkaSettings, tally: Tally, stop: Stop, *, queue: int = 100, timeout: timedelta = timedelta(hours=1)
) -> Publisher:
    configuration = producer_configuration(settings, queue_records=queue, delivery_timeout=timeout)
    return Publisher(Producer(configuration), "t", ENCODING, tally=tally, stop=stop)


def test_what_cannot_be_delivered_in_time_is_counted_as_failed(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(), timeout=timedelta(seconds=1))
    assert all(publishing.send(DRAFT) for _ in range(3))
    publishing.close(timedelta(seconds=30))
    assert tally.counts().generated == {Kind.EVENT: 3}
    assert tally.counts().kinds == {Kind.EVENT: Outcome(failed=3)}
    assert tally.counts().partitions == {NO_PARTITION: Outcome(failed=3)}
    assert tally.counts().failures == {"_MSG_TIMED_OUT": 3}


def test_after_a_stop_it_gives_up_when_its_time_is_over_and_counts_what_it_gives_up(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(requested=True))
    publishing.send(DRAFT)
    began = time.monotonic()
    publishing.close(timedelta(seconds=0.5))
    assert 0.5 <= time.monotonic() - began < 10
    assert tally.counts().failures == {"_PURGE_QUEUE": 1}


def test_a_second_signal_does_not_wait(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(requested=True, at_once=True))
    publishing.send(DRAFT)
    began = time.monotonic()
    publishing.close(timedelta(seconds=60))
    assert time.monotonic() - began < 10
    assert tally.counts().kinds == {Kind.EVENT: Outcome(failed=1)}


def test_a_full_queue_is_waited_for_until_a_stop_and_what_did_not_fit_was_never_made(nowhere: KafkaSettings) -> None:
    tally, stop = Tally(), Stop()
    publishing = publisher(nowhere, tally, stop, queue=2)
    assert publishing.send(DRAFT)
    assert publishing.send(DRAFT)
    third: list[bool] = []
    waiting = threading.Thread(target=lambda: third.append(publishing.send(DRAFT)))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "a full queue was not waited for"
    stop.requested = True
    waiting.join(10)
    assert third == [False]
    publishing.close(timedelta(0))
    assert tally.counts().generated == {Kind.EVENT: 2}


def test_a_record_that_kafka_would_never_take_is_counted_and_the_next_is_sent(nowhere: KafkaSettings) -> None:
    tally = Tally()
    configuration = producer_configuration(nowhere, queue_records=10, delivery_timeout=timedelta(hours=1))
    large = Publisher(Producer(configuration), "t", ENCODING, tally=tally, stop=Stop())
    assert large.send(DRAFT._replace(event=DRAFT.event._replace(product_id="x" * 2_000_000)))
    assert tally.counts().failures == {"MSG_SIZE_TOO_LARGE": 1}


def test_what_is_no_event_of_the_schema_is_never_made(nowhere: KafkaSettings) -> None:
    tally = Tally()
    with pytest.raises(NoEventError, match="TypeError: must be string on field device"):
        publisher(nowhere, tally, Stop()).send(DRAFT._replace(event=DRAFT.event._replace(device=None)))
    assert tally.counts().generated == {}


def client_with_a_broker(*, queue: int) -> Producer:
    """Kafka's client, and the broker that it has in it for tests."""
    configuration = producer_configuration(KafkaSettings(), queue_records=queue, delivery_timeout=timedelta(hours=1))
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
    assert publishing.send_records(records(MINUTE + 2, MINUTE, MINUTE + 1, MINUTE + 9, product="x" * 1_000_000))
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


@pytest.mark.parametrize(("kind", "span"), [(Kind.LATE, (1, 1)), (Kind.TIME_FAR_AHEAD, (None, None))])
def test_the_time_of_an_acknowledged_record_counts_unless_it_is_malformed(
    kind: Kind, span: tuple[int | None, int | None]
) -> None:
    tally, producer = Tally(), client_with_a_broker(queue=10)
    publishing = Publisher(producer, "t", ENCODING, tally=tally, stop=Stop())
    assert publishing.send(Draft(kind, DRAFT.event, 1))
    publishing.close(timedelta(seconds=30))
    counts = tally.counts()
    assert counts.kinds == {kind: Outcome(acknowledged=1)}
    assert (counts.first_event_time, counts.last_event_time) == span


def test_records_of_a_file_that_are_given_up_are_failed_and_have_no_span(nowhere: KafkaSettings) -> None:
    tally = Tally()
    publishing = publisher(nowhere, tally, Stop(requested=True))
    assert publishing.send_records(records(MINUTE, MINUTE + 1))
    publishing.close(timedelta(0))
    counts = tally.counts()
    assert (counts.kinds, counts.failures) == ({Kind.EVENT: Outcome(failed=2)}, {"_PURGE_QUEUE": 2})
    assert (counts.first_event_time, counts.under_way) == (None, 0)


def test_of_a_file_what_does_not_fit_into_a_full_queue_at_a_stop_was_never_made() -> None:
    tally = Tally()
    publishing = Publisher(client_with_a_broker(queue=2), "t", ENCODING, tally=tally, stop=Stop(requested=True))
    assert not publishing.send_records(records(MINUTE, MINUTE + 1, MINUTE + 2))
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

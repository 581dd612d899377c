"""Hands records to Kafka and counts what becomes of each."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from etar.settings import KafkaSettings
from producer.account import NO_PARTITION
from producer.encoding import Encoding
from producer.event_log import EventLog
from producer.kinds import Draft, Kind
from producer.tally import Tally
from producer.waiting import AwayError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from etar.rows.conversion import Records

_log = logging.getLogger(__name__)

_SLICE_SECONDS = 0.1
RECORDS_BETWEEN_POLLS = 200
_METADATA_TIMEOUT_SECONDS = 5.0
_REPEAT_NOTICE_SECONDS = 10.0


class TopicMissingError(RuntimeError):
    """Kafka is there, but not the topic."""


@dataclass
class Stop:
    """How far a run has been asked to end. Set from signal handlers and threads, read in the sending loop.

    Plain attributes and no ``threading.Event``: a handler that interrupts the main thread inside an Event's lock
    would wait for itself.
    """

    requested: bool = False
    at_once: bool = False

    def __call__(self) -> bool:
        return self.requested


def producer_configuration(
    settings: KafkaSettings,
    *,
    queue_records: int,
    delivery_timeout: timedelta,
    compression: str = "lz4",
    longest: int | None = None,
    linger_ms: int = 50,
    only_failures: bool = False,
) -> dict[str, Any]:
    """Settings of librdkafka: no acknowledged record is lost, none is doubled by a retry, an outage is waited out.

    Args:
        longest: bytes of the largest batch that the topic takes, from :func:`longest_batch`; larger ones are not made.
        linger_ms: how long a batch is waited for. A twentieth of a second costs a report nothing, and sends a fifth of
            the requests that 10 ms would.
        only_failures: what arrives is not reported, only what does not: half of what sending a record costs.
    """
    limit = {} if longest is None else {"message.max.bytes": max(1000, min(longest, 10**9))}
    return limit | {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "etar-producer",
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": int(delivery_timeout / timedelta(milliseconds=1)),
        "linger.ms": linger_ms,
        "delivery.report.only.error": only_failures,
        "compression.type": compression,
        # Java's partitioner: events of one key meet in one partition whichever client sends them.
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": queue_records,
        "reconnect.backoff.max.ms": 1000,
        "logger": logging.getLogger("producer.librdkafka"),
    }


def require_topic(settings: KafkaSettings, topic: str) -> int:
    """Check that the topic is there, and how many partitions it has.

    Raises:
        AwayError: Kafka cannot be reached; worth trying again.
        TopicMissingError: it can, and has no such topic.
    """
    probe = Producer({"bootstrap.servers": settings.bootstrap_servers, "logger": _quiet_log()})
    try:
        found = probe.list_topics(topic, timeout=_METADATA_TIMEOUT_SECONDS).topics[topic]
    except KafkaException as error:
        raise AwayError(f"Kafka at {settings.bootstrap_servers} cannot be reached") from error
    if found.error is None:
        return len(found.partitions)
    if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise TopicMissingError(
            f"Kafka at {settings.bootstrap_servers} has no topic {topic!r}. The set-up makes it (`make up`); "
            "by itself no topic comes into being, so that a mistyped name does not become one."
        )
    raise AwayError(f"Kafka at {settings.bootstrap_servers} is not ready for topic {topic!r} ({found.error.str()})")


def _quiet_log() -> logging.Logger:
    """For clients that ask one question: their caller says it better than a line for each refused connection."""
    quiet = logging.getLogger("producer.librdkafka.probe")
    quiet.setLevel(logging.CRITICAL)
    return quiet


def longest_batch(settings: KafkaSettings, topic: str) -> int | None:
    """Bytes of the largest batch that the topic takes; None: the broker does not say."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers, "logger": _quiet_log()})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        found = admin.describe_configs([resource], request_timeout=_METADATA_TIMEOUT_SECONDS)[resource].result()
    except KafkaException as error:
        _log.warning("the largest record that topic %s takes is not known: %s", topic, error)
        return None
    return int(found["max.message.bytes"].value)


class Queue:
    """What Kafka's client holds: it is waited for while it is full, and at the end until the fate of all is known.

    Args:
        producer: configured by :func:`producer_configuration`.
    """

    def __init__(self, producer: Producer, stop: Stop) -> None:
        self.producer = producer
        self._stop = stop
        self._noticed: float | None = None

    def wait_for_room(self) -> bool:
        """Wait a moment, as the queue is full. False: stopped."""
        if self._stop.requested:
            return False
        if self._noticed is None or time.monotonic() - self._noticed > _REPEAT_NOTICE_SECONDS:
            self._noticed = time.monotonic()
            _log.info("the queue is full (%d records wait for Kafka); waiting", len(self.producer))
        self.producer.poll(_SLICE_SECONDS)
        return True

    def is_empty(self, within: float = _SLICE_SECONDS) -> bool:
        """Send what is there; whether after some seconds at most each record is acknowledged or failed, and told."""
        return not self.producer.flush(within)

    def empty(self, stop_timeout: timedelta) -> None:
        """Wait until every record is acknowledged or failed.

        After a stop for at most ``stop_timeout``; what is under way then is given up and counted as failed:
        ``_PURGE_QUEUE`` was never sent, ``_PURGE_INFLIGHT`` may or may not have reached Kafka.
        """
        stopped_at: float | None = None
        while not self.is_empty():
            if not self._stop.requested:
                continue
            stopped_at = stopped_at or time.monotonic()
            if self._stop.at_once or time.monotonic() - stopped_at > stop_timeout.total_seconds():
                _log.error("giving up %d records that Kafka has not acknowledged", len(self.producer))
                self.producer.purge()
                self.is_empty()


class Publisher:
    """Sends records of a file to one topic. Every one it accepts ends in the tally, acknowledged or failed, after
    :meth:`close`.

    Args:
        producer: configured by :func:`producer_configuration`.
        encoding: from :func:`producer.wire.open_encoding`.
    """

    def __init__(
        self,
        producer: Producer,
        topic: str,
        encoding: Encoding,
        *,
        tally: Tally,
        stop: Stop,
        event_log: EventLog | None = None,
    ) -> None:
        self._queue = Queue(producer, stop)
        self._producer = producer
        self._topic = topic
        self._encoding = encoding
        self._tally = tally
        self._event_log = event_log

    def send(self, records: Records) -> bool:
        """Hand over some hundred records, waiting while the queue is full. False: stopped first; those before that were
        handed over."""
        sent = _Sent(records, self._encoding, self._tally, self._event_log)
        self._tally.made(Kind.EVENT, len(records.values))
        for number, (key, value) in enumerate(zip(records.keys, records.values, strict=True)):
            try:
                if not self._hand_over(key, value, sent):
                    self._tally.withdrawn(Kind.EVENT, len(records.values) - number)
                    sent.end_before(number)
                    return False
            except KafkaException as error:
                sent.failed(value, NO_PARTITION, error.args[0])
        self.wait(0)
        return True

    def _hand_over(self, key: bytes | None, value: bytes, on_delivery: _Sent) -> bool:
        """Wait while the queue is full. False: stopped first.

        Raises:
            KafkaException: Kafka would never take it.
        """
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=on_delivery)
            except BufferError:
                if not self._queue.wait_for_room():
                    return False
            else:
                return True

    def wait(self, seconds: float) -> None:
        """Take delivery reports for up to ``seconds``; returns early once there were some."""
        self._producer.poll(seconds)

    def close(self, stop_timeout: timedelta) -> None:
        """As :meth:`Queue.empty`."""
        self._queue.empty(stop_timeout)
        if self._event_log:
            self._event_log.flush()


class _Sent:
    """Takes the delivery reports of records that were sent together, of which one costs a third of one with a draft.

    Each is counted as it comes. Their times are told when the last has come: what a worker that is killed had under way
    is not in the span of its account.
    """

    def __init__(self, records: Records, encoding: Encoding, tally: Tally, event_log: EventLog | None) -> None:
        self._times = records.times
        self._under_way = len(records.values)
        self._failed: list[int] = []
        self._encoding = encoding
        self._tally = tally
        self._event_log = event_log

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        partition = message.partition()
        if error is not None:
            self.failed(message.value(), NO_PARTITION if partition is None else partition, error)
            return
        self._tally.acknowledged(Kind.EVENT, partition)
        if self._event_log:
            event = self._encoding.event_of(message.value())
            self._event_log.add(Draft(Kind.EVENT, event, self._encoding.time_of(event)), partition, message.offset())
        self._decided()

    def failed(self, value: bytes, partition: int, error: KafkaError) -> None:
        self._tally.failed(Kind.EVENT, partition, error)
        self._failed.append(self._encoding.time_of(self._encoding.event_of(value)))
        self._decided()

    def end_before(self, number: int) -> None:
        """Those from ``number`` on were not handed over."""
        left = len(self._times) - number
        self._times = self._times[:number]
        self._decided(left)

    def _decided(self, records: int = 1) -> None:
        self._under_way -= records
        if not self._under_way and (span := span_of(self._times, self._failed)):
            self._tally.seen(*span)


def span_of(times: npt.NDArray[np.int64], failed: Sequence[int]) -> tuple[int, int] | None:
    """The earliest and the latest of some times, without those of records that failed; None: nothing is left."""
    if not failed:
        return (int(times.min()), int(times.max())) if len(times) else None
    arrived = Counter(times.tolist())
    arrived.subtract(failed)
    left = +arrived
    return (min(left), max(left)) if left else None

"""Records of a topic by their offsets, read as a member of no consumer group: nothing is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from etar.instants import from_milliseconds
from etar.kafka.offsets import KafkaUnavailableError
from etar.offsets import Span, runs
from etar.records.record import Record
from etar.settings import KafkaSettings

_BATCH_RECORDS = 10_000
_BATCH_BYTES = 32 * 1024 * 1024
"""A batch ends here even when it has few records, so that large values cannot fill the memory."""

_READ_THROUGH = 5_000
"""Records that are not asked for are read and dropped up to this many in a row: cheaper than a new fetch."""

_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 10.0


class KafkaRecords:
    """Reads one topic. Commits nothing and joins no group: the sink's own group goes on undisturbed."""

    def __init__(
        self,
        topic: str,
        settings: KafkaSettings,
        *,
        timeout: float = 30.0,
        now: Callable[[], float] = monotonic,
        committed_only: bool = True,
    ) -> None:
        """
        Args:
            timeout: longest wait for a next record, in seconds of the monotonic clock ``now``.
            committed_only: as the sink reads; else with the records of transactions that were aborted.
        """
        self._topic = topic
        self._timeout = timeout
        self._now = now
        self._consumer = Consumer(
            {
                **_as_nobody(settings, "etar-audit"),
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed" if committed_only else "read_uncommitted",
                "queued.min.messages": _BATCH_RECORDS,
                "queued.max.messages.kbytes": 32 * 1024,
                # What is asked for is there already: the broker waits at the end of a partition alone, and so would we.
                "fetch.wait.max.ms": 5,
            }
        )

    def read(self, partition: int, offsets: Sequence[int]) -> Iterator[list[Record]]:
        """The records at ``offsets`` in batches, ascending. Offsets at which Kafka gives out no record are left out.

        Raises:
            KafkaUnavailableError: no answer within the timeout, or readers are not shown these offsets yet.
        """
        wanted = frozenset(offsets)
        for run in runs(offsets, apart=_READ_THROUGH):
            for batch in self._batches(partition, run):
                if records := [Record.of(message) for message in batch if message.offset() in wanted]:
                    yield records

    def first(self, partition: int, offset: int) -> Record | None:
        """The first record at or after ``offset``; None where there is none yet."""
        for batch in self._batches(partition, Span(offset, offset + 1), beyond=True):
            return Record.of(batch[0])
        return None

    def close(self) -> None:
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batches(self, partition: int, run: Span, *, beyond: bool = False) -> Iterator[list[Message]]:
        """The messages of a run; with ``beyond``, instead those from its start to the partition's end."""
        self._consumer.assign([TopicPartition(self._topic, partition, run.first)])
        batch: list[Message] = []
        size = 0
        for message in self._messages(partition):
            error = message.error()
            if error is not None:
                if message.offset() < run.end and not beyond:
                    raise KafkaUnavailableError(
                        f"Kafka shows readers partition {partition} of {self._topic!r} up to offset "
                        f"{message.offset()} only, not up to {run.end}; a transaction may be open"
                    )
                break
            if message.offset() >= run.end and not beyond:
                break
            batch.append(message)
            size += len(message.value() or b"")
            if beyond or len(batch) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _messages(self, partition: int) -> Iterator[Message]:
        """Every message from the assigned offset on, then the event that says where the partition ends."""
        heard = self._now()
        while True:
            for message in self._arrived():
                error = message.error()
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    yield message
                    heard = self._now()  # what the caller did with it is no silence of Kafka's
                elif error.fatal():
                    raise KafkaUnavailableError(f"Kafka does not give out {self._topic!r}: {error}")
            if self._now() - heard > self._timeout:
                raise KafkaUnavailableError(
                    f"Kafka gave out no record of partition {partition} of {self._topic!r} within {self._timeout:g} s; "
                    "is the broker running, and is ETAR_KAFKA_BOOTSTRAP_SERVERS right?"
                )

    def _arrived(self) -> list[Message]:
        """What is there, once there is something.

        A batch that is asked for with a wait takes the whole of it unless it gets full, and hardly one ever is.
        """
        first = self._consumer.poll(_POLL_SECONDS)
        return [] if first is None else [first, *self._consumer.consume(_BATCH_RECORDS, timeout=0)]


class TopicReader:
    """Reads what there is, as messages with their headers; connects when it is asked for records, with a consumer for
    each partition.

    Where :class:`KafkaRecords` takes it for a fault that readers are not shown an offset yet, this one ends there.
    """

    def __init__(self, topic: str, settings: KafkaSettings) -> None:
        self._topic = topic
        self._settings = settings

    def records(self, spans: Mapping[int, Span]) -> Iterator[Message]:
        """The records at these offsets, by partition; an offset that holds none is passed over.

        Raises:
            KafkaUnavailableError
        """
        for partition, span in spans.items():
            if span.size:
                with self._consumer(partition, span.first) as consumer:
                    yield from self._until(consumer, partition, span.end)

    def _until(self, consumer: Consumer, partition: int, end: int) -> Iterator[Message]:
        while True:
            message = consumer.poll(_ANSWER_SECONDS)
            if message is None:
                raise KafkaUnavailableError(
                    f"Kafka gave no record of {self._topic!r}, partition {partition}, for {_ANSWER_SECONDS:g} s; "
                    "is the broker running?"
                )
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise KafkaUnavailableError(f"Kafka gave no record of {self._topic!r}, partition {partition}: {error}")
            if message.offset() >= end:
                return
            yield message
            if message.offset() == end - 1:
                return

    @contextmanager
    def _consumer(self, partition: int, first: int) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **_as_nobody(self._settings, "etar-dead-letters"),
                "queued.max.messages.kbytes": 16 * 1024,
            }
        )
        try:
            consumer.assign([TopicPartition(self._topic, partition, first)])
            yield consumer
        finally:
            consumer.close()


def append_time(message: Message) -> datetime:
    """The record's timestamp, aware."""
    _, milliseconds = message.timestamp()
    return from_milliseconds(milliseconds)


def _as_nobody(settings: KafkaSettings, name: str) -> dict[str, str | int | bool]:
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": name,
        "group.id": name,  # a consumer must name one; without a subscription it is never joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        # Records that retention took while they were read are told from offsets without a record by the first offset
        # still held, asked for afterwards.
        "auto.offset.reset": "earliest",
        "log_level": 2,
    }

"""Records of one topic by their offsets, with their headers, read as a member of no group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from etar.instants import from_milliseconds
from etar.kafka.offsets import KafkaUnavailableError
from etar.settings import KafkaSettings

_ANSWER_SECONDS = 10.0


class TopicReader:
    """Reads with a consumer for each partition; connects when it is asked for records."""

    def __init__(self, topic: str, settings: KafkaSettings) -> None:
        self._topic = topic
        self._settings = settings

    def records(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """The records at the offsets ``{partition: [first, end)}``; an offset that holds none is passed over.

        Raises:
            KafkaUnavailableError
        """
        for partition, (first, end) in spans.items():
            if first < end:
                with self._consumer(partition, first) as consumer:
                    yield from self._until(consumer, partition, end)

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
                "bootstrap.servers": self._settings.bootstrap_servers,
                "client.id": "etar-dead-letters",
                "group.id": "etar-dead-letters",  # asked for by the client; nothing is ever committed to it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 16 * 1024,
                "log_level": 2,
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

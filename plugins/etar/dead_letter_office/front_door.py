"""The topic as dead letters see it: records go in again, marked with where they came from, and are found again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from etar.dead_letters.journal import Replay
from etar.dead_letters.letters import LetterId
from etar.kafka.offsets import TopicOffsets
from etar.kafka.records import TopicReader, append_time
from etar.offsets import Span
from etar.settings import KafkaSettings

REPLAY_OF = "etar-replay-of"
"""Header of a replayed record: ``topic/partition/offset`` of the record that was bad."""

REPLAY_ID = "etar-replay-id"
"""Header of a replayed record: a UUID of its own."""

_REFUSED = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._INVALID_ARG, KafkaError.INVALID_RECORD})
"""Errors after which a record certainly is not in Kafka, and never will be as it is."""

Headers = Sequence[tuple[str, bytes | None]]
Places = dict[UUID, tuple[int, datetime]]


@dataclass
class Deliveries:
    """What became of replays: in Kafka at an offset since an append time, refused for good, or not known."""

    sent: Places = field(default_factory=dict)
    refused: dict[UUID, str] = field(default_factory=dict)
    in_doubt: dict[UUID, str] = field(default_factory=dict)


class FrontDoor:
    """Sends to one topic and reads from it, as a member of no group."""

    def __init__(self, topic: str, settings: KafkaSettings, *, send_seconds: float, of: str | None = None) -> None:
        """``send_seconds``: how long a record is tried before it is given up; ``of``: the former log whose letters are
        replayed, where they are not of the topic as it is."""
        self._topic = topic
        self._of = of or topic
        self._settings = settings
        self._reader = TopicReader(topic, settings)
        self._send_seconds = send_seconds

    def ends(self) -> dict[int, int]:
        """``{partition: offset that its next record gets}``.

        Raises:
            KafkaUnavailableError, UnknownTopicError
        """
        with TopicOffsets.connect(self._topic, settings=self._settings) as offsets:
            return offsets.end()

    def send(self, replays: Sequence[Replay]) -> Deliveries:
        """Append the records to the partitions they came from, in this order; returns when each one's fate is known."""
        deliveries = Deliveries()
        producer = self._producer
        for replay in replays:

            def note(error: KafkaError | None, message: Message, replay_id: UUID = replay.id) -> None:
                if error is None:
                    deliveries.sent[replay_id] = (message.offset(), append_time(message))
                else:
                    fate = deliveries.refused if error.code() in _REFUSED else deliveries.in_doubt
                    fate[replay_id] = error.str()

            try:
                producer.produce(
                    self._topic,
                    key=replay.key,
                    value=replay.value,
                    partition=replay.of.partition,
                    headers=[
                        (REPLAY_OF, f"{self._of}/{replay.of.partition}/{replay.of.offset}".encode()),
                        (REPLAY_ID, str(replay.id).encode()),
                    ],
                    on_delivery=note,
                )
            except KafkaException as error:  # refused before it was queued: it is too large, say
                deliveries.refused[replay.id] = error.args[0].str()
            producer.poll(0)
        producer.flush()
        return deliveries

    @cached_property
    def _producer(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._settings.bootstrap_servers,
                "client.id": "etar-dead-letters",
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": int(self._send_seconds * 1000),
                "linger.ms": 5,
                "log_level": 2,
            }
        )

    def find(self, ids: Collection[UUID], first: Mapping[int, int], until: datetime) -> Places:
        """Where the replays ``ids`` stand, looking from the offsets ``first`` to what was appended before ``until``.

        Raises:
            KafkaUnavailableError, UnknownTopicError
        """
        found: Places = {}
        with TopicOffsets.connect(self._topic, settings=self._settings) as offsets:
            low, ends = offsets.low(), offsets.held_at(until)
        spans = {partition: Span(max(offset, low[partition]), ends[partition]) for partition, offset in first.items()}
        for message in self._reader.records(spans):
            headers = dict(message.headers() or [])
            replay = _uuid(headers.get(REPLAY_ID))
            if replay is not None and replay in ids and replay not in found:
                found[replay] = (message.offset(), append_time(message))
        return found

    def headers_of(self, letter: LetterId) -> Headers | None:
        """The headers of a letter's record; None where Kafka no longer holds it.

        Raises:
            KafkaUnavailableError, UnknownTopicError
        """
        if self._of != self._topic:
            return None
        with TopicOffsets.connect(self._topic, settings=self._settings) as offsets:
            low, ends = offsets.low(), offsets.end()
        if not low.get(letter.partition, 0) <= letter.offset < ends.get(letter.partition, 0):
            return None
        span = {letter.partition: Span(letter.offset, letter.offset + 1)}
        return next((message.headers() or [] for message in self._reader.records(span)), None)


def _uuid(text: bytes | None) -> UUID | None:
    try:
        return UUID((text or b"").decode())
    except ValueError:
        return None

"""What Kafka says: what the topic holds, how far the sink has come, and whether there is a record at an offset."""

from __future__ import annotations

from datetime import datetime

from etar.instants import from_milliseconds
from etar.kafka.offsets import TopicOffsets
from etar.kafka.records import KafkaRecords
from etar.settings import KafkaSettings
from etar.streams import Stream
from etar.trace.facts import TopicFacts

_TIMEOUT_SECONDS = 8.0


def topic_facts(settings: KafkaSettings, stream: Stream) -> TopicFacts:
    """What the topic holds now.

    Raises:
        KafkaUnavailableError, UnknownTopicError
    """
    with TopicOffsets.connect(stream.topic, settings=settings, timeout=_TIMEOUT_SECONDS) as offsets:
        # What the sink has come to is asked first: it is never more than what was there by then.
        committed = offsets.committed(stream.sink_group)
        return TopicFacts(
            low=offsets.low(),
            end=offsets.end(),
            committed=committed,
            retention_ms=int(offsets.settings().get("retention.ms", -1)),
        )


def taken_at(settings: KafkaSettings, stream: Stream, partition: int, offset: int) -> datetime | None:
    """When Kafka took the record at this offset; None where readers get none.

    Raises:
        KafkaUnavailableError: no answer; also while a transaction is open that the offset lies in.
    """
    with KafkaRecords(stream.topic, settings, timeout=_TIMEOUT_SECONDS) as records:
        for batch in records.read(partition, [offset]):
            return from_milliseconds(batch[0].appended_ms)
    return None

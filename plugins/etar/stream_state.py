"""How a stream stands at this moment: how far sink and auditor are, and what keeps them, or could cost records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from etar.audit.marks import not_the_audited_topic
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError, behind
from etar.kafka.standstill import LONG_WAIT, standstills
from etar.kafka.topic_settings import topic_faults
from etar.settings import KafkaSettings, ReportStoreSettings, RetentionSettings
from etar.streams import Stream
from etar.verify.books import Books
from etar.verify.facts import PlaceUnavailableError

_KAFKA_SECONDS = 5.0

AUDIT_BEHIND = timedelta(minutes=15)
"""The audit comes every minute, and waits for the sink."""


@dataclass(frozen=True)
class StreamState:
    """Of one stream. Something is wrong with it when it has ``faults``; ``warnings`` are for a person to know.

    Args:
        behind: records that the sink has still to take; None where Kafka could not be asked.
        audited_through: all that arrived before has been audited; None where nothing has.
    """

    stream: str
    behind: int | None = None
    audited_through: datetime | None = None
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def stream_state(
    stream: Stream,
    *,
    kafka: KafkaSettings,
    store: ReportStoreSettings,
    retention: RetentionSettings,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> StreamState:
    """Ask Kafka and the audit's books. A place that does not answer is a fault, and never an error."""
    try:
        with TopicOffsets.connect(stream.topic, settings=kafka, timeout=_KAFKA_SECONDS) as offsets:
            state, topic_id = _as_kafka_says(stream, offsets, retention, now()), offsets.topic_id()
    except (KafkaUnavailableError, UnknownTopicError) as error:
        return StreamState(stream.name, faults=(str(error),))
    try:
        with Books(store, stream) as books:
            audited, through = books.audited_topic(), books.audited_through()
    except PlaceUnavailableError as error:
        return replace(state, faults=(*state.faults, str(error)))
    faults, warnings = list(state.faults), list(state.warnings)
    if audited not in (None, topic_id):
        faults.append(not_the_audited_topic(stream.topic, audited=audited, found=topic_id))
    if through and now() - through > AUDIT_BEHIND:
        warnings.append(
            f"the audit has come to {through:%Y-%m-%dT%H:%M:%SZ}; what keeps it is in the log of its last run: "
            "`airflow dags list-runs etar_audit`"
        )
    return replace(state, audited_through=through, faults=tuple(faults), warnings=tuple(warnings))


def _as_kafka_says(stream: Stream, offsets: TopicOffsets, retention: RetentionSettings, now: datetime) -> StreamState:
    faults: list[str] = []
    warnings: list[str] = []
    for fault in topic_faults(offsets.settings(), needed=retention.retention):
        (faults if fault.refused else warnings).append(fault.told_of(stream.topic))
    for standing in standstills(offsets, stream.sink_group, offsets.held_at(now - LONG_WAIT)):
        (warnings if standing.heals else faults).append(f"the sink is behind in {standing}")
    waiting = behind(offsets.end(), offsets.committed(stream.sink_group))
    return StreamState(stream.name, sum(waiting.values()), None, tuple(faults), tuple(warnings))

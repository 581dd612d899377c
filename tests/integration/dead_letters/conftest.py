"""An office for the dead letters of each test's own topic, on the session's real parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from etar.clients import report_store_connection
from etar.dead_letter_office.office import Office, open_office
from etar.dead_letters.letters import LetterId
from etar.settings import RegistrySettings, ReportStoreSettings, get_settings
from etar.streams import Stream, default_stream
from producer.kinds import Draft, Kind
from producer.wire import open_encoding
from tests.integration.connect.conftest import (
    PARTITIONS,
    Lane,
    lane,  # noqa: F401  (a fixture)
    new_lane,  # noqa: F401  (a fixture)
    now_ms,
)
from tests.unit.records.events import event
from tests.user_events import UserEvent

PARTITION_OF_LETTERS = 2


class LaneStream(Stream):
    """A stream of a topic of its own, in the table of all."""

    @property
    def table(self) -> str:
        return "user_interactions"


def a_user_event(number: int, *, at: int) -> UserEvent:
    plain = event(number, event_time=at)
    for name in ("event_id", "user_id", "session_id"):
        plain[name] = UUID(plain[name])
    return UserEvent(**plain)


@dataclass
class Desk:
    """One lane with letters, and what a person does about them."""

    lane: Lane
    registry: RegistrySettings
    report_store: ReportStoreSettings
    said: list[str] = field(default_factory=list)

    @property
    def stream(self) -> Stream:
        return LaneStream(self.lane.topic)

    def office(self, command: str = "a test") -> AbstractContextManager[Office]:
        return open_office(self.stream, command=command, say=self.said.append)

    def consume(self) -> None:
        """Let the real sink take all that the topic holds."""
        if not self.lane.sinks:
            self.lane.sink().start()
        self.lane.settle(self.lane.sinks[0])

    def one_of_each_kind(self, *, first: int = 0) -> dict[LetterId, tuple[Kind, UserEvent]]:
        """Send one malformed record of every kind that the producer can make; where each stands, and its event."""
        encoding = open_encoding(self.registry, default_stream(), self.lane.topic)
        now = now_ms()
        sent, values = {}, []
        for place, kind in enumerate(encoding.malformed):
            whole = a_user_event(first + place, at=now)
            wrong = {Kind.TIME_FAR_AHEAD: now * 1000, Kind.TIME_FAR_BEHIND: now // 1000}.get(kind, now)
            values.append(encoding.value_of(Draft(kind, whole._replace(event_time=wrong), wrong)))
            sent[LetterId(PARTITION_OF_LETTERS, first + place)] = (kind, whole)
        self.lane.produce(values, partition=PARTITION_OF_LETTERS)
        return sent

    def records(self) -> list[Message]:
        """Everything that the topic holds now."""
        found: list[Message] = []
        consumer = Consumer({"bootstrap.servers": self.lane.kafka.bootstrap_servers, "group.id": "none"})
        try:
            places = [TopicPartition(self.lane.topic, partition, 0) for partition in range(PARTITIONS)]
            left = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
            consumer.assign(places)
            while len(found) < left:
                batch = consumer.consume(left - len(found), timeout=10)
                assert batch, f"only {len(found)} of {left} records came"
                found += batch
        finally:
            consumer.close()
        return found

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask PostgreSQL."""
        with report_store_connection(self.report_store) as connection:
            return connection.execute(statement, parameters).fetchall()

    def rows(self) -> tuple[int, int]:
        """Rows of this lane, and distinct events among them."""
        ((rows, events),) = self.lane.rows("count(), uniqExact(event_id)")
        return rows, events


@pytest.fixture
def new_desk(
    new_lane: Callable[..., Lane],  # noqa: F811
    registry: RegistrySettings,
    report_store: ReportStoreSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Callable[..., Desk]]:
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", "2026-01-01T00:00Z")
    monkeypatch.setenv("ETAR_DEAD_LETTERS_SEND_SECONDS", "4")
    get_settings.cache_clear()
    yield lambda: Desk(new_lane(), registry, report_store)
    get_settings.cache_clear()


@pytest.fixture
def desk(new_desk: Callable[..., Desk]) -> Desk:
    return new_desk()

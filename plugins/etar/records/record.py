"""A record as Kafka held it, and what becomes of it: a row of the table, or a dead letter. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from etar.dead_letters import DeadLetter, Reason
from etar.instants import from_milliseconds

if TYPE_CHECKING:
    from confluent_kafka import Message

Headers = Sequence[tuple[str, bytes | None]]

_DETAIL_CHARACTERS = 1_000


class Record(NamedTuple):
    """A record as Kafka held it. ``appended_ms``: the broker's append time in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @classmethod
    def of(cls, message: Message) -> Record:
        _, appended_ms = message.timestamp()
        return cls(
            message.topic(),
            message.partition(),
            message.offset(),
            appended_ms,
            message.key(),
            message.value(),
            message.headers() or (),
        )

    def dead(self, reason: Reason, detail: str) -> DeadLetter:
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            appended=from_milliseconds(self.appended_ms),
            reason=reason,
            detail=detail[:_DETAIL_CHARACTERS],
            key=self.key,
            value=self.value,
        )


class Row(NamedTuple):
    """A record that fits the table: one value per :attr:`TableLayout.fields`, in their order, as Arrow takes them."""

    record: Record
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Unreadable:
    """A schema id under which no record can become a row."""

    reason: Reason
    detail: str


class BadRecordError(ValueError):
    """A record that cannot become a row, and why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

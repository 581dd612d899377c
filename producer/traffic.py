"""What goes wrong on the way: duplicates and malformed records among the events, by seeded chance. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import NamedTuple, Protocol

from producer.shop import EventFactory
from producer.user_event import UserEvent

_RETRY_MS = 1000
"""How soon a client repeats an event it believes lost: duplicates follow their original within this time."""
_MONTH_MS = 30 * 24 * 3600 * 1000

NO_SUCH_SCHEMA_ID = 2**31 - 1
"""A schema id that no registry hands out before two thousand million schemas."""


class Kind(StrEnum):
    """What a record is. All but the first three are malformed: no sink may make a row of them."""

    EVENT = "event"
    LATE = "late"
    """Happened noticeably before it is sent."""
    DUPLICATE = "duplicate"
    """The same event as one before, sent again."""
    NOT_AVRO = "not_avro"
    UNKNOWN_SCHEMA_ID = "unknown_schema_id"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    NULL_VALUE = "null_value"
    EMPTY_VALUE = "empty_value"
    TIME_FAR_AHEAD = "time_far_ahead"
    TIME_FAR_BEHIND = "time_far_behind"

    @property
    def malformed(self) -> bool:
        return self not in (Kind.EVENT, Kind.LATE, Kind.DUPLICATE)


MALFORMED = tuple(kind for kind in Kind if kind.malformed)


class Counted(Protocol):
    """A record as it is counted and logged."""

    @property
    def kind(self) -> Kind: ...

    @property
    def event_time(self) -> int:
        """Milliseconds since the epoch."""

    @property
    def event(self) -> UserEvent: ...


class Draft(NamedTuple):
    """A record before it is encoded. ``event`` is what a malformed record would have been."""

    kind: Kind
    event: UserEvent

    @property
    def event_time(self) -> int:
        return self.event.event_time


class Traffic:
    """Events of a factory with a share of them replaced by duplicates and malformed records.

    Args:
        duplicates: share of records that repeat an event of the last second, 0 to 1; none where there was none.
        malformed: share of records that are malformed, each kind equally often, 0 to 1.
    """

    def __init__(
        self, factory: EventFactory, *, seed: int, worker: int = 0, duplicates: float = 0.0, malformed: float = 0.0
    ) -> None:
        # Its own sequence of chance: turning faults on does not change which visits happen.
        self._random = Random(f"{seed}/{worker}/faults")
        self._factory = factory
        self._duplicates = duplicates
        self._faults = duplicates + malformed
        self._recent: deque[tuple[int, UserEvent]] = deque()

    def next(self, at: int) -> Draft:
        """The record for the instant ``at``, in milliseconds since the epoch."""
        chance = self._random.random()
        while self._recent and self._recent[0][0] < at - _RETRY_MS:
            self._recent.popleft()
        if chance < self._duplicates and self._recent:
            return Draft(Kind.DUPLICATE, self._random.choice(self._recent)[1])
        event = self._factory.next(at)
        if self._duplicates <= chance < self._faults:
            return self._malform(event, at)
        self._recent.append((at, event))
        return Draft(Kind.LATE if event.event_time < at else Kind.EVENT, event)

    def _malform(self, event: UserEvent, at: int) -> Draft:
        kind = self._random.choice(MALFORMED)
        # The mistakes that clients make: another unit of time (which no calendar may hold), or a clock that is off.
        if kind is Kind.TIME_FAR_AHEAD:
            event = event._replace(event_time=self._random.choice((at * 1000, at + _MONTH_MS)))
        if kind is Kind.TIME_FAR_BEHIND:
            event = event._replace(event_time=self._random.choice((at // 1000, at - _MONTH_MS)))
        return Draft(kind, event)


def encode(draft: Draft, serialize: Callable[[UserEvent], bytes]) -> bytes | None:
    """The record's value. ``serialize`` gives Confluent's wire format: magic byte 0, 4-byte schema id, Avro."""
    value: bytes | None
    match draft.kind:
        case Kind.NULL_VALUE:
            value = None
        case Kind.EMPTY_VALUE:
            value = b""
        case Kind.NOT_AVRO:
            value = f'{{"event_id": "{draft.event.event_id}"}}'.encode()
        case Kind.UNKNOWN_SCHEMA_ID:
            value = b"\x00" + NO_SUCH_SCHEMA_ID.to_bytes(4, "big") + serialize(draft.event)[5:]
        case Kind.TRUNCATED:
            whole = serialize(draft.event)
            value = whole[: 5 + (len(whole) - 5) // 2]
        case Kind.TRAILING_BYTES:
            value = serialize(draft.event) + b"\x00trailing"
        case _:
            value = serialize(draft.event)
    return value

"""Settling against a clock that only moves when it is slept on, and a sink that commits by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from etar.errors import PermanentError, TransientError
from etar.kafka.standstill import Standstill
from etar.minute import MinuteWindow
from etar.pipeline.settle import MinuteNotOverError, NotSettledError, wait_until_settled
from etar.streams import Stream

WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))
GRACE = timedelta(seconds=2)
TIMEOUT = timedelta(seconds=30)
OVER = WINDOW.end + GRACE
HELD = {0: 100, 1: 0, 2: 50}


@dataclass
class Clock:
    """``longest``: a sleep ends after so many seconds, though more were asked for."""

    now: datetime
    slept: list[float] = field(default_factory=list)
    longest: float = math.inf

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += timedelta(seconds=min(seconds, self.longest))


@dataclass
class Kafka:
    """Offsets of a topic whose sink commits ``committed_by(now)``."""

    clock: Clock
    committed_by: Callable[[datetime], dict[int, int]]
    asked_at: list[tuple[datetime, datetime]] = field(default_factory=list)

    def held_at(self, instant: datetime) -> dict[int, int]:
        self.asked_at.append((instant, self.clock.now))
        return HELD

    def committed(self, group: str) -> dict[int, int]:
        assert group == "connect-payments_sink"
        return self.committed_by(self.clock.now)


def settle(clock: Clock, kafka: Kafka) -> dict[int, int]:
    return wait_until_settled(
        WINDOW,
        offsets=kafka,
        stream=Stream("payments"),
        grace=GRACE,
        timeout=TIMEOUT,
        now=lambda: clock.now,
        sleep=clock.sleep,
        why_behind=lambda target: [Standstill(2, 20, target[2], WINDOW.start, "nobody reads it")],
    )


@pytest.mark.parametrize("early", [timedelta(0), timedelta(milliseconds=1), GRACE, timedelta(seconds=20)])
def test_kafka_is_asked_only_once_the_grace_is_over(early: timedelta) -> None:
    clock = Clock(OVER - early)
    kafka = Kafka(clock, lambda _: HELD)
    assert settle(clock, kafka) == HELD
    assert kafka.asked_at == [(OVER, OVER)]


def test_a_sleep_that_ends_early_is_gone_on_with() -> None:
    clock = Clock(OVER - timedelta(seconds=20), longest=8)
    kafka = Kafka(clock, lambda _: HELD)
    assert settle(clock, kafka) == HELD
    assert kafka.asked_at == [(OVER, OVER)]


def test_a_long_past_minute_waits_for_nothing() -> None:
    clock = Clock(OVER + timedelta(days=1))
    assert settle(clock, Kafka(clock, lambda _: {0: 900, 1: 7, 2: 50})) == HELD
    assert clock.slept == []


def test_every_partition_is_waited_for_and_the_target_does_not_move() -> None:
    clock = Clock(OVER)
    first, then = OVER + timedelta(seconds=5), OVER + timedelta(seconds=9)
    kafka = Kafka(clock, lambda now: {0: 100 if now >= first else 99, 1: 0, 2: 50 if now >= then else 0})
    assert settle(clock, kafka) == HELD
    assert then <= clock.now < then + timedelta(seconds=1)
    assert len(kafka.asked_at) == 1


def test_a_sink_that_stays_behind_is_named_partition_by_partition() -> None:
    clock = Clock(OVER)
    with pytest.raises(NotSettledError) as behind:
        settle(clock, Kafka(clock, lambda _: {0: 100, 2: 20}))
    assert isinstance(behind.value, TransientError)
    assert "2026-11-21T10:31Z" in str(behind.value)
    assert "30 records behind" in str(behind.value)
    assert "partition 2 at 20 of 50, since 2026-11-21T10:31:00Z: nobody reads it." in str(behind.value)
    assert OVER + TIMEOUT <= clock.now < OVER + TIMEOUT + timedelta(seconds=1)


def test_a_commit_at_the_last_look_still_counts() -> None:
    clock = Clock(OVER)
    assert settle(clock, Kafka(clock, lambda now: HELD if now >= OVER + TIMEOUT else {})) == HELD


@pytest.mark.parametrize(
    ("ahead", "waits"), [(TIMEOUT, True), (TIMEOUT + timedelta(milliseconds=1), False), (timedelta(days=3), False)]
)
def test_a_minute_far_ahead_is_refused_instead_of_waited_for(ahead: timedelta, waits: bool) -> None:
    clock = Clock(OVER - ahead)
    kafka = Kafka(clock, lambda _: HELD)
    if waits:
        assert settle(clock, kafka) == HELD
    else:
        with pytest.raises(MinuteNotOverError, match="run it when it is over") as refused:
            settle(clock, kafka)
        assert isinstance(refused.value, PermanentError)
        assert clock.slept == []

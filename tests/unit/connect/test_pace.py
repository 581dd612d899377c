"""How long the sink collects a batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connect.native_sink.pace import Pace

MINUTE = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
GRACE = timedelta(seconds=2)
OVER = GRACE + timedelta(seconds=0.55)
"""After a minute's end, when what Kafka held after the grace is here."""


class Clock:
    """Stands still between two batches: each takes as long as it may."""

    def __init__(self, second: float) -> None:
        self.now = MINUTE + timedelta(seconds=second)

    def __call__(self) -> datetime:
        return self.now

    def collect(self, pace: Pace, records: int) -> float:
        seconds = pace.seconds()
        self.now += timedelta(seconds=seconds)
        pace.collected(records)
        return seconds


def test_batches_of_a_stream_that_flows_grow_to_the_longest_and_end_when_a_minute_is_over() -> None:
    clock = Clock(2.55)
    pace = Pace(longest=10, grace=GRACE, now=clock)
    flowing = [clock.collect(pace, 100) for _ in range(9)]
    assert flowing == pytest.approx([1, 2, 4, 8, 10, 10, 10, 10, 5])
    assert clock.now == MINUTE + timedelta(minutes=1) + OVER
    assert clock.collect(pace, 100) == 1, "what comes late of the minute is not kept waiting"


def test_after_a_pause_a_batch_is_stored_soon() -> None:
    clock = Clock(10)
    pace = Pace(longest=10, grace=GRACE, now=clock)
    assert [clock.collect(pace, records) for records in (0, 0, 5, 5, 0, 5, 5)] == [1, 1, 1, 2, 4, 1, 2]


@pytest.mark.parametrize("second", [0.0, 2.549, 2.55, 2.551, 30.0, 59.999])
@pytest.mark.parametrize("grace", [0.0, 2.0, 59.9, 60.0, 90.0])
def test_no_batch_is_collected_over_the_moment_when_a_minute_and_the_grace_have_passed(
    second: float, grace: float
) -> None:
    clock = Clock(second)
    pace = Pace(longest=60, grace=timedelta(seconds=grace), now=clock)
    ends = set()
    for _ in range(40):
        assert 0 < clock.collect(pace, 1) <= 60
        ends.add(clock.now)
    over = MINUTE + timedelta(seconds=grace + 0.55)
    moments = {over + timedelta(minutes=number) for number in range(-3, 60)}
    assert {moment for moment in moments if MINUTE + timedelta(seconds=second) < moment <= max(ends)} <= ends


def test_a_setting_below_a_second_is_kept_to() -> None:
    clock = Clock(10)
    pace = Pace(longest=0.2, grace=GRACE, now=clock)
    assert [clock.collect(pace, records) for records in (0, 5, 5)] == [0.2, 0.2, 0.2]

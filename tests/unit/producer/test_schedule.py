"""When records are due, against a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from producer.schedule import Clock, Schedule, due

START = 1_763_717_460_000


class FakeClock:
    """Moves only when waited on; remembers the waits."""

    def __init__(self, at: int = START) -> None:
        self.at = float(at)
        self.waits: list[float] = []

    def now(self) -> int:
        return int(self.at)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds * 1000


def instants_of(
    schedule: Schedule,
    clock: Clock,
    *,
    wait: Callable[[float], object],
    stopping: Callable[[], bool] = lambda: False,
    most: int = 1000,
) -> Iterator[int]:
    for instants in due(schedule, clock, linger=5, wait=wait, stopping=stopping, most=most):
        assert 0 < len(instants) <= most
        yield from instants.tolist()


def run(schedule: Schedule, clock: FakeClock) -> list[int]:
    return list(instants_of(schedule, clock, wait=clock.wait))


def test_a_run_has_all_its_records_inside_its_duration() -> None:
    clock = FakeClock()
    instants = run(Schedule(START, rate=30, total=5400), clock)
    assert len(instants) == 5400
    assert instants[0] == START
    assert instants[1800] == START + 60_000, "the second minute begins with its first record"
    assert instants[1799] < START + 60_000
    assert instants[-1] < START + 180_000
    assert clock.now() - instants[-1] <= 50


@pytest.mark.parametrize("rate", [0.1, 1, 3, 7, 99.5, 1000, 33_333])
def test_no_drift_however_long_it_runs(rate: float) -> None:
    schedule = Schedule(START, rate)
    for number in (0, 1, 10**6, 10**9):
        assert schedule.instant(number) - START == pytest.approx(number * 1000 / rate, abs=1)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [0, 1, 6, 100])
def test_workers_share_a_run_without_gap_or_overlap(workers: int, total: int) -> None:
    parts = [Schedule(START, 10, worker, workers, total) for worker in range(workers)]
    together = sorted(instant for part in parts for instant in run(part, FakeClock(START + 10**9)))
    assert together == [Schedule(START, 10).instant(number) for number in range(total)]
    assert [part.share for part in parts] == [len(run(part, FakeClock(START + 10**9))) for part in parts]


@pytest.mark.parametrize("made", [0, 1, 5, 20])
def test_one_that_goes_on_for_another_makes_exactly_what_is_left(made: int) -> None:
    def instants(made: int) -> list[int]:
        return run(Schedule(START, 10, worker=1, workers=3, total=60, made=made), FakeClock(START + 10**9))

    assert instants(made) == instants(0)[made:]


def test_one_without_end_goes_on_where_the_other_was() -> None:
    records = instants_of(Schedule(START, 10, made=7), FakeClock(START + 10**9), wait=lambda _: None)
    assert next(records) == Schedule(START, 10).instant(7)


def test_nothing_is_due_before_its_time() -> None:
    clock = FakeClock(START - 1000)
    for instant in islice(instants_of(Schedule(START, 100), clock, wait=clock.wait), 50):
        assert instant <= clock.now()
    assert clock.waits


def test_at_its_time_exactly_a_record_is_due() -> None:
    clock = FakeClock(START)
    assert next(instants_of(Schedule(START, 1), clock, wait=clock.wait)) == START
    assert clock.waits == []


def test_what_came_while_the_caller_was_busy_follows_without_a_wait() -> None:
    clock = FakeClock()
    records = instants_of(Schedule(START, 100), clock, wait=clock.wait)
    next(records)
    clock.at += 5000
    caught_up = list(islice(records, 500))
    assert clock.waits == []
    assert caught_up[-1] == START + 5000
    next(records)
    assert clock.waits


def test_a_clock_that_is_set_back_only_makes_it_wait() -> None:
    clock = FakeClock()
    records = instants_of(Schedule(START, 10), clock, wait=clock.wait)
    before = list(islice(records, 10))
    clock.at -= 3000
    after = list(islice(records, 10))
    assert before + after == [START + number * 100 for number in range(20)]


def test_a_stop_ends_it_while_it_waits_and_while_it_is_behind() -> None:
    clock = FakeClock()
    stopped = False

    def wait(seconds: float) -> None:
        nonlocal stopped
        stopped = True

    assert list(instants_of(Schedule(START + 10_000, 1), clock, wait=wait, stopping=lambda: stopped)) == []
    assert list(instants_of(Schedule(START - 10_000, 1), clock, wait=wait, stopping=lambda: True)) == []


@pytest.mark.parametrize(
    ("rate", "linger", "pause"),
    [(20_000, 5, 0.1), (5_001, 5, 0.1), (2_500, 5, 0.2), (100, 5, 5), (0.3, 5, 5), (100, 0.5, 0.5), (2_500, 0.1, 0.1)],
)
def test_a_block_is_of_some_records_and_no_wait_is_busy_or_deaf_to_a_stop(
    rate: float, linger: float, pause: float
) -> None:
    clock = FakeClock(START + 1000)
    blocks = due(
        Schedule(START + 1000, rate), clock, linger=linger, wait=clock.wait, stopping=lambda: False, most=10_000
    )
    next(blocks)
    began = clock.at
    next(blocks)
    assert clock.at - began == pytest.approx(1000 * pause, abs=2)
    assert 0 < max(clock.waits) <= 0.5
    assert len(clock.waits) == pytest.approx(max(1, pause / 0.5), abs=1)


@pytest.mark.parametrize("rate", [0.7, 7, 100, 999])
def test_a_minutes_last_records_leave_when_it_ends(rate: float) -> None:
    begin = START + 3210
    clock = FakeClock(begin)
    sent: list[tuple[int, float]] = []
    for instants in due(Schedule(begin, rate), clock, linger=5, wait=clock.wait, stopping=lambda: False, most=10_000):
        sent += [(instant, clock.at) for instant in instants.tolist()]
        if clock.at > START + 180_000:
            break
    for end in (START + 60_000, START + 120_000, START + 180_000):
        assert max(at for instant, at in sent if instant < end) <= end + 2


def test_a_runs_last_records_do_not_wait_for_more() -> None:
    clock = FakeClock()
    instants = run(Schedule(START, rate=10, total=61), clock)
    assert clock.now() - instants[-1] <= 2


def test_a_stop_is_noticed_between_two_blocks() -> None:
    clock = FakeClock()
    records = instants_of(Schedule(START, 10), clock, wait=clock.wait, stopping=lambda: bool(clock.waits))
    assert list(records) == [START]
    assert len(clock.waits) == 1


@pytest.mark.parametrize("rate", [0.3, 7, 1000, 33_333, 9_999_999])
@pytest.mark.parametrize("most", [1, 100])
def test_all_that_have_come_follow_at_once_as_many_at_a_time_as_are_taken(rate: float, most: int) -> None:
    schedule, clock = Schedule(START, rate, worker=1, workers=3), FakeClock(START + 10_000)
    records = due(schedule, clock, linger=5, wait=clock.wait, stopping=lambda: False, most=most)
    come = sum(schedule.instant(number) <= clock.now() for number in range(5 * most))
    found: list[int] = []
    while len(found) < come:
        found += next(records).tolist()
    assert clock.waits == []
    assert found[:come] == [schedule.instant(number) for number in range(come)]

"""Which minutes are reported again, which are left alone, and which of them come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etar.ledger import LedgerEntry, State
from etar.minute import MINUTE, MinuteWindow, NotOneMinuteError
from etar.pipeline.affected import (
    Affected,
    Cause,
    MinuteFacts,
    ReportCounts,
    TooManyMinutesError,
    UnreportableMinuteError,
    affected,
    batch,
    has_to_be_reported,
    named,
    span,
)
from etar.settings import PipelineSettings, ReconcileSettings

NOW = datetime(2026, 11, 21, 10, 35, 35, tzinfo=UTC)
WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))
TICK = timedelta(microseconds=1)
POLICY = ReconcileSettings(batch_minutes=15, allowance_seconds=90, stale_seconds=300)


def pipeline(start_date: datetime) -> PipelineSettings:
    return PipelineSettings(start_date=start_date, retention_hours=26)


DEPLOYED_LONG_AGO = pipeline(datetime(2026, 1, 1, tzinfo=UTC))


def entry(state: State = State.REPORTED, **changes: Any) -> LedgerEntry:
    """The row of a minute of ten records, two of them the same event, at revision 1."""
    counts = {"received": 10, "unique_events": 9, "duplicates": 1, "late_events": 0, "dead_letters": 3, "revision": 1}
    row = dict.fromkeys(LedgerEntry.model_fields) | counts
    row |= {"stream": "user_interactions", "minute": WINDOW.start, "state": state, "stages": {}, "updated_at": NOW}
    row |= {"run_id": "etar_pipeline/run", "error": "gone" if state is State.FAILED else None}
    return LedgerEntry.model_validate(row | changes)


RIGHT = MinuteFacts(WINDOW, entry(), ReportCounts(revision=1, rows_read=10, total_events=9), rows=10, dead_letters=3)


def only(facts: MinuteFacts, *, now: datetime = NOW) -> Affected | None:
    found = affected([facts], now=now, pipeline=DEPLOYED_LONG_AGO, policy=POLICY)
    return found[0] if found else None


def cause(facts: MinuteFacts, *, now: datetime = NOW) -> Cause | None:
    found = only(facts, now=now)
    return found.cause if found else None


def test_a_minute_on_which_all_agree_is_left_alone() -> None:
    assert only(RIGHT) is None


def test_an_empty_minute_with_its_zero_report_is_left_alone() -> None:
    empty = entry(received=0, unique_events=0, duplicates=0, dead_letters=0)
    assert only(MinuteFacts(WINDOW, empty, ReportCounts(1, 0, 0), rows=0, dead_letters=0)) is None


@pytest.mark.parametrize(
    ("facts", "expected", "says"),
    [
        (replace(RIGHT, rows=11), Cause.LATE, "1 rows more than the 10"),
        (replace(RIGHT, rows=9), Cause.DISAGREES, "the table has 9 rows"),
        (replace(RIGHT, dead_letters=2), Cause.DISAGREES, "2 dead letters, the ledger says 3"),
        (replace(RIGHT, report=None), Cause.MISSING, "revision 1, but there is no report"),
        (replace(RIGHT, report=ReportCounts(2, 10, 9)), Cause.DISAGREES, "revision 2 with 9 events from 10 rows"),
        (replace(RIGHT, report=ReportCounts(1, 12, 9)), Cause.DISAGREES, "from 12 rows"),
        (replace(RIGHT, report=ReportCounts(1, 10, 8)), Cause.DISAGREES, "8 events"),
        (replace(RIGHT, entry=entry(State.FAILED)), Cause.FAILED, "etar_pipeline/run: gone"),
    ],
)
def test_each_cause_is_found_and_said(facts: MinuteFacts, expected: Cause, says: str) -> None:
    found = only(facts)
    assert found is not None
    assert (found.window, found.cause, found.tried) == (WINDOW, expected, NOW)
    assert says in found.detail


@pytest.mark.parametrize(
    ("after_the_end", "expected"),
    [
        (timedelta(0), None),
        (POLICY.allowance - TICK, None),
        (POLICY.allowance, Cause.MISSING),
        (POLICY.allowance + TICK, Cause.MISSING),
        (timedelta(hours=20), Cause.MISSING),
    ],
)
def test_a_minute_without_a_row_is_missing_once_its_own_run_had_its_time(
    after_the_end: timedelta, expected: Cause | None
) -> None:
    unknown = MinuteFacts(WINDOW, None, None, rows=10, dead_letters=0)
    assert cause(unknown, now=WINDOW.end + after_the_end) == expected


@pytest.mark.parametrize("state", [State.OPEN, State.SETTLED, State.EXTRACTED, State.ANALYSED])
@pytest.mark.parametrize(
    ("silent_for", "expected"),
    [(timedelta(0), None), (POLICY.stale - TICK, None), (POLICY.stale, Cause.STALE), (POLICY.stale * 2, Cause.STALE)],
)
def test_a_run_at_work_has_the_minute_until_it_is_silent_for_long(
    state: State, silent_for: timedelta, expected: Cause | None
) -> None:
    at_work = replace(RIGHT, entry=entry(state, updated_at=NOW - silent_for), rows=11, report=None)
    assert cause(at_work) == expected


def test_late_rows_of_a_reported_minute_wait_for_nothing() -> None:
    assert cause(replace(RIGHT, rows=11), now=WINDOW.end + timedelta(seconds=5)) is Cause.LATE


def test_the_oldest_comes_first() -> None:
    windows = [MinuteWindow(WINDOW.start - number * MINUTE) for number in (0, 3, 1, 2)]
    facts = [MinuteFacts(window, None, None, 0, 0) for window in windows]
    found = affected(facts, now=NOW, pipeline=DEPLOYED_LONG_AGO, policy=POLICY)
    assert [each.window for each in found] == sorted(windows)


@pytest.mark.parametrize(
    ("deployed", "of_this_deployment"),
    [(WINDOW.start - TICK, True), (WINDOW.start, True), (WINDOW.start + TICK, False), (WINDOW.end, False)],
)
def test_an_empty_minute_has_to_be_reported_from_the_first_whole_one_of_the_deployment_on(
    deployed: datetime, of_this_deployment: bool
) -> None:
    assert has_to_be_reported(WINDOW, pipeline(deployed), held=False) is of_this_deployment
    empty = MinuteFacts(WINDOW, None, None, rows=0, dead_letters=3)
    found = affected([empty], now=NOW, pipeline=pipeline(deployed), policy=POLICY)
    assert [each.cause for each in found] == ([Cause.MISSING] if of_this_deployment else [])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (MinuteFacts(WINDOW, None, None, rows=1, dead_letters=0), Cause.MISSING),
        (replace(RIGHT, rows=11), Cause.LATE),
        (replace(RIGHT, entry=entry(State.FAILED)), Cause.FAILED),
        (RIGHT, None),
    ],
)
def test_a_minute_before_the_deployment_is_reported_if_it_has_anything(
    facts: MinuteFacts, expected: Cause | None
) -> None:
    """Events may be a day old when they arrive, at a deployment of this minute too."""
    found = affected([facts], now=NOW, pipeline=pipeline(NOW), policy=POLICY)
    assert [each.cause for each in found] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("now", "first", "end"),
    [
        ("2026-11-21T10:35:00", "2026-11-20T08:40Z", "2026-11-21T10:35Z"),
        ("2026-11-21T10:35:00.000001", "2026-11-20T08:41Z", "2026-11-21T10:35Z"),
        ("2026-11-21T10:34:59.999999", "2026-11-20T08:40Z", "2026-11-21T10:34Z"),
    ],
)
def test_the_span_ends_with_the_last_minute_that_is_over_and_keeps_clear_of_what_expires(
    now: str, first: str, end: str
) -> None:
    """The retention of 26 h reaches back to 08:35 the day before; five minutes of it are too close to the end."""
    at = datetime.fromisoformat(f"{now}+00:00")
    for settings in (DEPLOYED_LONG_AGO, pipeline(at)):
        assert [str(window) for window in span(at, settings)] == [first, end]


def minutes(numbers: Iterable[int], *, tried: datetime | None = None) -> list[Affected]:
    return [Affected(MinuteWindow(WINDOW.start + number * MINUTE), Cause.MISSING, "", tried) for number in numbers]


def of_one(found: Iterable[Affected], limit: int, *, complete_before: datetime = WINDOW.start) -> list[Affected]:
    """The batch where there is one stream."""
    return batch({"only": found}, limit, complete_before=complete_before).get("only", [])


def numbers(taken: Iterable[Affected]) -> list[int]:
    return [(each.window.start - WINDOW.start) // MINUTE for each in taken]


def chosen(found: list[Affected], limit: int) -> list[int]:
    return numbers(of_one(found, limit))


def test_all_are_taken_when_there_is_room() -> None:
    assert chosen(minutes([2, 0, 1]), limit=3) == [0, 1, 2]
    assert chosen([], limit=3) == []


def test_a_batch_is_bounded_and_takes_the_oldest_and_a_third_of_the_newest() -> None:
    assert chosen(minutes(range(60)), limit=15) == [*range(10), *range(55, 60)]


def test_a_batch_of_one_is_the_oldest() -> None:
    assert chosen(minutes(range(60)), limit=1) == [0]


@pytest.mark.parametrize("limit", [1, 2, 3, 15])
def test_a_backlog_is_worked_off_in_its_order_however_many_are_new(limit: int) -> None:
    """Every batch takes the oldest minutes that are left, also when each run finds as many new ones as it can take."""
    backlog, newest, taken = minutes(range(30)), 1000, []
    for _ in range(30):
        arriving = minutes(range(newest, newest + limit), tried=NOW)
        newest += limit
        done = of_one([*backlog, *arriving], limit)
        taken += [each for each in done if each in backlog]
        backlog = [each for each in backlog if each not in done]
    assert backlog == []
    assert taken == minutes(range(30))


def test_the_newest_minute_is_in_every_batch_of_three_or_more() -> None:
    assert 999 in chosen([*minutes(range(60)), *minutes([999], tried=NOW)], limit=3)


def test_minutes_past_the_horizon_have_their_last_revision_before_others_have_another() -> None:
    """Number -1 ends where the horizon does. They were tried last, and still get a third of the room and no more."""
    past, others = minutes(range(-8, 0), tried=NOW), minutes(range(40), tried=NOW - MINUTE)
    assert chosen([*past, *others], limit=15) == [*range(-8, -3), *range(5), *range(35, 40)]
    assert chosen([*minutes([-1], tried=NOW), *others], limit=3) == [-1, 0, 39]
    assert chosen(minutes(range(-8, 0), tried=NOW), limit=15) == [*range(-8, 0)]


def test_with_late_events_for_a_whole_day_each_minute_has_its_last_revision_in_time() -> None:
    """Every minute up to the horizon of a day gets late events all the time; one has two hours from then on.

    A quarter of a day, with a quarter of the two hours, has the same proportions: its queue is as much longer than a
    minute has time for.
    """
    day, kept, now = 24 * 60 // 4, (26 * 60 - 5) // 4, NOW
    tried = {MinuteWindow(WINDOW.start - age * MINUTE): NOW for age in range(day)}
    unrevised = set(tried)
    for _ in range(kept):
        now += MINUTE
        horizon = now - day * MINUTE
        newest = MinuteWindow.containing(now).previous
        tried.setdefault(newest, now)
        unrevised |= {window for window in tried if window.end > horizon}
        found = [Affected(window, Cause.LATE, "", tried[window]) for window in sorted(unrevised)]
        for each in of_one(found, 15, complete_before=horizon):
            tried[each.window] = now
            unrevised.discard(each.window)
        assert all(window.start > now - kept * MINUTE for window in unrevised)


def test_minutes_that_fail_each_time_hold_up_no_other() -> None:
    """More of them than a batch has room, and older than all others: each still has its turn, and so has the rest."""
    poison, rest, now = minutes(range(30), tried=NOW), minutes(range(100, 130), tried=NOW + TICK), NOW
    tries = dict.fromkeys((each.window for each in poison), 0)
    for _ in range(20):
        now += MINUTE
        for each in of_one([*poison, *rest], 15):
            if each in rest:
                rest.remove(each)
            else:
                tries[each.window] += 1
                poison[poison.index(each)] = replace(each, tried=now)
    assert rest == []
    assert min(tries.values()) >= 3


def shared(found: dict[str, list[Affected]], limit: int, *, turn: int = 0) -> dict[str, list[int]]:
    taken = batch(found, limit, complete_before=WINDOW.start, turn=turn)
    return {name: numbers(of_stream) for name, of_stream in taken.items()}


def test_streams_share_a_batch_and_each_has_room_for_its_newest() -> None:
    backlog = minutes(range(60))
    assert shared({"a": backlog, "b": backlog, "c": backlog}, 15) == {
        "a": [0, 1, 2, 58, 59],
        "b": [0, 1, 2, 58, 59],
        "c": [0, 1, 2, 3, 59],
    }


def test_a_backlog_takes_what_other_streams_leave_and_no_more() -> None:
    backlog, late = minutes(range(60)), minutes([7], tried=NOW)
    assert shared({"a": backlog, "b": late, "c": []}, 15) == {"a": [*range(10), *range(56, 60)], "b": [7]}
    found = {"a": backlog, **{name: minutes(range(3), tried=NOW) for name in "bcde"}}
    assert shared(found, 15) == {"a": [0, 1, 59], **{name: [0, 1, 2] for name in "bcde"}}


def test_minutes_past_the_horizon_share_their_room_too() -> None:
    past = minutes(range(-8, 0), tried=NOW)
    found = {name: [*past, *minutes(range(40), tried=NOW - MINUTE)] for name in "ab"}
    assert shared(found, 12) == {"a": [-8, -7, 0, 1, 38, 39], "b": [-8, -7, 0, 1, 38, 39]}


def test_with_more_streams_than_room_each_has_its_turn() -> None:
    found = {name: minutes(range(5)) for name in "abcde"}
    taken = [shared(found, 2, turn=turn) for turn in range(5)]
    assert taken[3:] == [{"d": [0], "e": [0]}, {"e": [0], "a": [0]}]
    assert Counter(name for each in taken for name in each) == dict.fromkeys("abcde", 2)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 15])
def test_no_place_is_left_empty_and_none_is_given_twice(limit: int) -> None:
    found = {"a": minutes(range(4)), "b": minutes(range(-3, 0), tried=NOW), "c": minutes([9])}
    for turn in range(4):
        taken = batch(found, limit, complete_before=WINDOW.start, turn=turn)
        assert sum(map(len, taken.values())) == min(limit, 8)
        for name, of_stream in taken.items():
            assert len({each.window for each in of_stream}) == len(of_stream)
            assert of_stream == sorted(of_stream, key=lambda each: each.window)
            assert set(of_stream) <= set(found[name])


def test_named_minutes_are_each_taken_once_and_in_order() -> None:
    found = named(
        ["2026-11-21T10:33Z", "2026-11-21T10:31Z", "2026-11-21T11:33:00+01:00"],
        now=NOW,
        pipeline=pipeline(NOW),
        limit=2,
    )
    assert [(str(each.window), each.cause) for each in found] == [
        ("2026-11-21T10:31Z", Cause.NAMED),
        ("2026-11-21T10:33Z", Cause.NAMED),
    ]


@pytest.mark.parametrize(
    ("minute", "refused"),
    [
        ("2026-11-20T08:40Z", True),
        ("2026-11-20T08:41Z", False),
        ("2026-11-21T10:34Z", False),
        ("2026-11-21T10:35Z", True),
        ("2026-11-21T10:36Z", True),
    ],
)
def test_a_named_minute_must_be_over_and_kept(minute: str, refused: bool) -> None:
    if refused:
        with pytest.raises(UnreportableMinuteError, match=rf"cannot report {minute}.* from 2026-11-20T08:41Z"):
            named(["2026-11-21T10:31Z", minute], now=NOW, pipeline=pipeline(NOW), limit=15)
    else:
        assert len(named([minute], now=NOW, pipeline=pipeline(NOW), limit=15)) == 1


def test_a_persons_list_is_bounded_like_the_found_one() -> None:
    minutes = [str(MinuteWindow(WINDOW.start - number * MINUTE)) for number in range(16)]
    assert len(named(minutes[:15], now=NOW, pipeline=pipeline(NOW), limit=15)) == 15
    with pytest.raises(TooManyMinutesError, match="16 minutes were named, and a run takes at most 15"):
        named(minutes, now=NOW, pipeline=pipeline(NOW), limit=15)


def test_what_is_not_written_like_a_minute_is_refused() -> None:
    with pytest.raises(NotOneMinuteError, match="soon"):
        named(["soon"], now=NOW, pipeline=pipeline(NOW), limit=15)


def test_a_minute_travels_between_tasks_and_back() -> None:
    there = Affected(WINDOW, Cause.LATE, "2 rows more")
    assert Affected.from_xcom(there.as_xcom()) == there

"""How each minute of a day stands, at the instants where that changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from etar.ledger import State
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.pipeline.standing import Begun, Day, Standing, day_of, windows_of
from etar.settings import PipelineSettings, ReconcileSettings

DAY = date(2026, 11, 21)
WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
PLACE = 10 * 60 + 31
TICK = timedelta(microseconds=1)
PIPELINE = PipelineSettings(start_date=datetime(2026, 11, 1, tzinfo=UTC), retention_hours=26)
POLICY = ReconcileSettings(allowance_seconds=90, stale_seconds=300)
LONG_AFTER = WINDOW.end + timedelta(hours=12)
GONE_AT = WINDOW.start + timedelta(hours=26) - timedelta(minutes=5)
"""From the instant after on, etar_reconcile does not begin the minute any more."""


def row(state: State = State.REPORTED, window: MinuteWindow = WINDOW, **changes: Any) -> Begun:
    counts = {"revision": 1, "unique_events": 100, "dead_letters": 3} if state is State.REPORTED else {}
    fields: dict[str, Any] = dict.fromkeys(("revision", "unique_events", "dead_letters")) | counts
    fields |= {"minute": window.start, "state": state, "updated_at": window.end + timedelta(seconds=9)}
    return Begun(**(fields | changes))


def day(*rows: Begun, now: datetime, newest: MinuteWindow | None = None, pipeline: PipelineSettings = PIPELINE) -> Day:
    known = max((each.minute for each in rows), default=None)
    return day_of("a", DAY, rows, newest=newest.start if newest else known, now=now, pipeline=pipeline, policy=POLICY)


def standing(*rows: Begun, now: datetime, **other: Any) -> Standing:
    return day(*rows, now=now, **other).standings[PLACE]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (WINDOW.start - timedelta(hours=1), Standing.AHEAD),
        (WINDOW.end - TICK, Standing.AHEAD),
        (WINDOW.end, Standing.DUE),
        (WINDOW.end + timedelta(seconds=90) - TICK, Standing.DUE),
        (WINDOW.end + timedelta(seconds=90), Standing.OVERDUE),
        (GONE_AT, Standing.OVERDUE),
        (GONE_AT + TICK, Standing.UNKNOWN),
        (GONE_AT + timedelta(days=30), Standing.UNKNOWN),
    ],
)
def test_a_minute_that_no_run_has_begun(now: datetime, expected: Standing) -> None:
    assert standing(now=now) is expected
    assert standing(now=now, newest=WINDOW.previous) is expected


def test_it_is_missing_once_a_later_one_has_been_begun() -> None:
    assert standing(now=LONG_AFTER, newest=WINDOW.next) is Standing.MISSING
    assert standing(now=GONE_AT + TICK, newest=WINDOW.next) is Standing.UNKNOWN
    assert standing(now=WINDOW.end, newest=WINDOW.next) is Standing.DUE


def test_before_the_deployment_only_what_is_known_of_is_expected() -> None:
    later = PipelineSettings(start_date=WINDOW.end, retention_hours=26)

    assert standing(now=LONG_AFTER, pipeline=later, newest=WINDOW.next) is Standing.NOT_EXPECTED
    assert standing(now=GONE_AT + TICK, pipeline=later) is Standing.NOT_EXPECTED
    assert day(now=LONG_AFTER, pipeline=later).standings[PLACE + 1] is Standing.OVERDUE
    assert standing(row(), now=LONG_AFTER, pipeline=later) is Standing.REPORTED


@pytest.mark.parametrize("now", [WINDOW.end + timedelta(seconds=10), GONE_AT + timedelta(days=30)])
def test_a_report_stays_one(now: datetime) -> None:
    assert standing(row(), now=now) is Standing.REPORTED
    assert standing(row(revision=2), now=now) is Standing.REVISED


@pytest.mark.parametrize("state", [State.OPEN, State.SETTLED, State.EXTRACTED, State.ANALYSED])
def test_a_run_at_work_is_taken_for_dead_when_it_writes_nothing(state: State) -> None:
    begun = row(state, updated_at=WINDOW.end)

    assert standing(begun, now=WINDOW.end + timedelta(seconds=300) - TICK) is Standing.UNDER_WAY
    assert standing(begun, now=WINDOW.end + timedelta(seconds=300)) is Standing.STALLED
    assert standing(begun, now=GONE_AT) is Standing.STALLED
    assert standing(begun, now=GONE_AT + TICK) is Standing.GIVEN_UP
    assert standing(row(state, updated_at=GONE_AT), now=GONE_AT + TICK) is Standing.UNDER_WAY


@pytest.mark.parametrize("revision", [None, 2])
def test_what_failed_is_tried_again_until_its_rows_have_left_the_table(revision: int | None) -> None:
    failed = row(State.FAILED, revision=revision)

    assert standing(failed, now=WINDOW.end) is Standing.FAILED
    assert standing(failed, now=GONE_AT) is Standing.FAILED
    assert standing(failed, now=GONE_AT + TICK) is Standing.GIVEN_UP


def test_every_minute_of_the_day_is_in_its_place_with_what_is_told_of_it() -> None:
    first, last = windows_of(DAY)[0], windows_of(DAY)[-1]
    over = last.end + POLICY.allowance
    found = day(row(window=last, revision=3), row(window=first), row(), now=over)

    assert (str(first), str(last)) == ("2026-11-21T00:00Z", "2026-11-21T23:59Z")
    assert [place for place, each in enumerate(found.standings) if each is not Standing.MISSING] == [0, PLACE, 1439]
    assert (found.revisions[0], found.revisions[1], found.revisions[-1]) == (1, None, 3)
    assert (found.events[PLACE], found.dead_letters[PLACE], found.events[PLACE + 1]) == (100, 3, None)
    assert found.newest == last.start


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (WINDOW.end, 0),
        (GONE_AT, PLACE),
        (GONE_AT + TICK, PLACE + 1),
        (GONE_AT + timedelta(days=1), MINUTES_A_DAY),
    ],
)
def test_from_where_on_minutes_can_be_reported_again(now: datetime, first: int) -> None:
    assert day(now=now).reportable_from == first


def test_a_full_day_is_small() -> None:
    """What a refresh moves at most: each column as wide as it gets with a thousand million events a minute."""
    rows = [row(window=each, revision=12, unique_events=10**9, dead_letters=10**5) for each in windows_of(DAY)]

    assert len(day(*rows, now=LONG_AFTER).model_dump_json()) < 50_000
    assert len(day(now=LONG_AFTER + timedelta(days=9)).model_dump_json()) < 50_000

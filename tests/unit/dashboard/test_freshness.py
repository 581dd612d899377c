from __future__ import annotations

from datetime import timedelta

import pytest

from dashboard.ui import freshness
from dashboard.ui.client import Snapshot
from dashboard.ui.freshness import Level
from tests.unit.dashboard.samples import MINUTE, a_published_report

LIMIT = timedelta(seconds=150)
SHOWN = Snapshot((a_published_report(),), taken_at=MINUTE.end)


@pytest.mark.parametrize(
    ("since_end", "overdue"),
    [
        (timedelta(seconds=-30), False),  # the minute still lasts: the reporter's clock is ahead of ours
        (timedelta(0), False),
        (LIMIT - timedelta(microseconds=1), False),
        (LIMIT, False),
        (LIMIT + timedelta(microseconds=1), True),
        (timedelta(days=3), True),
    ],
)
def test_a_report_is_overdue_once_the_minutes_end_is_longer_ago_than_the_limit(
    since_end: timedelta, overdue: bool
) -> None:
    notice = freshness.notice(SHOWN, now=MINUTE.end + since_end, overdue_after=LIMIT)

    assert (notice is not None) == overdue
    if notice:
        assert notice.level is Level.WARNING
        assert "overdue" in notice.text
        assert "2025-11-21T10:31Z" in notice.text


def test_no_report_yet_is_no_alarm() -> None:
    notice = freshness.notice(Snapshot(taken_at=MINUTE.end), now=MINUTE.end, overdue_after=LIMIT)

    assert notice is not None
    assert notice.level is Level.INFO


def test_while_the_api_is_away_only_that_is_said_with_the_age_of_what_is_shown() -> None:
    away = Snapshot(SHOWN.items, SHOWN.taken_at, problem="it does not answer")

    notice = freshness.notice(away, now=MINUTE.end + timedelta(hours=1), overdue_after=LIMIT)

    assert notice is not None
    assert notice.level is Level.ERROR
    assert "it does not answer" in notice.text
    assert "10:32:00 UTC" in notice.text
    assert "overdue" not in notice.text


def test_an_api_that_never_answered_leaves_nothing_to_show() -> None:
    notice = freshness.notice(Snapshot(problem="it does not answer"), now=MINUTE.end, overdue_after=LIMIT)

    assert notice is not None
    assert "nothing to show" in notice.text


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=0), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h 0 min"),
        (timedelta(hours=23, minutes=59), "23 h 59 min"),
        (timedelta(days=1), "1 d 0 h"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
    ],
)
def test_durations_in_words(duration: timedelta, text: str) -> None:
    assert freshness.words(duration) == text


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        (1, "Last updated 2025-11-21 10:32:00 UTC"),
        (2, "Last updated 2025-11-21 10:32:00 UTC as revision 2"),
    ],
)
def test_a_revised_report_says_so_with_its_time(revision: int, text: str) -> None:
    report = a_published_report().model_copy(update={"revision": revision})

    assert freshness.published(report) == text

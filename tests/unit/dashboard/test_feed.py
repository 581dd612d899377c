from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from dashboard.ui.client import Feed, MadeOnce, ReportsUnavailableError
from etar.report import PublishedReport
from tests.unit.dashboard.samples import MINUTE, a_published_report

FIRST = (a_published_report(),)
SECOND = (*FIRST, a_published_report(MINUTE.next))
REFRESH = timedelta(seconds=5)
GONE = ReportsUnavailableError("gone")

Answer = tuple[PublishedReport, ...] | ReportsUnavailableError


def answering(*answers: Answer) -> Callable[[], tuple[PublishedReport, ...]]:
    remaining: Iterator[Answer] = iter(answers)

    def fetch() -> tuple[PublishedReport, ...]:
        answer = next(remaining)
        if isinstance(answer, ReportsUnavailableError):
            raise answer
        return answer

    return fetch


def test_an_answer_is_shown_with_its_time() -> None:
    snapshot = Feed(answering(SECOND), clock=lambda: MINUTE.end, fresh_for=REFRESH).poll()

    assert snapshot.newest == SECOND[-1]
    assert snapshot.taken_at == MINUTE.end
    assert snapshot.problem is None


def test_without_an_answer_the_last_good_one_stays_with_its_time_and_the_problem() -> None:
    clock = iter([MINUTE.end + count * REFRESH for count in range(4)])
    feed = Feed(
        answering(FIRST, ReportsUnavailableError("gone"), ReportsUnavailableError("gone"), SECOND),
        clock.__next__,
        fresh_for=REFRESH,
    )

    good, bad, still_bad, recovered = (feed.poll() for _ in range(4))

    assert bad == still_bad
    assert (bad.items, bad.taken_at, bad.problem) == (good.items, good.taken_at, "gone")
    assert (recovered.items, recovered.problem) == (SECOND, None)


def test_an_api_that_never_answered_has_no_reports() -> None:
    snapshot = Feed(answering(GONE), clock=lambda: MINUTE.end, fresh_for=REFRESH).poll()

    assert snapshot.newest is None
    assert snapshot.taken_at is None


def test_the_api_is_asked_once_a_refresh_however_many_look() -> None:
    at = [MINUTE.end]
    asked: list[int] = []

    def fetch() -> tuple[PublishedReport, ...]:
        asked.append(len(asked))
        return FIRST

    feed = Feed(fetch, clock=lambda: at[0], fresh_for=REFRESH)
    with ThreadPoolExecutor(16) as viewers:
        seen = list(viewers.map(lambda _: feed.poll(), range(64)))
        assert len(asked) == 1
        assert all(snapshot is seen[0] for snapshot in seen)
        at[0] += REFRESH
        list(viewers.map(lambda _: feed.poll(), range(64)))
    assert len(asked) == 2


def test_an_api_that_is_away_is_asked_once_a_refresh_too() -> None:
    at = [MINUTE.end]
    feed = Feed(answering(GONE, FIRST), clock=lambda: at[0], fresh_for=REFRESH)

    assert feed.poll() is feed.poll()
    at[0] += REFRESH
    assert feed.poll().items == FIRST


def test_what_is_made_of_the_items_is_made_when_they_change() -> None:
    at = [MINUTE.end]
    feed = Feed(answering(FIRST, (a_published_report(),), SECOND), clock=lambda: at[0], fresh_for=REFRESH)
    made: list[int] = []

    def make(items: Sequence[PublishedReport]) -> int:
        made.append(len(items))
        return len(items)

    drawn = MadeOnce(make)
    for expected in (1, 1, 2):
        assert [drawn.of(feed.poll().items) for _viewer in range(3)] == [expected] * 3
        at[0] += REFRESH
    assert made == [1, 2]

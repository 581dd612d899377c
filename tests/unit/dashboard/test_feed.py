from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from dashboard.ui.client import Feed, ReportsUnavailableError
from etar.report import PublishedReport
from tests.unit.dashboard.samples import MINUTE, a_published_report

FIRST = (a_published_report(),)
SECOND = (*FIRST, a_published_report(MINUTE.next))
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
    snapshot = Feed(answering(SECOND), clock=lambda: MINUTE.end).poll()

    assert snapshot.newest == SECOND[-1]
    assert snapshot.taken_at == MINUTE.end
    assert snapshot.problem is None


def test_without_an_answer_the_last_good_one_stays_with_its_time_and_the_problem() -> None:
    clock = iter([MINUTE.end, MINUTE.end + timedelta(seconds=5)])
    feed = Feed(
        answering(FIRST, ReportsUnavailableError("gone"), ReportsUnavailableError("gone"), SECOND), clock.__next__
    )

    good, bad, still_bad, recovered = (feed.poll() for _ in range(4))

    assert bad == still_bad
    assert (bad.items, bad.taken_at, bad.problem) == (good.items, good.taken_at, "gone")
    assert (recovered.items, recovered.problem) == (SECOND, None)


def test_an_api_that_never_answered_has_no_reports() -> None:
    snapshot = Feed(answering(GONE), clock=lambda: MINUTE.end).poll()

    assert snapshot.newest is None
    assert snapshot.taken_at is None

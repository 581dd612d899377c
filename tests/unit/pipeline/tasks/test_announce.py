"""Which revisions Airflow is told of, and that it is told of each once."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from etar.pipeline.tasks import announce
from etar.report import PublishedReport

PUBLISHED_AT = datetime(2026, 11, 21, 10, 32, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)


EVENT = ("etar://reports/payments", {"stream": "payments", "minute": "2026-11-21T10:31Z", "revision": 1})


class Airflow:
    """Keeps what a task has added once the task succeeds, and forgets what one adds that fails."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, datetime, dict[str, Any]]] = []

    def events(self, asset: Any, first: datetime, last: datetime) -> list[Any]:
        return [
            SimpleNamespace(extra=extra) for name, at, extra in self.kept if name == asset.name and first <= at <= last
        ]

    def task(self, report: PublishedReport, *, at: timedelta, succeeds: bool = True) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        outlets = OutletEventAccessors()
        announce.announce(report, outlets, began=PUBLISHED_AT + at - SECOND / 2)
        if succeeds:
            for event in outlets[announce.REPORTS].asset_alias_events:
                assert event.source_alias_name == "etar_reports"
                self.kept.append((event.dest_asset_key.name, PUBLISHED_AT + at, event.extra))

    @property
    def told(self) -> dict[str, list[Any]]:
        by_asset = defaultdict(list)
        for name, _, extra in self.kept:
            by_asset[name].append((extra["stream"], extra["minute"], extra["revision"]))
        return dict(by_asset)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    made = Airflow()
    monkeypatch.setattr(announce, "events", made.events)
    return made


def report(stream: str = "payments", revision: int = 1) -> PublishedReport:
    envelope = {"stream": stream, "minute": "2026-11-21T10:31Z", "rows_read": 3, "total_events": 3}
    kept = {"source_object": "s3://etar/x", "revision": revision, "published_at": PUBLISHED_AT}
    return PublishedReport.model_validate(envelope | kept)


def test_each_revision_is_told_once_however_often_its_task_runs(airflow: Airflow) -> None:
    for at in (SECOND, 2 * SECOND, 600 * SECOND):
        airflow.task(report(), at=at)
    airflow.task(report(revision=2), at=700 * SECOND)
    assert airflow.told == {
        "etar://reports/payments": [("payments", "2026-11-21T10:31Z", 1), ("payments", "2026-11-21T10:31Z", 2)]
    }


def test_a_task_that_was_killed_after_its_post_tells_when_it_is_tried_again(airflow: Airflow) -> None:
    airflow.task(report(), at=SECOND, succeeds=False)
    assert airflow.told == {}
    airflow.task(report(), at=40 * SECOND)
    assert airflow.told == {"etar://reports/payments": [("payments", "2026-11-21T10:31Z", 1)]}


def test_a_clock_that_is_behind_does_not_have_it_told_twice(airflow: Airflow) -> None:
    airflow.kept.append((EVENT[0], PUBLISHED_AT - 60 * SECOND, EVENT[1]))
    airflow.task(report(), at=SECOND)
    assert len(airflow.kept) == 1


def test_each_stream_has_an_asset_of_its_own(airflow: Airflow) -> None:
    for stream in ("payments", "trips"):
        airflow.task(report(stream), at=SECOND)
    assert sorted(airflow.told) == ["etar://reports/payments", "etar://reports/trips"]


def test_of_what_is_published_by_this_try_airflow_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_by_a_try(monkeypatch, began=PUBLISHED_AT) == 1


def test_where_airflow_does_not_say_it_is_told_and_no_task_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_by_a_try(monkeypatch, began=PUBLISHED_AT + SECOND) == 1


def told_by_a_try(monkeypatch: pytest.MonkeyPatch, *, began: datetime) -> int:
    """Of an Airflow that answers no question."""
    from airflow.sdk.execution_time.context import OutletEventAccessors

    asked: list[Any] = []

    def broken(*question: Any) -> list[Any]:
        asked.append(question)
        raise RuntimeError("500")

    monkeypatch.setattr(announce, "events", broken)
    outlets = OutletEventAccessors()
    announce.announce(report(), outlets, began=began)
    assert bool(asked) is (began > PUBLISHED_AT)
    return len(outlets[announce.REPORTS].asset_alias_events)

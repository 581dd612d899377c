"""A day of the ledger at a glance, and a minute's revisions, through the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dashboard.ui.client import KnownMinute, ReportClient
from etar.ledger import MinuteHistory, State
from etar.pipeline.standing import Day, Standing, windows_of
from etar.report import PublishedReport
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.ledger_rows import keep_minutes, keep_revisions
from tests.integration.dashboard.serving import DEPLOYED, RunningApi
from tests.unit.dashboard.samples import MINUTE, a_failed_entry, a_report, an_entry, an_open_entry

DAY = MINUTE.start.date()
PLACE = 10 * 60 + 31


def day_of(response: httpx.Response) -> Day:
    assert response.status_code == 200, response.text
    return Day.model_validate_json(response.content)


def post(api: RunningApi, stream: str, *views: int) -> None:
    for each in views:
        body = a_report(stream="user_interactions", views=each).model_dump(mode="json") | {"stream": stream}
        assert api.writer.post("/report", json=body).status_code == 201


class TestDays:
    def test_each_minute_of_the_day_stands_as_its_row_says(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        first, last = windows_of(DAY)[0], windows_of(DAY)[-1]
        keep_minutes(
            report_store,
            an_entry(first.previous, stream=stream),
            an_entry(first, stream=stream, unique_events=99, duplicates=3),
            an_entry(MINUTE, stream=stream, revision=2),
            a_failed_entry(last, stream=stream),
            an_open_entry(last.next, State.EXTRACTED, stream=stream),
        )

        found = day_of(api.reader.get(f"/days/{DAY}", params={"stream": stream}))

        assert (found.stream, found.day, found.newest) == (stream, DAY, last.next.start)
        assert [found.standings[place] for place in (0, 1, PLACE, 1439)] == [
            Standing.REPORTED,
            Standing.UNKNOWN,
            Standing.REVISED,
            Standing.GIVEN_UP,
        ]
        assert [found.revisions[place] for place in (0, 1, PLACE, 1439)] == [1, None, 2, None]
        assert [found.events[place] for place in (0, 1, PLACE)] == [99, None, 100]
        assert [found.dead_letters[place] for place in (0, 1, PLACE)] == [3, None, 3]
        assert found.reportable_from == 1440

    def test_what_no_run_has_begun_is_told_apart_by_the_apis_clock(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        now = datetime.now(UTC)
        day = (now - timedelta(minutes=10)).date()  # shortly after midnight, too, it has minutes that are over
        keep_minutes(report_store, an_entry(windows_of(day)[1], stream=stream))

        found = day_of(api.reader.get(f"/days/{day}", params={"stream": stream}))

        assert found.standings[0] is Standing.MISSING
        assert found.standings[2] is Standing.OVERDUE
        before = day_of(api.reader.get(f"/days/{DEPLOYED.date() - timedelta(days=1)}", params={"stream": stream}))
        assert set(before.standings) == {Standing.NOT_EXPECTED}

    def test_a_stream_without_minutes_has_a_day_too(self, api: RunningApi, stream: str) -> None:
        found = day_of(api.reader.get(f"/days/{DAY}", params={"stream": stream}))

        assert (found.newest, set(found.standings)) == (None, {Standing.UNKNOWN})

    def test_a_day_is_not_sent_again_until_it_has_changed(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        keep_minutes(report_store, an_entry(stream=stream))
        client = ReportClient(api.read_settings)

        (known,) = client.day(stream, DAY)
        (again,) = client.day(stream, DAY)
        keep_minutes(report_store, an_entry(stream=stream, revision=2))
        (changed,) = client.day(stream, DAY)

        assert again is known
        assert (known.revisions[PLACE], changed.revisions[PLACE]) == (1, 2)
        assert client.day(stream, DAY - timedelta(days=1)) != (changed,)

    @pytest.mark.parametrize(
        ("day", "reason"),
        [
            ("2999-01-01", "has not begun"),
            ("9999-12-31", "has not begun"),
            ("today", "is not a day"),
            ("2025-02-30", "is not a day"),
            ("0", "is not a day"),
        ],
    )
    def test_what_is_no_day_is_refused_with_the_reason(self, api: RunningApi, day: str, reason: str) -> None:
        response = api.reader.get(f"/days/{day}")

        assert response.status_code == 422
        assert reason in response.text

    def test_the_first_day_of_all_is_one(self, api: RunningApi, stream: str) -> None:
        assert day_of(api.reader.get("/days/0001-01-01", params={"stream": stream})).newest is None


class TestRevisions:
    def revisions_of(self, api: RunningApi, stream: str, **asked: Any) -> list[int]:
        response = api.reader.get(f"/minutes/{MINUTE}/reports", params={"stream": stream} | asked)
        assert response.status_code == 200, response.text
        return [PublishedReport.model_validate(each).revision for each in response.json()]

    def test_a_minutes_reports_come_oldest_first_and_the_newest_of_them(self, api: RunningApi, stream: str) -> None:
        post(api, stream, 1, 2, 3)

        assert self.revisions_of(api, stream) == [1, 2, 3]
        assert self.revisions_of(api, stream, limit=2) == [2, 3]
        assert self.revisions_of(api, "another") == []

    @pytest.mark.parametrize("limit", [0, 101])
    def test_a_limit_is_bounded(self, api: RunningApi, limit: int) -> None:
        assert api.reader.get(f"/minutes/{MINUTE}/reports", params={"limit": limit}).status_code == 422

    def test_the_client_puts_them_beside_the_ledger(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        client = ReportClient(api.read_settings)
        assert client.minute(stream, MINUTE, 5) == (KnownMinute(None, ()),)

        post(api, stream, 1, 2)
        entry = an_entry(stream=stream, revision=2)
        keep_minutes(report_store, entry)
        keep_revisions(report_store, entry)

        (known,) = client.minute(stream, MINUTE, 5)
        assert known.history == MinuteHistory(**entry.model_dump(), revisions=(entry,))
        assert [each.revision for each in known.reports] == [1, 2]
        assert client.minute(stream, MINUTE, 5)[0].reports is known.reports

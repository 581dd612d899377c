"""The ledger through the API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from etar import ledger
from etar.clients import report_store_connection
from etar.ledger import Ledger, LedgerEntry, MinuteHistory, Stage, State
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from tests.integration.dashboard.ledger_rows import keep_minutes, keep_revisions
from tests.integration.dashboard.ranges import ranges_of
from tests.integration.dashboard.serving import RunningApi
from tests.unit.dashboard.samples import MINUTE, a_failed_entry, an_entry, an_open_entry, minutes_after


def entries_of(response: httpx.Response) -> list[LedgerEntry]:
    assert response.status_code == 200, response.text
    return [LedgerEntry.model_validate(each) for each in response.json()]


def minutes_of(response: httpx.Response) -> list[MinuteWindow]:
    return [entry.window for entry in entries_of(response)]


class TestRange:
    @pytest.fixture
    def six_minutes(self, report_store: ReportStoreSettings, stream: str) -> str:
        """Minutes 0 to 5: two reported, one failed, one open, one extracted, one reported."""
        keep_minutes(
            report_store,
            an_entry(minutes_after(5), stream=stream),
            an_entry(minutes_after(0), stream=stream),
            an_entry(minutes_after(1), stream=stream, revision=2),
            a_failed_entry(minutes_after(2), stream=stream),
            an_open_entry(minutes_after(3), stream=stream),
            an_open_entry(minutes_after(4), State.EXTRACTED, stream=stream, received=7, object_key="an/object"),
        )
        return stream

    def test_rows_come_as_they_are_oldest_first(self, api: RunningApi, six_minutes: str) -> None:
        found = entries_of(api.reader.get("/minutes", params={"stream": six_minutes}))

        assert [entry.window for entry in found] == [minutes_after(count) for count in range(6)]
        assert found[1] == an_entry(minutes_after(1), stream=six_minutes, revision=2)
        assert found[2] == a_failed_entry(minutes_after(2), stream=six_minutes)

    @pytest.mark.parametrize(("first", "end", "expected"), ranges_of(6))
    def test_from_is_inclusive_and_to_is_exclusive(
        self, api: RunningApi, six_minutes: str, first: Any, end: Any, expected: list[int]
    ) -> None:
        parameters = {"stream": six_minutes}
        parameters |= {"from": first.isoformat()} if first else {}
        parameters |= {"to": end.isoformat()} if end else {}

        assert minutes_of(api.reader.get("/minutes", params=parameters)) == [minutes_after(n) for n in expected]

    @pytest.mark.parametrize(
        ("states", "expected"),
        [
            ([], [0, 1, 2, 3, 4, 5]),
            (["reported"], [0, 1, 5]),
            (["failed", "open"], [2, 3]),
            (["extracted", "extracted"], [4]),
            (["settled"], []),
            (list(State), [0, 1, 2, 3, 4, 5]),
        ],
    )
    def test_only_minutes_in_one_of_the_given_states(
        self, api: RunningApi, six_minutes: str, states: list[str], expected: list[int]
    ) -> None:
        found = minutes_of(api.reader.get("/minutes", params={"stream": six_minutes, "state": states}))

        assert found == [minutes_after(count) for count in expected]

    def test_a_limit_keeps_the_newest_of_those_in_the_state_in_order(self, api: RunningApi, six_minutes: str) -> None:
        parameters: dict[str, Any] = {"stream": six_minutes, "state": "reported"}

        assert minutes_of(api.reader.get("/minutes", params=parameters | {"limit": 2})) == [
            minutes_after(1),
            minutes_after(5),
        ]
        before = parameters | {"limit": 1, "to": str(minutes_after(5))}
        assert minutes_of(api.reader.get("/minutes", params=before)) == [minutes_after(1)]

    def test_sixty_minutes_unless_told(self, api: RunningApi, report_store: ReportStoreSettings, stream: str) -> None:
        keep_minutes(report_store, *(an_open_entry(minutes_after(count), stream=stream) for count in range(61)))

        found = minutes_of(api.reader.get("/minutes", params={"stream": stream}))

        assert (len(found), found[0], found[-1]) == (60, minutes_after(1), minutes_after(60))

    def test_a_stream_without_minutes_has_none(self, api: RunningApi, stream: str) -> None:
        assert minutes_of(api.reader.get("/minutes", params={"stream": stream})) == []

    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({"from": "2025-11-21T10:31Z", "to": "2025-11-21T10:31Z"}, "is not before"),
            ({"from": "2025-11-21T10:31"}, "with its time zone"),
            ({"state": "done"}, "'open', 'settled', 'extracted', 'analysed', 'reported' or 'failed'"),
            ({"limit": "0"}, "greater than or equal to 1"),
            ({"limit": "1441"}, "less than or equal to 1440"),
            ({"stream": ""}, "at least 1 character"),
        ],
    )
    def test_what_is_no_range_is_refused_with_the_reason(
        self, api: RunningApi, parameters: dict[str, str], reason: str
    ) -> None:
        response = api.reader.get("/minutes", params=parameters)

        assert response.status_code == 422
        assert reason in response.json()["errors"][0]["msg"]


class TestOneMinute:
    def test_a_minute_comes_with_its_revisions_oldest_first(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        first, second = an_entry(stream=stream), an_entry(stream=stream, revision=2, received=103, duplicates=3)
        again = an_open_entry(stream=stream, revision=2)
        keep_minutes(report_store, again, an_entry(MINUTE.next, stream=stream))
        keep_revisions(report_store, second, first, an_entry(MINUTE.next, stream=stream))

        response = api.reader.get(f"/minutes/{MINUTE}", params={"stream": stream})

        assert response.status_code == 200, response.text
        history = MinuteHistory.model_validate(response.json())
        assert history == MinuteHistory(**again.model_dump(), revisions=(first, second))
        assert response.json()["minute"] == "2025-11-21T10:31:00Z"

    def test_a_minute_that_no_run_has_begun_is_not_found(self, api: RunningApi, stream: str) -> None:
        response = api.reader.get(f"/minutes/{MINUTE}", params={"stream": stream})

        assert response.status_code == 404
        assert response.json()["detail"] == f"no run of {stream} has begun 2025-11-21T10:31Z"

    @pytest.mark.parametrize(
        ("minute", "reason"),
        [
            ("2025-11-21T10:31:30Z", "is not the start of a minute"),
            ("2025-11-21T10:31", "with its time zone"),
            ("newest", "with its time zone"),
        ],
    )
    def test_what_is_no_minute_is_refused_with_the_reason(self, api: RunningApi, minute: str, reason: str) -> None:
        response = api.reader.get(f"/minutes/{minute}")

        assert response.status_code == 422
        assert reason in response.json()["errors"][0]["msg"]


class TestWhatTheLedgerWrites:
    @pytest.fixture
    def own_ledger(self, report_store: ReportStoreSettings, stream: str) -> Iterator[Ledger]:
        with report_store_connection(report_store) as connection:
            yield Ledger(
                connection, stream=Stream(stream), run_id="etar_pipeline/manual__1", now=lambda: datetime.now(UTC)
            )

    def test_is_what_the_api_reads(
        self, api: RunningApi, report_store: ReportStoreSettings, own_ledger: Ledger, stream: str
    ) -> None:
        own_ledger.began(MINUTE, Stage.SETTLE)
        own_ledger.settled(MINUTE, {0: 12, 1: 0})
        own_ledger.began(MINUTE.next, Stage.SETTLE)
        own_ledger.failed(MINUTE.next, Stage.SETTLE, "the sink is away")

        found = entries_of(api.reader.get("/minutes", params={"stream": stream}))

        assert [(entry.state, entry.settled_offsets, entry.error) for entry in found] == [
            (State.SETTLED, {0: 12, 1: 0}, None),
            (State.FAILED, None, "the sink is away"),
        ]
        with report_store_connection(report_store) as connection:
            assert found == ledger.between(connection, Stream(stream), MINUTE, minutes_after(2))

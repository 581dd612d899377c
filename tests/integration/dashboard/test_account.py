"""The account of a range through the API, from books that auditor and pipeline wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.ui.client import ReportClient
from etar.account import Account, Answer
from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.account_rows import closed, keep_closed, keep_reported
from tests.integration.dashboard.serving import RunningApi
from tests.unit.dashboard.samples import minutes_after

A, B, C, D = (minutes_after(number) for number in range(4))


def asked(api: RunningApi, stream: str, first: MinuteWindow | None = A, end: MinuteWindow | None = C) -> Account:
    bounds: dict[str, Any] = {"from": first and f"{first}", "to": end and f"{end}"}
    response = api.reader.get("/account", params={"stream": stream, **{k: v for k, v in bounds.items() if v}})
    assert response.status_code == 200, response.text
    return Account.model_validate_json(response.content)


def test_what_arrived_is_followed_to_the_reports_over_their_minutes(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    """Ten rows and three letters arrive in minute B, three of the rows late for A, with two of A's duplicates."""
    keep_closed(
        report_store,
        stream,
        closed(A, rows=20),
        closed(B, first=20, rows=6, dead_letters=3, too_late=1, no_record=2),
        closed(C, first=31, rows=5),
        closed(A, 1),
        closed(B, 1, rows=4),
        closed(C, 1, first=4),
    )
    keep_reported(report_store, stream, A, {A: {0: 20}}, events=20, topic=2)
    keep_reported(report_store, stream, A, {A: {0: 20}, B: {0: 2, 1: 1}}, events=21, revision=2, topic=2)
    keep_reported(report_store, stream, B, {B: {0: 4, 1: 3}, C: {0: 5}}, events=12, topic=2)

    found = asked(api, stream, B, C)

    assert (found.answer, found.reasons, found.difference) == (Answer.EXACT, (), 0)
    assert (found.records, found.events, found.duplicates, found.too_late, found.bad) == (13, 8, 2, 1, 2)
    assert (found.no_record, found.compared_to, found.verified_through) == (2, C.start, D.start)
    assert [(line.partition, line.records, line.in_reports) for line in found.partitions] == [(0, 9, 6), (1, 4, 4)]
    # Side by side, ranges count what one over both counts.
    whole, before = asked(api, stream, A, C), asked(api, stream, A, B)
    for name in ("records", "events", "duplicates", "too_late", "bad"):
        assert getattr(whole, name) == getattr(before, name) + getattr(found, name)


def test_without_a_range_it_is_the_last_hour_that_is_audited(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    keep_closed(report_store, stream, closed(A), closed(B), closed(A, 1))

    found = asked(api, stream, None, None)

    assert (found.first, found.end) == (B.start - timedelta(hours=1), B.start)
    # Partition 1 is the one that is least far, and nothing came before the first offset.
    assert (found.answer, found.verified_through, found.records) == (Answer.EXACT, B.start, 0)
    assert asked(api, stream, C, None).answer is Answer.NOT_VERIFIED


def test_rows_in_no_report_and_lost_records_are_a_difference(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    keep_closed(
        report_store, stream, closed(A, rows=10), closed(B, first=10, rows=5, lost=2), closed(A, 1), closed(B, 1)
    )
    keep_reported(report_store, stream, A, {A: {0: 9}, B: {0: 6}}, events=15, topic=2)

    found = asked(api, stream)

    assert found.answer is Answer.DIFFERENT
    assert (found.lost, found.not_reported, found.only_reported, found.difference) == (2, 1, 1, 4)
    assert [line.answer for line in found.partitions] == [Answer.DIFFERENT, Answer.EXACT]
    assert found.command is None  # of minutes that the table has let go of long ago


def test_what_can_still_be_compared_has_a_command(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    old = MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=30))
    keep_closed(report_store, stream, closed(old, rows=3))
    keep_reported(report_store, stream, old, {old: {0: 2}}, events=2)

    found = asked(api, stream, old, old.next)

    assert (found.answer, found.not_reported) == (Answer.DIFFERENT, 1)
    assert found.command == f"etar verify --stream {stream} --from {old} --to {old.next}"


def test_what_has_arrived_just_now_need_not_be_in_a_report(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    new = MinuteWindow.containing(datetime.now(UTC)).previous
    keep_closed(report_store, stream, closed(new, rows=3))

    found = asked(api, stream, new, new.next)

    assert (found.answer, found.not_reported) == (Answer.NOT_VERIFIED, 3)
    assert found.partitions[0].why == "3 rows are in no report, which is not due yet"


class TestNotVerified:
    def test_a_stream_that_nobody_has_audited(self, api: RunningApi, stream: str) -> None:
        found = asked(api, stream)

        assert (found.answer, found.verified_through, found.partitions) == (Answer.NOT_VERIFIED, None, ())
        assert "nothing of this stream is audited yet" in found.reasons[0]

    def test_a_partition_of_the_topic_that_the_auditor_has_nothing_of(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        keep_closed(report_store, stream, closed(A, rows=2), closed(B, first=2))
        keep_reported(report_store, stream, A, {A: {0: 2, 1: 4}}, events=6, topic=3)

        found = asked(api, stream)

        assert found.answer is Answer.NOT_VERIFIED
        assert [(line.partition, line.answer, line.only_reported) for line in found.partitions] == [
            (0, Answer.EXACT, 0),
            (1, Answer.NOT_VERIFIED, 4),
            (2, Answer.NOT_VERIFIED, 0),
        ]

    def test_minutes_reported_before_arrivals_were_kept(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        keep_closed(report_store, stream, closed(A, rows=5), closed(B, first=5))
        keep_reported(report_store, stream, A, None, rows=5, events=5)

        found = asked(api, stream)

        assert (found.answer, found.not_reported) == (Answer.NOT_VERIFIED, 5)
        assert "when it was not yet noted when rows arrived" in (found.partitions[0].why or "")
        with report_store_connection(report_store) as connection:
            connection.execute("UPDATE audited_offsets SET dead_letters = 1, too_late = NULL, \"rows\" = 4 "
                               "WHERE stream = %s AND minute = %s", (stream, A.start))  # fmt: skip
        assert (asked(api, stream).too_late, asked(api, stream).bad) == (None, 1)

    def test_minutes_from_before_the_first_that_was_audited(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        keep_closed(report_store, stream, closed(B, first=100, rows=1))
        keep_reported(report_store, stream, B, {B: {0: 1}}, events=1)

        assert asked(api, stream, A, C).partitions[0].why == "1 minute of it was never audited"
        assert asked(api, stream, B, C).answer is Answer.EXACT

    def test_what_the_auditor_has_just_put_right(
        self, api: RunningApi, report_store: ReportStoreSettings, stream: str
    ) -> None:
        keep_closed(report_store, stream, closed(A, rows=5))
        noted = (
            'INSERT INTO audit_repairs (stream, "partition", first_offset, end_offset, repair, reason, noted_at) '
            "VALUES (%s, 0, %s, %s, 'rescued', '', now() - %s)"
        )
        with report_store_connection(report_store) as connection:
            connection.execute(noted, (stream, 0, 1, timedelta(hours=1)))
        assert asked(api, stream, A, B).answer is Answer.DIFFERENT

        with report_store_connection(report_store) as connection:
            connection.execute(noted, (stream, 1, 2, timedelta(0)))
        assert asked(api, stream, A, B).answer is Answer.NOT_VERIFIED


def test_a_log_that_has_ended_is_in_the_account_of_its_time(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    former = f"{stream}@1"
    keep_closed(
        report_store, former, closed(A, rows=4), closed(B, first=4, rows=2), closed(A, 1, rows=1), closed(B, 1, first=1)
    )
    keep_closed(report_store, stream, closed(B, rows=3), closed(C, first=3))
    with report_store_connection(report_store) as connection:
        connection.execute(
            "INSERT INTO former_logs (log, stream, topic_id, begun_by, moved_at, finished_at) "
            "VALUES (%s, %s, 'x', 'a test', now(), now())",
            (former, stream),
        )
    keep_reported(report_store, stream, A, {A: {0: 4, 1: 1}, B: {0: 5}}, events=10)

    found = asked(api, stream, A, D)

    assert (found.answer, found.records, found.verified_through) == (Answer.EXACT, 10, D.start)
    assert [(line.partition, line.records) for line in found.partitions] == [(0, 9), (1, 1)]


def test_an_account_is_not_sent_again_until_it_has_changed(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    keep_closed(report_store, stream, closed(A))
    client = ReportClient(api.read_settings)

    (known,) = client.account(stream, 60, B)
    (again,) = client.account(stream, 60, B)
    assert again is known
    assert (known.first, known.answer) == (B.start - timedelta(hours=1), Answer.EXACT)

    keep_closed(report_store, stream, closed(B, rows=1))
    (changed,) = client.account(stream, 60, None)
    assert (changed.end, changed.answer) == (C.start, Answer.DIFFERENT)


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"from": f"{C}", "to": f"{A}"}, "is not before to"),
        ({"from": f"{A}", "to": f"{A}"}, "is not before to"),
        ({"from": "2025-11-21T10:31:30Z"}, "is not the start of a minute"),
        ({"from": "2025-11-21T10:31Z", "to": "2025-11-22T10:32Z"}, "longer than a day"),
        ({"from": "2999-01-01T00:00Z"}, "has not begun"),
        ({"from": "0001-01-01T00:00Z"}, "before anything can have arrived"),
        ({"to": "0001-01-01T00:00Z"}, "before anything can have arrived"),
        ({"minutes": "1441"}, "less than or equal to 1440"),
    ],
)
def test_what_is_no_range_is_refused_with_the_reason(api: RunningApi, bounds: dict[str, str], reason: str) -> None:
    response = api.reader.get("/account", params=bounds)

    assert response.status_code == 422
    assert reason in response.text


def test_the_farthest_ranges_are_answered(api: RunningApi, stream: str) -> None:
    for bounds in ({"from": "1971-01-01T00:00Z", "to": "1971-01-02T00:00Z"}, {"to": "9999-12-31T23:59Z"}):
        response = api.reader.get("/account", params={"stream": stream, **bounds})
        assert response.status_code == 200, response.text

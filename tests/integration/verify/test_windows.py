"""Live windows beside the reports of their minutes, as PostgreSQL has both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings, get_settings
from etar.streams import Stream
from etar.verify import account
from etar.verify.books import Books
from etar.verify.compare import Verification
from etar.verify.facts import PlaceUnavailableError
from etar.verify.windows import WindowAccount, compare_windows
from tests.integration.accounted import AccountedWorld
from tests.live_windows import declared, keep, make_table, row
from tests.unit.dashboard.samples import MINUTE, minutes_after

OSLO = {"takings": {"Oslo": "20.30", "Bergen": "0.00"}, "rides": {"Oslo": 3, "Bergen": 0}}


@pytest.fixture
def rides(report_store: ReportStoreSettings) -> Stream:
    name = f"rides_{uuid4().hex[:12]}"
    make_table(report_store, name)
    return Stream(name, windows=declared(name))


def publish(store: ReportStoreSettings, stream: Stream, window: MinuteWindow, said: object, revision: int = 1) -> None:
    with report_store_connection(store) as connection:
        connection.execute(
            "INSERT INTO reports (stream, minute, revision, content) VALUES (%s, %s, %s, %s)",
            (stream.name, window.start, revision, Jsonb(said)),
        )


def compared(store: ReportStoreSettings, stream: Stream, *, minutes: int = 10) -> Mapping[int, WindowAccount]:
    """By how many minutes after :data:`MINUTE`."""
    assert stream.windows is not None
    with Books(store, stream) as books:
        found = compare_windows(stream.windows, books.windows(stream.windows, MINUTE, minutes_after(minutes)))
    return {(each.window - MINUTE.start).seconds // 60: each for each in found}


def test_a_window_that_its_report_made_final_is_no_difference_whatever_the_job_said(
    report_store: ReportStoreSettings, rides: Stream
) -> None:
    publish(report_store, rides, MINUTE, {"takings": {"Oslo": "1"}, "rides": {"Oslo": 1}})
    publish(report_store, rides, MINUTE, OSLO, revision=2)
    keep(report_store, rides.name, row(MINUTE, "Oslo", "20.30", 3, streamed=("10.10", 1), revision=2))

    (window,) = compared(report_store, rides).values()

    assert (window.final, window.revision, window.difference, window.note) == (True, 2, 0, None)
    total, count = window.numbers["total"], window.numbers["rides"]
    assert [str(each) for each in (total.streamed, total.now, total.report, total.corrected, total.difference)] == [
        *("10.10", "20.30", "20.30", "10.20", "0.00")
    ]
    assert (count.streamed, count.now, count.report, count.corrected, count.difference) == (1, 3, 3, 2, 0)


def test_each_way_in_which_a_window_is_not_as_its_report(report_store: ReportStoreSettings, rides: Stream) -> None:
    for after in (0, 1, 2, 3, 5):
        publish(report_store, rides, minutes_after(after), OSLO, revision=2)
    publish(report_store, rides, minutes_after(6), {})
    keep(
        report_store,
        rides.name,
        row(minutes_after(0), "Oslo", "20.30", 3),
        row(minutes_after(1), "Oslo", "20.31", 3, revision=2),
        row(minutes_after(2), "Oslo", "20.30", 3, revision=1),
        row(minutes_after(3), "Oslo", "20.30", 3, revision=2),
        row(minutes_after(3), "Bodø", "0.10", 1, revision=2),
        row(minutes_after(4), "Oslo", "0.10", 1),
        row(minutes_after(10), "Oslo", "0.10", 1),
        row(minutes_after(-1), "Oslo", "0.10", 1),
    )

    found = compared(report_store, rides)

    assert {after: each.note for after, each in found.items()} == {
        0: "Oslo is not final, though revision 2 has been published",
        1: "Oslo is total 20.31, rides 3, the report says total 20.30, rides 3",
        2: "Oslo is of revision 1, and 2 has been published",
        3: "Bodø is total 0.10, rides 1, the report says total 0, rides 0",
        4: "Oslo was streamed, and no report says of it",
        5: "Oslo is missing: the report says total 20.30, rides 3",
    }
    assert {each.difference for each in found.values()} == {1}
    assert {after: each.final for after, each in found.items()} == {
        **{0: False, 1: True, 2: True, 3: True, 4: False, 5: False}
    }


def test_a_minute_of_nothing_is_none(report_store: ReportStoreSettings, rides: Stream) -> None:
    nothing = {"takings": {"Oslo": "0.00"}, "rides": {"Oslo": 0}}
    for after in (0, 1):
        publish(report_store, rides, minutes_after(after), nothing)
    keep(report_store, rides.name, row(minutes_after(1), "Oslo", "0.00", 0, streamed=("5.00", 1), revision=1))

    assert {after: each.difference for after, each in compared(report_store, rides).items()} == {0: 0, 1: 0}


def test_the_account_has_them_and_is_never_exact_where_they_could_not_be_read(accounted: AccountedWorld) -> None:
    accounted.take_in(5, back=1)
    accounted.report(3, 2, 1, 0)
    table = f"rides_{uuid4().hex[:12]}"
    rides = replace(accounted.stream, windows=declared(table))
    store = get_settings(ReportStoreSettings)

    def verify() -> Verification:
        return account.verify(accounted.earlier(3), accounted.minute.next, stream=rides, now=lambda: accounted.later)

    with pytest.raises(PlaceUnavailableError, match=f'relation "{table}" does not exist'):
        verify()
    make_table(store, table)
    assert verify().ok
    keep(store, table, row(accounted.earlier(1), "Oslo", "1.00", 1))
    off = verify()
    assert (off.ok, off.difference, [each.difference for each in off.windows]) == (False, 1, [1])
    assert off.windows[0].note == "Oslo is not final, though revision 1 has been published"

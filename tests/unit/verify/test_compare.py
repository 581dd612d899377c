"""Where the places differ, by how much, and what the account says about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.ledger import LedgerEntry, State
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.report import PublishedReport
from etar.streams import DEFAULT_STREAM, Stream
from etar.verify.compare import Verification, backfill, compare, gone_rows
from etar.verify.facts import Coverage, GoneRows, MinuteInPlaces, PartitionFacts, Sent, StoredObject, TotalsFacts
from etar.verify.windows import WindowAccount

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
STALE_BEFORE = WINDOW.start + timedelta(minutes=5)


def report(rows: int, events: int, *, window: MinuteWindow = WINDOW, revision: int = 1) -> PublishedReport:
    return PublishedReport(
        stream="user_interactions",
        minute=window.start,
        total_events=events,
        rows_read=rows,
        source_object="s3a://etar/x.parquet" if rows else None,
        revision=revision,
        published_at=window.end,
    )


def entry(**changes: Any) -> LedgerEntry:
    """The ledger's row that goes with EXACT."""
    known = {
        "stream": "user_interactions",
        "minute": WINDOW.start,
        "state": State.REPORTED,
        "run_id": "etar_pipeline/scheduled",
        "received": 105,
        "duplicates": 5,
        "unique_events": 100,
        "late_events": 2,
        "dead_letters": 3,
        "offsets": None,
        "settled_offsets": None,
        "object_key": "extracts/x.parquet",
        "object_size": 4321,
        "object_etag": "abc",
        "stages": {},
        "revision": 1,
        "error": None,
        "updated_at": WINDOW.end,
    }
    return LedgerEntry.model_validate(known | changes)


EMPTY_ENTRY = entry(
    received=0, duplicates=0, unique_events=0, late_events=0, dead_letters=0, object_size=None, object_etag=None
)
STORED = StoredObject(rows=105, size=4321, etag="abc")
EXACT = MinuteInPlaces(
    WINDOW, rows=105, unique=100, dead_letters=3, parquet=STORED, report=report(105, 100), ledger=entry()
)
EMPTY_REPORT = report(0, 0)
EMPTY = MinuteInPlaces(WINDOW, rows=0, unique=0, dead_letters=0, parquet=None, report=EMPTY_REPORT, ledger=EMPTY_ENTRY)
WHOLE = Coverage(Span(10, 110), in_table=97, in_dead_letters=3, in_both=0)
NONE_ARRIVED = TotalsFacts(WINDOW.start, WINDOW.end)


def account(
    minutes: Sequence[MinuteInPlaces],
    partitions: Sequence[Coverage | PartitionFacts] = (),
    totals: TotalsFacts = NONE_ARRIVED,
    *,
    in_doubt: int = 0,
) -> Verification:
    held = [
        facts if isinstance(facts, PartitionFacts) else PartitionFacts(number, facts)
        for number, facts in enumerate(partitions)
    ]
    return compare(minutes, held, totals, stream=Stream(DEFAULT_STREAM), in_doubt=in_doubt, stale_before=STALE_BEFORE)


def test_places_that_agree_have_no_difference_and_no_note() -> None:
    verification = account([EXACT, EMPTY], [WHOLE])

    assert verification.ok
    assert verification.difference == 0
    assert verification.repair is None
    assert json.loads(verification.model_dump_json())["minutes"][0] == {
        "minute": "2026-11-21T10:31Z",
        "state": "reported",
        "received": 105,
        "duplicates": 5,
        "unique": 100,
        "late_events": 2,
        "dead_letters": 3,
        "parquet_rows": 105,
        "report_rows": 105,
        "report_events": 100,
        "revision": 1,
        "pending": 0,
        "lost_rows": 0,
        "difference": 0,
        "note": None,
    }


def test_the_json_has_the_form_that_is_promised() -> None:
    document = json.loads(account([EXACT], [WHOLE]).model_dump_json())
    assert {
        "stream",
        "ok",
        "difference",
        "minutes",
        "partitions",
        "totals",
        "windows",
        "warnings",
        "repair",
    } == document.keys()
    assert (document["ok"], document["difference"]) == (True, 0)


# --- minutes

FAILED = entry(state=State.FAILED, error="ExpiredMinuteError: gone")


def stored(rows: int) -> StoredObject:
    return replace(STORED, rows=rows)


@pytest.mark.parametrize(
    ("facts", "difference", "note"),
    [
        (replace(EXACT, report=None), 105 + 100 + 1, "no report; report it again: "),
        (replace(EXACT, report=None, ledger=None), 105 + 100 + 1, "no report; report it again: "),
        (replace(EMPTY, report=None), 1, "no report"),
        (replace(EMPTY, report=None, ledger=FAILED), 1, "no report; its run failed: ExpiredMinuteError: gone"),
        (replace(EXACT, parquet=stored(104)), 1, "table 105 rows, Parquet 104, report 105"),
        (replace(EXACT, parquet=stored(106)), 1, "table 105 rows, Parquet 106, report 105"),
        (
            replace(EXACT, parquet=None, ledger=entry(object_size=None, object_etag=None)),
            105,
            "table 105 rows, Parquet 0, report 105",
        ),
        (
            replace(EXACT, rows=106, unique=101, ledger=entry(received=106, unique_events=101)),
            1 + 1 + 1,
            "1 rows came after the minute was reported",
        ),
        (replace(EXACT, rows=104, ledger=entry(received=104)), 1 + 1, "table 104 rows, Parquet 105, report 105"),
        (replace(EXACT, unique=99, ledger=entry(unique_events=99)), 1, "table 99 unique events, report 100"),
    ],
)
def test_a_difference_in_a_minute_is_counted_and_explained(facts: MinuteInPlaces, difference: int, note: str) -> None:
    verification = account([facts])

    assert verification.difference == difference
    assert not verification.ok
    assert verification.minutes_off == [WINDOW]
    (minute,) = verification.minutes
    assert minute.note is not None
    assert note in minute.note


def test_the_repair_names_the_minute_and_the_range() -> None:
    verification = account([EXACT, replace(EMPTY, window=WINDOW.next, report=None)])

    assert verification.repair == "etar verify --repair --from 2026-11-21T10:31Z --to 2026-11-21T10:33Z"
    assert (verification.minutes[1].note or "").endswith(
        """airflow dags trigger etar_reconcile --conf '{"minutes": ["2026-11-21T10:32Z"]}'"""
    )


def test_the_repair_of_another_stream_names_it() -> None:
    verification = compare(
        [replace(EXACT, report=None)], [], NONE_ARRIVED, stream=Stream("payments"), stale_before=STALE_BEFORE
    )
    assert verification.stream == "payments"
    assert verification.repair == (
        "etar verify --stream payments --repair --from 2026-11-21T10:31Z --to 2026-11-21T10:32Z"
    )
    assert (verification.minutes[0].note or "").endswith(
        """--conf '{"stream": "payments", "minutes": ["2026-11-21T10:31Z"]}'"""
    )


def test_the_cause_of_a_minute_is_its_note_without_the_advice_to_report_it_again() -> None:
    late = replace(EXACT, rows=106, ledger=entry(received=104))
    (minute,) = account([late]).minutes
    assert minute.cause == "1 rows came after the minute was reported; the ledger says rows 104, found 106"
    assert (minute.note or "").startswith(f"{minute.cause}; report it again: airflow dags trigger etar_reconcile ")
    assert account([EXACT]).minutes[0].cause is None


def test_a_minute_that_is_nowhere_says_so_of_each_place() -> None:
    (minute,) = account([replace(EMPTY, report=None, ledger=None)]).minutes
    assert minute.model_dump(exclude={"minute", "difference", "note", "cause", "suspect_from"}) == {
        "state": None,
        "received": 0,
        "duplicates": 0,
        "unique": 0,
        "late_events": None,
        "dead_letters": 0,
        "parquet_rows": None,
        "report_rows": None,
        "report_events": None,
        "revision": None,
        "pending": 0,
        "lost_rows": 0,
    }


def test_rows_that_a_report_counted_and_that_are_gone_are_put_back_before_anything_is_reported() -> None:
    """Whatever else agrees: a report of what is left hides nothing."""
    gone = replace(EXACT, gone=GoneRows(2, {0: 40, 1: 7}))
    verification = account([gone, replace(EMPTY, window=WINDOW.next, report=None)], [WHOLE])

    minute, empty = verification.minutes
    assert (minute.lost_rows, minute.difference) == (2, 2)
    assert minute.note == (
        "2 rows that its report counted are not in the table any more; have the auditor put them back: "
        f"{verification.repair}"
    )
    assert verification.minutes_off == [MinuteWindow.parse(empty.minute)]
    assert verification.suspect_from == {0: 40, 1: 7}
    assert account([gone]).repair is not None


def test_the_auditor_begins_with_the_first_of_all_suspects() -> None:
    partitions = [replace(WHOLE, in_table=96, missing_spans=(Span(50, 51),)), WHOLE]
    minutes = [
        replace(EXACT, gone=GoneRows(1, {0: 40, 1: 7})),
        replace(EXACT, window=WINDOW.next, gone=GoneRows(1, {0: 60, 1: 5})),
    ]
    assert account(minutes, partitions).suspect_from == {0: 40, 1: 5}


@pytest.mark.parametrize(
    ("rows", "removed", "gone"),
    [
        (100, [], 0),
        (101, [], 0),
        (99, [], 1),
        (0, [], 100),
        (99, [(9, 10)], 1),  # before the first record of the minute
        (99, [(10, 11)], 0),
        (99, [(49, 50)], 0),
        (99, [(50, 51)], 1),
        (97, [(5, 12), (11, 12)], 1),  # noted twice
        (97, [(5, 12), (11, 13)], 0),
    ],
)
def test_a_row_is_gone_unless_the_auditor_took_it_out(rows: int, removed: list[tuple[int, int]], gone: int) -> None:
    found = gone_rows(
        rows,
        reported=100,
        records={0: Span(10, 50), 1: Span(3, 70)},
        removed={0: [Span(*each) for each in removed], 2: [Span(0, 100)]},
    )
    assert found == (GoneRows(gone, {0: 10, 1: 3}) if gone else None)


@pytest.mark.parametrize(
    ("fresh", "pending", "difference"),
    [
        (0, 0, 6 + 6 + 4),
        (5, 0, 6 + 6 + 4),
        (6, 6, 0),
        (7, 6, 0),
    ],
)
def test_rows_that_arrived_just_now_need_not_be_reported_yet(fresh: int, pending: int, difference: int) -> None:
    (minute,) = account([replace(EXACT, rows=111, unique=104, fresh=fresh, ledger=None)]).minutes
    # Nor in the ledger; that it has no row at all is a fault of its own.
    assert (minute.pending, minute.difference) == (pending, difference + 1)
    (minute,) = account([replace(EXACT, rows=111, unique=104, fresh=6)]).minutes
    assert (minute.pending, minute.difference, minute.note) == (6, 0, None)


@pytest.mark.parametrize(
    ("rows", "unique", "parquet", "complete"),
    [
        (111, 104, 105, True),
        (111, 104, 111, True),  # extracted again, and not posted yet
        (111, 106, 105, True),
        (111, 107, 105, False),  # more new events than new rows
        (111, 99, 105, False),
        (111, 104, 104, False),
        (111, 104, 112, False),
        (104, 100, 104, False),
    ],
)
def test_only_rows_just_arrived_may_be_missing(rows: int, unique: int, parquet: int, complete: bool) -> None:
    facts = replace(EXACT, rows=rows, unique=unique, parquet=stored(parquet), fresh=6)
    assert facts.complete is complete
    assert account([facts]).ok is complete


@pytest.mark.parametrize(
    ("ledger", "note"),
    [
        (None, "the ledger has no row of it"),
        (entry(received=104), "the ledger says rows 104, found 105"),
        (entry(unique_events=99), "the ledger says unique events 99, found 100"),
        (entry(dead_letters=4), "the ledger says dead letters 4, found 3"),
        (entry(revision=2), "the ledger says revision 2, found 1"),
        (entry(object_size=4320), "the ledger says object size 4320, found 4321"),
        (entry(object_etag="abd", received=1), "the ledger says rows 1, found 105, object ETag abd, found abc"),
        (FAILED, "its run etar_pipeline/scheduled failed: ExpiredMinuteError: gone"),
    ],
)
def test_a_ledger_that_disagrees_is_one_difference(ledger: LedgerEntry | None, note: str) -> None:
    (minute,) = account([replace(EXACT, ledger=ledger)]).minutes
    assert minute.difference == 1
    assert minute.note is not None
    assert minute.note.startswith(f"{note}; report it again: ")


@pytest.mark.parametrize("state", [State.OPEN, State.SETTLED, State.EXTRACTED, State.ANALYSED])
@pytest.mark.parametrize(
    ("written", "difference"),
    [
        (STALE_BEFORE - timedelta(microseconds=1), 1),
        (STALE_BEFORE, 0),
        (STALE_BEFORE + timedelta(seconds=1), 0),
    ],
)
def test_a_run_at_work_has_its_time(state: State, written: Any, difference: int) -> None:
    (minute,) = account([replace(EXACT, ledger=entry(state=state, received=None, updated_at=written))]).minutes
    assert (minute.state, minute.difference) == (state, difference)
    assert ("has not gone on since 2026-11-21T10:3" in (minute.note or "")) is bool(difference)


@given(
    minutes=st.lists(
        st.builds(
            lambda rows, unique, parquet, reported: MinuteInPlaces(
                WINDOW, rows, unique, 0, stored(parquet) if parquet else None, reported, None
            ),
            st.integers(0, 5),
            st.integers(0, 5),
            st.none() | st.integers(1, 5),
            st.none() | st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda pair: report(max(pair), min(pair))),
        ),
        max_size=4,
    )
)
def test_an_account_is_ok_exactly_when_every_pair_of_places_agrees(minutes: list[MinuteInPlaces]) -> None:
    def agrees(facts: MinuteInPlaces) -> bool:
        return facts.report is not None and (
            facts.rows == facts.parquet_rows == facts.report.rows_read and facts.unique == facts.report.total_events
        )

    in_ledger = [
        replace(
            facts,
            ledger=entry(
                received=facts.rows,
                unique_events=facts.unique,
                dead_letters=0,
                object_size=facts.parquet.size if facts.parquet else None,
                object_etag=facts.parquet.etag if facts.parquet else None,
            ),
        )
        for facts in minutes
    ]
    assert account(in_ledger).ok == all(agrees(facts) for facts in minutes)


# --- offsets


def test_what_is_missing_and_what_is_twice_never_cancel_out() -> None:
    lost = replace(WHOLE, in_table=96, missing_spans=(Span(50, 51),))
    twice = replace(WHOLE, in_table=98, in_both=1, both_sample=(12,))
    verification = account([EXACT], [lost, twice])

    assert verification.difference == 2
    first, second = verification.partitions
    assert (first.missing, first.in_both, second.missing, second.in_both) == (1, 0, 0, 1)
    repair = "etar verify --repair --from 2026-11-21T10:31Z --to 2026-11-21T10:32Z"
    assert verification.repair == repair
    assert (first.note or "").endswith(f"(offsets 50); have the auditor put them where they belong: {repair}")
    assert (second.note or "").endswith(f"have the auditor decide by the records themselves: {repair}")
    assert verification.suspect_from == {0: 50, 1: 12}


def test_a_record_missing_beside_one_in_both_places_is_two_differences() -> None:
    facts = replace(WHOLE, in_table=97, in_dead_letters=3, in_both=1, missing_spans=(Span(50, 51),), both_sample=(12,))
    verification = account([], [facts])
    assert verification.difference == 2
    assert verification.suspect_from == {0: 12}


def test_more_in_the_places_than_there_are_offsets_is_a_difference_that_says_so() -> None:
    verification = account([EXACT], [replace(WHOLE, closed=2)])
    assert (verification.difference, verification.repair) == (2, None)
    (partition,) = verification.partitions
    assert partition.missing == -2
    assert "2 records more are accounted for than Kafka has offsets" in (partition.note or "")


def test_a_note_names_a_few_of_many_ranges() -> None:
    ranges = ((10, 10), (12, 19), (30, 31), (40, 49))
    spans = tuple(Span(first, last + 1) for first, last in ranges)
    many, few = account(
        [], [replace(WHOLE, in_table=76, missing_spans=spans), replace(WHOLE, in_table=86, missing_spans=spans[:3])]
    ).partitions
    assert many.missing_ranges == ranges
    assert "(offsets 10, 12 to 19, 30 to 31 …)" in (many.note or "")
    assert "(offsets 10, 12 to 19, 30 to 31)" in (few.note or "")


def test_offsets_that_the_auditor_has_closed_are_accounted_for() -> None:
    aged = Coverage(Span(10, 110), in_table=20, in_dead_letters=3, in_both=0, closed=75, no_record=2)
    verification = account([], [aged])
    assert verification.ok
    (partition,) = verification.partitions
    assert (partition.closed, partition.no_record, partition.missing) == (75, 2, 0)


def test_old_offsets_that_the_auditor_has_not_closed_are_a_difference_that_says_so() -> None:
    (partition,) = account([], [replace(WHOLE, in_table=90, unaudited=100, missing_spans=(Span(10, 17),))]).partitions
    assert partition.difference == 7
    assert "100 old offsets are not audited yet" in (partition.note or "")
    (partition,) = account([], [replace(WHOLE, unaudited=100)]).partitions
    assert (partition.difference, partition.note) == (0, None)


def test_lost_records_are_a_difference_without_a_repair() -> None:
    verification = account([EXACT], [replace(WHOLE, in_table=95, lost=2)])
    assert (verification.difference, verification.repair) == (2, None)
    assert "2 records were lost" in (verification.partitions[0].note or "")


# --- a producer's account


@pytest.mark.parametrize("sent", [None, Sent(90, 105, replays=4)])
def test_a_partition_says_of_each_place_what_it_has(sent: Sent | None) -> None:
    held = Coverage(
        Span(10, 110), in_table=80, in_dead_letters=7, in_both=2, closed=5, no_record=4, lost=3, unaudited=6,
        missing_spans=(Span(50, 51), Span(60, 62)), both_sample=(12, 13),
    )  # fmt: skip
    (partition,) = account([], [PartitionFacts(3, held, sent)], in_doubt=8).partitions
    assert partition.model_dump(exclude={"note"}) == {
        "partition": 3,
        "first_offset": 10,
        "end_offset": 110,
        "in_table": 80,
        "in_dead_letters": 7,
        "in_both": 2,
        "in_both_sample": (12, 13),
        "closed": 5,
        "no_record": 4,
        "lost": 3,
        "unaudited": 6,
        "missing": 3,
        "missing_ranges": ((50, 50), (60, 61)),
        "acknowledged": 90 if sent else None,
        "appended": 105 if sent else None,
        "replays": 4 if sent else None,
        "in_doubt": 8 if sent else None,
        "difference": 3 + 2 + 3 + (3 if sent else 0),
    }


@pytest.mark.parametrize(
    ("sent", "difference", "note"),
    [
        (Sent(100, 100), 0, None),
        (Sent(100, 103, replays=3), 0, None),
        (Sent(101, 100), 1, "acknowledged records are gone"),
        (Sent(100, 100, replays=1), 1, "acknowledged records are gone"),
        (Sent(90, 100), 10, "another producer wrote to the topic as well; no command repairs that"),
        (Sent(99, 100, unsettled=("2:4", "2:7")), 1, "verify again: etar dead-letters replay 2:4 --apply"),
        (Sent(101, 100, unsettled=("2:4",)), 1, "acknowledged records are gone; no command repairs that"),
        (Sent(100, 100, unsettled=("2:4",)), 0, None),
    ],
)
def test_a_producers_account_is_compared(sent: Sent, difference: int, note: str | None) -> None:
    verification = account([EXACT], [PartitionFacts(0, WHOLE, sent)])
    assert verification.difference == difference
    assert verification.repair is None
    assert (note or "") in (verification.partitions[0].note or "")


@pytest.mark.parametrize(
    ("appended", "in_doubt", "explained", "difference"),
    [
        ((100, 100), 3, [0, 0], 0),
        ((102, 101), 3, [2, 1], 0),
        ((103, 101), 3, [3, 0], 1),
        ((102, 102), 3, [2, 1], 1),
        ((99, 103), 3, [0, 3], 1),  # a lost record is never made good by one that was in doubt
    ],
)
def test_records_in_doubt_may_be_there_or_not(
    appended: tuple[int, int], in_doubt: int, explained: list[int], difference: int
) -> None:
    partitions = [PartitionFacts(number, WHOLE, Sent(100, count)) for number, count in enumerate(appended)]
    verification = account([], partitions, in_doubt=in_doubt)
    assert [partition.in_doubt for partition in verification.partitions] == explained
    assert verification.difference == difference


# --- totals

RUN = TotalsFacts(
    WINDOW.start,
    WINDOW.end,
    records=1010,
    acknowledged=1000,
    replays=8,
    rows=975,
    events=950,
    too_late=7,
    bad=9,
    discarded=1,
    replayed=8,
    closed=6,
    no_record=4,
)
RUN_IN_PARTITIONS = [PartitionFacts(0, WHOLE, Sent(1000, 1010, replays=8))]


def test_the_totals_of_a_run_add_up_in_words() -> None:
    totals = account([EXACT], RUN_IN_PARTITIONS, RUN, in_doubt=5).totals
    sent = (totals.acknowledged or 0) + totals.in_doubt + totals.replays
    assert (totals.acknowledged, totals.in_doubt, totals.replays) == (1000, 2, 8)
    assert (totals.events, totals.duplicates) == (950, 25)
    assert sent == (
        totals.events
        + totals.duplicates
        + totals.not_due
        + totals.too_late
        + totals.bad
        + totals.discarded
        + totals.replayed
        + totals.closed
        + totals.no_record
    )
    assert (totals.difference, totals.note) == (0, None)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"rows": 974, "events": 949}, 1),
        ({"unreported": 3}, 3),
        ({"not_due": 3}, 0),
        ({"bad": 10}, -1),
        ({"acknowledged": None}, 0),
        ({"acknowledged": None, "rows": 974}, 1),
    ],
)
def test_the_totals_differ_by_what_is_not_in_the_places(changes: dict[str, Any], difference: int) -> None:
    verification = account([EXACT], RUN_IN_PARTITIONS, replace(RUN, **changes), in_doubt=2)
    assert verification.totals.difference == difference
    assert verification.difference == abs(difference)


def test_the_totals_do_not_count_twice_what_the_parts_count() -> None:
    missing = PartitionFacts(0, replace(WHOLE, in_table=96, missing_spans=(Span(50, 51),)), Sent(1000, 1008))
    run = replace(RUN, rows=974, events=949)
    assert account([EXACT], [missing], replace(run, records=1008)).difference == 1 + 8


def test_the_totals_are_of_the_records_that_arrived_in_the_run() -> None:
    totals = account([EXACT], RUN_IN_PARTITIONS, RUN, in_doubt=5).totals
    assert (totals.arrived_from, totals.arrived_to, totals.records) == (WINDOW.start, WINDOW.end, 1010)
    letters = ("not_due", "too_late", "bad", "discarded", "replayed", "closed", "no_record")
    assert {name: getattr(totals, name) for name in letters} == {name: getattr(RUN, name) for name in letters}


def test_the_difference_is_that_of_the_totals_where_the_parts_have_less_and_of_the_windows_too() -> None:
    window = WindowAccount(window=WINDOW.start, final=True, revision=1, numbers={}, difference=2, note="two groups")
    verification = compare(
        [replace(EXACT, unique=99, ledger=entry(unique_events=99))],
        [],
        replace(NONE_ARRIVED, records=7),
        [window],
        stream=Stream(DEFAULT_STREAM),
        stale_before=STALE_BEFORE,
        warnings=["the topic keeps too little"],
    )
    assert (verification.windows, verification.warnings) == ((window,), ("the topic keeps too little",))
    assert verification.difference == 7
    assert verification.model_copy(update={"totals": account([]).totals}).difference == 1 + 2


def test_totals_say_what_is_still_to_come() -> None:
    totals = account([EXACT], RUN_IN_PARTITIONS, replace(RUN, rows=970, events=945, behind=5, unreported=2)).totals
    assert "the sink has still to take 5 records" in (totals.note or "")
    assert "2 events are not in the reports" in (totals.note or "")


def test_events_of_minutes_that_are_not_due_are_not_yet_counted_as_reported() -> None:
    totals = account([EXACT], [], replace(RUN, acknowledged=None, not_due=40)).totals
    assert (totals.events, totals.not_due, totals.difference) == (910, 40, 0)


def test_many_minutes_are_reported_again_by_a_backfill_that_ends_with_the_last() -> None:
    assert backfill(Stream(DEFAULT_STREAM), WINDOW, WINDOW.next) == (
        "airflow backfill create --dag-id etar_pipeline --from-date 2026-11-21T10:31:00+00:00 "
        "--to-date 2026-11-21T10:32:00+00:00 --reprocess-behavior completed --max-active-runs 2"
    )


def test_an_account_of_no_minutes_has_a_repair_without_a_range() -> None:
    verification = account([], [replace(WHOLE, in_table=96, missing_spans=(Span(50, 51),))])
    assert verification.repair == "etar verify --repair"

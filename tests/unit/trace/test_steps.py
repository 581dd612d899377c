"""What the places said, put together: one case for each thing that can have become of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.journal import Change
from etar.dead_letters.letters import State as LetterState
from etar.extracts import OffsetSpan
from etar.ledger import State
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.trace.answer import RecordTrace, Standing, StepName, StepState
from etar.trace.facts import (
    ClosedPiece,
    FoundLetter,
    FoundObject,
    FoundRow,
    MinuteBooks,
    MinuteFacts,
    RecordBooks,
    RecordFacts,
    RecordId,
    ReplaySent,
    TopicFacts,
)
from etar.trace.steps import Rules, record_trace
from tests.unit.dashboard.samples import a_failed_entry, an_entry, an_open_entry

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
ID = RecordId("user_interactions", 0, 17)
RULES = Rules(
    now=WINDOW.end + timedelta(minutes=3),
    grace=timedelta(seconds=2),
    allowance=timedelta(seconds=90),
    retention=timedelta(hours=26),
)
PUBLISHED = WINDOW.end + timedelta(seconds=12)
TOPIC = TopicFacts(low={0: 0}, end={0: 30}, committed={0: 30}, retention_ms=172_800_000)
CLOSED = ClosedPiece(
    WINDOW, Span(5, 67), rows=59, dead_letters=3, no_record=0, lost=0, closed_at=WINDOW.end + timedelta(seconds=70)
)
ETAG = "0123456789abcdef0123456789abcdef"
"""Of the extract that ``an_entry`` is about."""


def row(appended: datetime = WINDOW.start + timedelta(seconds=30), of: RecordId = ID) -> FoundRow:
    return FoundRow(of, appended, WINDOW.start + timedelta(seconds=29), WINDOW, ("an id",))


def the_object(*, holds: bool = True, etag: str = ETAG) -> FoundObject:
    return FoundObject(etag, WINDOW.end + timedelta(seconds=5), {ID: holds})


def reported(**changes: Any) -> MinuteFacts:
    """A minute of revision 1, whose extract is there and has the row."""
    books = MinuteBooks(an_entry(WINDOW), [an_entry(WINDOW)], {1: PUBLISHED})
    facts = MinuteFacts(WINDOW, books, the_object(), object_asked=True, in_spans={(1, 0): 60})
    return replace(facts, **changes)


def facts(**changes: Any) -> RecordFacts:
    """A row that is stored, audited and reported."""
    known = RecordFacts(
        id=ID,
        current=True,
        stored_asked=True,
        row=row(),
        books=RecordBooks(closed=CLOSED, mark=WINDOW.next),
        topic=TOPIC,
        minute=reported(),
        of_event=(ID,),
    )
    return replace(known, **changes)


def traced(rules: Rules = RULES, **changes: Any) -> RecordTrace:
    return record_trace(facts(**changes), rules)


def says(trace: RecordTrace, name: StepName) -> tuple[StepState, str]:
    """The last step of the name."""
    step = [each for each in trace.steps if each.name is name][-1]
    return step.state, step.says


def test_a_reported_row_has_every_step_done_each_with_its_time() -> None:
    trace = traced()

    assert [(step.name, step.state) for step in trace.steps] == [
        (name, StepState.DONE)
        for name in (
            StepName.KAFKA,
            StepName.STORED,
            StepName.MINUTE,
            StepName.AUDIT,
            StepName.EXTRACT,
            StepName.REPORT,
        )
    ]
    assert {step.name: step.at for step in trace.steps if step.at} == {
        StepName.KAFKA: WINDOW.start + timedelta(seconds=30),
        StepName.MINUTE: WINDOW.end + timedelta(seconds=2.5),
        StepName.AUDIT: CLOSED.closed_at,
        StepName.EXTRACT: WINDOW.end + timedelta(seconds=5),
        StepName.REPORT: PUBLISHED,
    }
    assert (trace.standing, trace.revision, trace.published_at, trace.in_object) == (
        Standing.COUNTED, 1, PUBLISHED, True,
    )  # fmt: skip
    assert (trace.minute, trace.late, trace.object_key) == (
        WINDOW.start, False, "extracts/user_interactions/2026-11-21_10-31.parquet",
    )  # fmt: skip
    assert trace.says == "record 0:17 is counted in 2026-11-21T10:31Z since revision 1"
    assert "verified through 2026-11-21T10:31Z" in says(trace, StepName.AUDIT)[1]


def two_revisions(*, in_spans: Mapping[tuple[int, int], int] | None, first: OffsetSpan) -> MinuteFacts:
    """Revision 1 of another extract than the one that is there, which is revision 2's."""
    one = an_entry(WINDOW, object_etag="of the first", offsets={0: first})
    two = an_entry(WINDOW, revision=2)
    books = MinuteBooks(two, [one, two], {1: PUBLISHED, 2: PUBLISHED + timedelta(minutes=1)})
    return reported(books=books, in_spans=in_spans)


LATE = row(WINDOW.end + timedelta(seconds=40))


def test_a_late_row_is_of_the_revision_whose_extract_reached_it_first() -> None:
    minute = two_revisions(in_spans={(1, 0): 12, (2, 0): 60}, first=OffsetSpan(first=5, last=16, rows=12))
    trace = traced(row=LATE, minute=minute)

    assert (trace.standing, trace.late, trace.revision) == (Standing.COUNTED, True, 2)
    assert trace.published_at == PUBLISHED + timedelta(minutes=1)
    assert "late, 40.0 s after the minute's end" in says(trace, StepName.MINUTE)[1]
    assert "which its coming late made" in says(trace, StepName.REPORT)[1]


def test_a_row_between_the_first_revisions_records_is_in_it_when_the_table_has_as_many_there_as_it_had() -> None:
    minute = two_revisions(in_spans={(1, 0): 40, (2, 0): 60}, first=OffsetSpan(first=5, last=48, rows=40))

    trace = traced(minute=minute)

    assert trace.revision == 1
    assert "the newest is revision 2" in says(trace, StepName.REPORT)[1]


@pytest.mark.parametrize("in_spans", [{(1, 0): 41, (2, 0): 60}, None], ids=["one was stored since", "not asked"])
def test_a_revision_of_which_that_cannot_be_told_is_not_claimed(in_spans: Mapping[tuple[int, int], int] | None) -> None:
    trace = traced(minute=two_revisions(in_spans=in_spans, first=OffsetSpan(first=5, last=48, rows=40)))

    assert trace.revision == 2  # whose extract is there and has it


def test_where_no_revision_can_be_told_the_standing_is_not_known() -> None:
    trace = traced(minute=reported(object=None, object_asked=False, in_spans={(1, 0): 61}))

    assert (trace.standing, trace.revision, trace.in_object) == (Standing.UNKNOWN, None, None)
    assert says(trace, StepName.REPORT)[0] is StepState.NOT_ASKED


def test_an_extract_that_is_gone_is_not_waited_for_where_a_revision_had_the_row() -> None:
    trace = traced(minute=reported(object=None))

    assert (trace.standing, trace.revision, trace.in_object) == (Standing.COUNTED, 1, False)
    assert says(trace, StepName.EXTRACT) == (
        StepState.ENDED,
        "extracts/user_interactions/2026-11-21_10-31.parquet is not there, although revision 1 was made with it: see "
        "`etar verify`",
    )


def test_a_row_that_came_after_the_report_waits_for_the_next_revision() -> None:
    trace = traced(row=LATE, minute=reported(object=the_object(holds=False)))

    expected = "reported, revision 1, before this row came: the next reconcile makes revision 2"
    assert (trace.standing, trace.revision, trace.in_object) == (Standing.WAITING, None, False)
    assert says(trace, StepName.REPORT) == (StepState.WAITING, expected)
    assert says(trace, StepName.EXTRACT)[0] is StepState.WAITING


@pytest.mark.parametrize(
    ("entry", "now", "waits"),
    [
        (None, WINDOW.end - timedelta(seconds=1), "the minute 2026-11-21T10:31Z is not over yet"),
        (None, WINDOW.end + timedelta(seconds=1), "no run has begun the minute 2026-11-21T10:31Z yet"),
        (None, WINDOW.end + timedelta(minutes=2), "the next etar_reconcile takes it up"),
        (
            an_open_entry(WINDOW),
            WINDOW.end + timedelta(seconds=9),
            "is not settled yet: run etar_pipeline/scheduled__2026-11-21T10:32:00+00:00 is at work on it, waiting for "
            "the sink since 2026-11-21T10:32:00.000Z",
        ),
        (an_open_entry(WINDOW, State.EXTRACTED), RULES.now, "is extracted and not analysed yet"),
        (a_failed_entry(WINDOW), RULES.now, "failed, and etar_reconcile tries it again: the sink is <away>"),
        (None, WINDOW.start + timedelta(hours=26), "has left the table, or is about to, and is not reported any more"),
    ],
)
def test_what_a_row_without_a_report_waits_for(entry: Any, now: datetime, waits: str) -> None:
    minute = MinuteFacts(WINDOW, MinuteBooks(entry), None, object_asked=True, in_spans={})
    trace = traced(replace(RULES, now=now), minute=minute)

    assert trace.standing is Standing.WAITING
    assert waits in says(trace, StepName.REPORT)[1]
    assert waits in trace.says


def test_of_two_records_of_an_event_the_first_by_partition_and_offset_counts() -> None:
    other = RecordId(ID.log, 0, 16)
    duplicate, counting = traced(of_event=(other, ID)), traced(of_event=(ID, other))

    assert (duplicate.standing, duplicate.counts_as) == (Standing.DUPLICATE, "0:16")
    assert duplicate.says == "record 0:17 is a duplicate in 2026-11-21T10:31Z: its event counts once, as record 0:16"
    assert (counting.standing, counting.counts_as) == (Standing.COUNTED, None)
    assert "sent again as 0:16" in counting.says


def letter(**changes: Any) -> dict[str, Any]:
    """Facts of a dead letter."""
    bad = DeadLetter(ID.log, 0, 17, WINDOW.start, Reason.OUT_OF_RANGE, "amount: too much\x1b", None, b"bytes")
    books = RecordBooks(**{"closed": CLOSED, "mark": WINDOW.next, **changes})
    return {"row": None, "minute": None, "of_event": (), "letter": FoundLetter(ID, bad), "books": books}


def test_an_open_letter_says_why_and_what_can_be_done() -> None:
    trace = traced(**letter())

    assert (trace.standing, trace.reason, trace.detail) == (
        Standing.DEAD_LETTER, "out_of_range", "amount: too much\N{REPLACEMENT CHARACTER}",
    )  # fmt: skip
    assert says(trace, StepName.DEAD_LETTER)[0] is StepState.WAITING
    assert "`etar dead-letters show 0:17`" in says(trace, StepName.DEAD_LETTER)[1]
    assert says(trace, StepName.MINUTE)[1] == "counts as a dead letter of 2026-11-21T10:31Z, in which it arrived"
    assert trace.revision is None


def test_a_replayed_letter_names_its_replay() -> None:
    sent_at = WINDOW.end + timedelta(seconds=20)
    sent = ReplaySent(ID, ID._replace(offset=29), WINDOW.end, sent_at, None)
    trace = traced(**letter(state=LetterState.REPLAYED, replays=[sent]))

    assert (trace.standing, trace.replayed_as) == (Standing.REPLAYED, ("0:29",))
    assert says(trace, StepName.DEAD_LETTER) == (StepState.DONE, "replayed as record 0:29")
    assert trace.steps[-3].at == sent_at


def test_a_discarded_letter_says_by_whom_and_why() -> None:
    change = Change(RULES.now, "ada", "discarded", "etar dead-letters discard", {"reason": "a test of theirs"})
    trace = traced(**letter(state=LetterState.DISCARDED, changes=[change]))

    assert trace.standing is Standing.DISCARDED
    assert says(trace, StepName.DEAD_LETTER) == (StepState.DONE, "discarded by ada: a test of theirs")


NOWHERE: dict[str, Any] = {"row": None, "minute": None, "of_event": (), "books": RecordBooks(mark=WINDOW)}
AT = WINDOW.start + timedelta(seconds=7)


def test_a_record_that_the_sink_has_not_come_to_waits_for_it() -> None:
    topic = replace(TOPIC, committed={0: 12})
    trace = traced(**NOWHERE, topic=topic, read=True, appended_at=AT)

    assert (trace.standing, trace.appended_at) == (Standing.WAITING, AT)
    assert says(trace, StepName.STORED) == (
        StepState.WAITING,
        "the sink has not come to it: 5 records of the partition before it",
    )
    assert says(trace, StepName.AUDIT)[0] is StepState.WAITING


def test_a_record_that_the_sink_passed_over_waits_for_the_audit() -> None:
    trace = traced(**NOWHERE, read=True, appended_at=AT)

    assert trace.standing is Standing.WAITING
    assert "the next audit stores or files it" in says(trace, StepName.STORED)[1]


def test_a_record_that_was_closed_and_is_in_no_place_any_more_has_left_for_its_age() -> None:
    topic = replace(TOPIC, low={0: 20})
    trace = traced(**NOWHERE | {"books": RecordBooks(closed=CLOSED, mark=WINDOW.next)}, topic=topic)

    assert trace.standing is Standing.GONE
    assert "59 rows, 3 dead letters, 0 without a record, 0 lost" in says(trace, StepName.STORED)[1]
    assert "Kafka holds the partition from offset 20 on" in says(trace, StepName.KAFKA)[1]


def test_a_lost_record_is_said_to_be() -> None:
    repairs = [("lost", "", RULES.now)]
    trace = traced(**NOWHERE | {"books": RecordBooks(closed=CLOSED, mark=WINDOW.next, repairs=repairs)})

    assert trace.standing is Standing.LOST


def test_an_offset_without_a_record_is_none_that_waits() -> None:
    trace = traced(**NOWHERE, read=False)

    assert trace.standing is Standing.GONE
    assert not any(step.state is StepState.WAITING for step in trace.steps)


class TestPlacesThatWereNotAsked:
    """Never taken for places without the record."""

    def test_the_report_store(self) -> None:
        trace = traced(books=None, minute=reported(books=None, in_spans=None))

        assert trace.standing is Standing.UNKNOWN
        assert {step.name for step in trace.steps if step.state is StepState.NOT_ASKED} == {
            StepName.AUDIT,
            StepName.REPORT,
        }

    def test_the_object_store(self) -> None:
        trace = traced(minute=reported(object=None, object_asked=False))

        assert (trace.standing, trace.revision, trace.in_object) == (Standing.COUNTED, 1, None)
        assert says(trace, StepName.EXTRACT)[0] is StepState.NOT_ASKED

    def test_the_warehouse(self) -> None:
        trace = traced(**NOWHERE, stored_asked=False, read=True, appended_at=AT)

        assert trace.standing is Standing.UNKNOWN
        assert says(trace, StepName.STORED)[0] is StepState.NOT_ASKED

    def test_kafka(self) -> None:
        trace = traced(**NOWHERE, topic=None)

        assert trace.standing is Standing.UNKNOWN
        assert says(trace, StepName.KAFKA)[0] is StepState.NOT_ASKED

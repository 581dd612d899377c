"""The arithmetic of an account, and its three answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from etar.account import (
    REPORT_ALLOWANCE,
    Account,
    Answer,
    Audited,
    Books,
    Counted,
    Range,
    account_of,
    due_before,
)
from etar.minute import MINUTE, MinuteWindow
from etar.settings import PipelineSettings

FIRST = MinuteWindow.parse("2026-11-21T10:00Z")
END = MinuteWindow.parse("2026-11-21T11:00Z")
HOUR = Range(FIRST, END)
MOMENT = timedelta(microseconds=1)
PIPELINE = PipelineSettings(start_date=FIRST.start - timedelta(days=30))
NOW = END.end + timedelta(hours=1)

WELL = Counted(
    minutes=60,
    offsets=1_000,
    dead_letters=30,
    too_late=10,
    no_record=20,
    lost=0,
    in_reports=950,
    not_reported=0,
    overdue=0,
    only_reported=0,
)
AUDITED = Audited(first=FIRST.start - timedelta(days=2), first_offset=0, through=END.start)


def account(
    counted: Mapping[int, Counted] | Counted = WELL,
    *,
    asked: Range = HOUR,
    now: datetime = NOW,
    pipeline: PipelineSettings = PIPELINE,
    stream: str = "user_interactions",
    **books: Any,
) -> Account:
    by_partition = {0: counted} if isinstance(counted, Counted) else counted
    known: dict[str, Any] = {
        "audited": dict.fromkeys(by_partition, AUDITED),
        "counted": by_partition,
        "topic": frozenset(by_partition),
        "events": sum(each.in_reports for each in by_partition.values()) - 40,
        "reports_without_arrivals": 0,
        "repaired_at": None,
    }
    return account_of(stream, asked, Books(**known | books), now=now, pipeline=pipeline)


def adds_up(found: Account) -> bool:
    letters = found.bad + (found.too_late or 0)
    in_lines = all(
        line.records + line.only_reported
        == line.in_reports + line.bad + (line.too_late or 0) + line.lost + line.not_reported
        for line in found.partitions
    )
    return in_lines and found.records + found.only_reported == (
        found.events + found.duplicates + letters + found.lost + found.not_reported
    )


def test_each_record_is_an_event_a_duplicate_too_late_or_bad() -> None:
    found = account({0: WELL, 1: replace(WELL, offsets=500, in_reports=450)})
    assert (found.answer, found.difference, found.reasons, found.command) == (Answer.EXACT, 0, (), None)
    assert (found.records, found.events, found.duplicates, found.too_late, found.bad) == (1_460, 1_360, 40, 20, 40)
    assert [(line.partition, line.records, line.answer, line.why) for line in found.partitions] == [
        (0, 980, Answer.EXACT, None),
        (1, 480, Answer.EXACT, None),
    ]
    assert adds_up(found)


def test_a_range_in_which_nothing_arrived_is_exact() -> None:
    found = account(Counted(60, 0, 0, 0, 0, 0, 0, 0, 0, 0), events=0)
    assert (found.answer, found.records, found.difference) == (Answer.EXACT, 0, 0)


DIFFERENCES = [
    pytest.param({"lost": 3, "in_reports": 947}, "3 records are in no place, and Kafka no longer has them", id="lost"),
    pytest.param({"not_reported": 1, "overdue": 1, "in_reports": 949}, "1 row is in no report", id="not reported"),
    pytest.param(
        {"only_reported": 2, "in_reports": 952}, "reports count 2 rows that the auditor does not", id="only reported"
    ),
]


@pytest.mark.parametrize(("changed", "said"), DIFFERENCES)
def test_a_difference_is_named_with_what_to_run(changed: dict[str, int], said: str) -> None:
    found = account({0: WELL, 1: replace(WELL, **changed)})
    assert found.answer is Answer.DIFFERENT
    assert found.difference == sum(changed[each] for each in changed.keys() & {"lost", "not_reported", "only_reported"})
    assert [line.why for line in found.partitions] == [None, said]
    assert found.command == "etar verify --from 2026-11-21T10:00Z --to 2026-11-21T11:00Z"
    assert adds_up(found)


def test_one_difference_cannot_hide_another() -> None:
    found = account(replace(WELL, not_reported=5, overdue=5, only_reported=5))
    assert (found.answer, found.difference) == (Answer.DIFFERENT, 10)


def test_a_difference_is_one_whatever_else_is_not_known() -> None:
    lost = replace(WELL, lost=1, in_reports=949)
    found = account({0: lost, 1: WELL}, topic={0, 1, 2}, asked=replace(HOUR, end=END.next))
    assert found.answer is Answer.DIFFERENT


def test_of_another_stream_the_command_names_it_and_begins_where_the_table_does() -> None:
    lost = replace(WELL, lost=1, in_reports=949)
    kept = account(lost, now=FIRST.start + PIPELINE.retention, stream="rides")
    assert kept.command == "etar verify --stream rides --from 2026-11-21T10:10Z --to 2026-11-21T11:00Z"
    gone = account(lost, now=END.start + PIPELINE.retention)
    assert (gone.answer, gone.command) == (Answer.DIFFERENT, None)


def test_what_was_exact_stays_exact_when_its_rows_have_left_the_table() -> None:
    assert account(now=END.end + timedelta(days=300)).answer is Answer.EXACT


class TestNotVerified:
    def test_before_the_first_audit(self) -> None:
        found = account({}, audited={}, topic={0}, events=0)
        assert (found.answer, found.verified_through, found.partitions) == (Answer.NOT_VERIFIED, None, ())
        assert found.reasons[0].startswith("nothing of this stream is audited yet")

    def test_beyond_what_is_audited(self) -> None:
        found = account(asked=replace(HOUR, end=END.next))
        assert (found.answer, found.compared_to, found.end) == (Answer.NOT_VERIFIED, END.start, END.end)
        assert found.reasons == (
            "what arrived from 2026-11-21T11:00Z on is not audited yet; see `etar_audit` in Airflow",
        )
        assert [line.answer for line in found.partitions] == [Answer.EXACT]

    def test_wholly_beyond_it(self) -> None:
        beyond = Range(END.next, END.next.next)
        found = account({}, asked=beyond, audited={0: AUDITED}, events=0)
        assert (found.answer, found.compared_to, found.partitions) == (Answer.NOT_VERIFIED, beyond.first.start, ())
        assert found.reasons[0].startswith("what arrived from 2026-11-21T11:01Z on is not audited yet")

    def test_a_partition_that_is_behind_holds_the_others_back(self) -> None:
        behind = replace(AUDITED, through=END.start - MINUTE)
        found = account({0: WELL, 1: WELL}, audited={0: AUDITED, 1: behind})
        assert (found.verified_through, found.answer) == (END.start - MINUTE, Answer.NOT_VERIFIED)

    def test_a_partition_that_only_the_topic_knows(self) -> None:
        found = account(topic={0, 1})
        assert found.answer is Answer.NOT_VERIFIED
        assert [(line.answer, line.why) for line in found.partitions] == [
            (Answer.EXACT, None),
            (Answer.NOT_VERIFIED, "the auditor has nothing of this partition"),
        ]

    def test_minutes_from_before_the_audit(self) -> None:
        begun = replace(AUDITED, first=FIRST.start + 5 * MINUTE, first_offset=17)
        found = account(replace(WELL, minutes=55), audited={0: begun})
        assert [line.why for line in found.partitions] == ["5 minutes of it were never audited"]
        assert found.answer is Answer.NOT_VERIFIED

    def test_but_not_where_a_partition_had_no_record_yet(self) -> None:
        begun = replace(AUDITED, first=FIRST.start + 5 * MINUTE, first_offset=0)
        assert account(replace(WELL, minutes=55), audited={0: begun}).answer is Answer.EXACT

    def test_a_minute_that_was_left_out(self) -> None:
        found = account(replace(WELL, minutes=59))
        assert [line.why for line in found.partitions] == ["1 minute of it was never audited"]
        assert found.answer is Answer.NOT_VERIFIED

    def test_rows_that_are_reported_and_were_not_audited(self) -> None:
        found = account(replace(WELL, minutes=59, only_reported=4, in_reports=954))
        assert found.answer is Answer.NOT_VERIFIED

    def test_rows_that_are_not_due_in_a_report(self) -> None:
        found = account(replace(WELL, not_reported=2, in_reports=948))
        assert [(line.answer, line.why) for line in found.partitions] == [
            (Answer.NOT_VERIFIED, "2 rows are in no report, which is not due yet")
        ]
        assert (found.difference, found.command) == (2, None)

    def test_rows_that_reports_from_before_it_was_noted_may_count(self) -> None:
        found = account(replace(WELL, not_reported=2, overdue=2, in_reports=948), reports_without_arrivals=1)
        assert found.answer is Answer.NOT_VERIFIED
        assert account(reports_without_arrivals=1).answer is Answer.EXACT

    @pytest.mark.parametrize(
        ("ago", "answer"), [(REPORT_ALLOWANCE - MOMENT, Answer.NOT_VERIFIED), (REPORT_ALLOWANCE, Answer.DIFFERENT)]
    )
    def test_rows_that_the_auditor_has_just_put_right(self, ago: timedelta, answer: Answer) -> None:
        found = account(replace(WELL, not_reported=2, overdue=2, in_reports=948), repaired_at=NOW - ago)
        assert found.answer is answer


def test_letters_that_were_not_told_apart_are_all_bad() -> None:
    found = account({0: replace(WELL, too_late=None), 1: WELL})
    assert (found.too_late, found.bad) == (None, 50)
    assert [(line.too_late, line.bad) for line in found.partitions] == [(None, 30), (10, 20)]
    assert found.answer is Answer.EXACT


def test_a_log_that_has_ended_is_asked_for_nothing_after_its_end() -> None:
    ended = replace(AUDITED, through=FIRST.start + 20 * MINUTE, ended=True)
    found = account({0: WELL, 1: replace(WELL, minutes=20)}, audited={0: AUDITED, 1: ended}, topic={0})
    assert (found.answer, found.verified_through) == (Answer.EXACT, END.start)
    later = account({0: WELL}, audited={0: AUDITED, 1: replace(ended, through=FIRST.start)}, topic={0})
    assert [line.partition for line in later.partitions] == [0]


def test_a_row_is_due_when_its_event_may_have_been_ahead() -> None:
    last = END.previous
    due = last.end + PIPELINE.max_ahead + REPORT_ALLOWANCE
    assert not last.start < due_before(due, PIPELINE)
    assert last.start < due_before(due + MOMENT, PIPELINE)

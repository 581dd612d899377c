from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dashboard.ui import flow
from dashboard.ui.client import Snapshot
from dashboard.ui.freshness import Level
from etar.account import Account, Answer, PartitionAccount
from etar.minute import MinuteWindow

END = MinuteWindow.parse("2026-11-21T11:00Z")
NOW = datetime(2026, 11, 21, 11, 2, 30, tzinfo=UTC)


def a_line(partition: int = 0, **other: Any) -> PartitionAccount:
    """1,000 records, 960 of them rows in reports, 10 too late and 30 bad."""
    fields: dict[str, Any] = {
        "partition": partition,
        "answer": Answer.EXACT,
        "records": 1_000,
        "in_reports": 960,
        "too_late": 10,
        "bad": 30,
        "lost": 0,
        "not_reported": 0,
        "only_reported": 0,
        "no_record": 0,
        "why": None,
    }
    return PartitionAccount(**fields | other)


def an_account(*lines: PartitionAccount, **other: Any) -> Account:
    """Of an hour, as its lines add up; ten duplicates in each."""
    lines = lines or (a_line(),)
    late = [line.too_late for line in lines]
    counts = ("records", "bad", "lost", "not_reported", "only_reported", "no_record")
    fields: dict[str, Any] = {
        "stream": "user_interactions",
        "first": END.start - timedelta(hours=1),
        "end": END.start,
        "compared_to": END.start,
        "verified_through": END.end,
        "answer": Answer.EXACT,
        "reasons": (),
        "events": sum(line.in_reports - 10 for line in lines),
        "duplicates": 10 * len(lines),
        "too_late": None if None in late else sum(each or 0 for each in late),
        "partitions": lines,
        "command": None,
        **{name: sum(getattr(line, name) for line in lines) for name in counts},
    }
    return Account(**fields | other)


def said(account: Account, problem: str | None = None) -> tuple[Answer, str]:
    shown = flow.verdict(Snapshot((account,), NOW, problem))
    assert shown is not None
    return shown.answer, shown.text


def test_the_answer_is_said_in_words() -> None:
    assert said(an_account()) == (Answer.EXACT, "**Exact.** Each of 1,000 records is accounted for.")
    assert said(an_account(records=1))[1] == "**Exact.** The one record is accounted for."
    assert said(an_account(records=0))[1] == "**Exact.** No record arrived."
    lost = an_account(a_line(lost=3, in_reports=957), answer=Answer.DIFFERENT)
    assert said(lost) == (Answer.DIFFERENT, "**Different.** 3 records are not accounted for, of 1,000.")
    unsure = an_account(a_line(), a_line(4, answer=Answer.NOT_VERIFIED), answer=Answer.NOT_VERIFIED)
    assert said(unsure) == (
        Answer.NOT_VERIFIED,
        "**Not verified.** Of partition 4 it cannot be told: see below.",
    )
    beyond = an_account(answer=Answer.NOT_VERIFIED, reasons=("what arrived since is not audited yet",))
    assert said(beyond)[1] == "**Not verified.** What arrived since is not audited yet."


@pytest.mark.parametrize("answer", list(Answer))
def test_what_cannot_be_asked_now_is_not_verified_whatever_it_was(answer: Answer) -> None:
    shown, text = said(an_account(answer=answer), problem="it does not answer")
    assert shown is Answer.NOT_VERIFIED
    assert text == f"**Not verified now.** At 11:02:30 UTC the answer was: {answer}."


def test_there_is_no_answer_before_the_first() -> None:
    assert flow.verdict(Snapshot((), None, "it does not answer")) is None


def test_what_a_viewer_must_know_first() -> None:
    assert flow.notice(Snapshot((an_account(),), NOW)) is None
    empty = flow.notice(Snapshot((an_account(verified_through=None),), NOW))
    assert empty is not None
    assert (empty.level, empty.text.partition(".")[0]) == (Level.INFO, "**Nothing is audited yet")
    away = flow.notice(Snapshot((an_account(),), NOW, "it does not answer"))
    assert away is not None
    assert away.level is Level.ERROR


def test_the_parts_add_up_to_what_kafka_acknowledged() -> None:
    found = flow.terms(an_account(a_line(), a_line(1, lost=2, not_reported=3, in_reports=955)))
    assert [(term.sign, term.name, term.count) for term in found] == [
        ("", "Acknowledged by Kafka", 2_000),
        ("=", "Events in reports", 1_895),
        ("+", "Duplicates", 20),
        ("+", "Too late", 20),
        ("+", "Bad records", 60),
        ("+", "Difference", 5),
    ]
    assert sum(term.count for term in found[1:]) == found[0].count
    assert found[-1].about == "2 lost, 3 in no report (yet)"


def test_each_bar_begins_where_the_one_before_ends() -> None:
    found = flow.terms(an_account())
    assert (found[0].before, found[0].share) == (0, 1)
    for one, following in pairwise(found[1:]):
        assert following.before == pytest.approx(one.before + one.share)
    assert found[-1].before + found[-1].share == pytest.approx(1)


def test_what_only_reports_have_stands_beside_what_kafka_acknowledged() -> None:
    found = flow.terms(an_account(a_line(only_reported=5, in_reports=965)))
    assert [(term.sign, term.name, term.count) for term in found][:3] == [
        ("", "Acknowledged by Kafka", 1_000),
        ("+", "Only in reports", 5),
        ("=", "Events in reports", 955),
    ]
    assert sum(term.count for term in found[2:]) == 1_005


def test_letters_that_were_not_told_apart_are_one_part() -> None:
    names = [term.name for term in flow.terms(an_account(a_line(too_late=None, bad=40)))]
    assert names[3:5] == ["Bad or too late", "Difference"]


def test_few_of_many_are_seen_and_none_is_not() -> None:
    drawn = flow.drawing(an_account(a_line(records=10_000_000, in_reports=9_999_999, too_late=0, bad=1)))
    least = re.findall(r"min-width: (\w+);", drawn)
    assert least == ["3px", "3px", "3px", "0px", "3px", "0px"]


def test_each_partition_has_its_answer_as_a_sign_and_a_word() -> None:
    table = flow.partitions_table(
        an_account(
            a_line(),
            a_line(1, answer=Answer.DIFFERENT, lost=3, in_reports=957, why="3 <records>"),
            a_line(2, answer=Answer.NOT_VERIFIED, too_late=None, bad=40),
        )
    )
    assert re.findall(r">(\S) ([a-z ]+)</td>", table) == [("✓", "exact"), ("≠", "different"), ("?", "not verified")]
    assert "3 &lt;records&gt;" in table
    assert ">-</td>" in table


def test_how_far_it_is_verified_is_told() -> None:
    assert flow.told(an_account()) == "Arrived from 2026-11-21 10:00 to 11:00 UTC · verified through **11:01**"
    over_midnight = an_account(first=END.start - timedelta(hours=24), verified_through=END.end + timedelta(days=1))
    assert flow.told(over_midnight) == (
        "Arrived from 2026-11-20 11:00 to 2026-11-21 11:00 UTC · verified through **2026-11-22 11:01**"
    )


def test_an_address_names_a_range() -> None:
    assert flow.asked_for(None, None, now=NOW) == (1, None)
    assert flow.asked_for("6", "2026-11-21T11:00Z", now=NOW) == (6, END)


@pytest.mark.parametrize(
    ("hours", "to", "why"),
    [
        ("2", None, "no number of hours"),
        ("many", None, "no number of hours"),
        (None, "noon", "is not a minute"),
        (None, "2026-11-21T11:03Z", "has been"),
        (None, "0001-01-01T00:00Z", "has been"),
    ],
)
def test_an_address_that_names_none_says_why(hours: str | None, to: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        flow.asked_for(hours, to, now=NOW)

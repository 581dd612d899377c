from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboard.ui import minute
from dashboard.ui.client import KnownMinute
from etar.ledger import LedgerEntry, MinuteHistory, Stage, StageCost, StageTimes
from etar.pipeline.standing import Day, Standing
from etar.report import PublishedReport
from tests.unit.dashboard.samples import MINUTE, a_failed_entry, a_published_report, an_entry
from tests.unit.dashboard.test_day import a_day, at


def known(*reports: PublishedReport, revisions: tuple[LedgerEntry, ...] = ()) -> KnownMinute:
    entry = an_entry(revision=max((each.revision for each in reports), default=1))
    return KnownMinute(MinuteHistory(**entry.model_dump(), revisions=revisions), reports)


def revision(number: int, **report: Any) -> PublishedReport:
    return a_published_report(at=MINUTE.end + number * timedelta(seconds=9), **report).model_copy(
        update={"revision": number}
    )


def row_of(found: minute.Revisions, name: str) -> dict[str, str]:
    return next(row for row in found.rows if row[""] == name)


def test_each_step_says_when_it_began_and_what_it_waited_and_took() -> None:
    at = MINUTE.end
    stages = {
        Stage.SETTLE: StageTimes(started_at=at + timedelta(seconds=1), ended_at=at + timedelta(seconds=3)),
        Stage.EXTRACT: StageTimes(
            started_at=at + timedelta(seconds=3.5),
            ended_at=at + timedelta(seconds=4),
            cost=StageCost(rows=1_002, bytes=48_213, cpu_seconds=0.118),
        ),
        Stage.ANALYSE: StageTimes(started_at=at + timedelta(seconds=4)),
    }

    assert [list(row.values()) for row in minute.steps(an_entry(stages=stages))] == [
        ["settle", "10:32:01", "1.0 s", "2.0 s", "-", "-", "-"],
        ["extract", "10:32:03", "0.5 s", "0.5 s", "1,002", "48,213", "0.12 s"],
        ["analyse", "10:32:04", "0.0 s", "not ended", "-", "-", "-"],
        ["report", "-", "-", "-", "-", "-", "-"],
    ]


def test_a_step_whose_one_before_was_left_out_waited_since_the_last_that_was_not() -> None:
    """An empty minute has no analysis."""
    at = MINUTE.end
    stages = {
        Stage.SETTLE: StageTimes(started_at=at, ended_at=at + timedelta(seconds=2)),
        Stage.REPORT: StageTimes(started_at=at + timedelta(seconds=5), ended_at=at + timedelta(seconds=6)),
    }

    assert minute.steps(an_entry(stages=stages))[-1]["Waited"] == "3.0 s"


def test_counts_that_are_not_known_are_no_zeros() -> None:
    assert [each.value for each in minute.counts(an_entry(late_events=0))] == ["102", "100", "2", "0", "3", "1"]
    assert [each.value for each in minute.counts(a_failed_entry())] == ["-"] * 6


def test_objects_and_records_are_named() -> None:
    entry = an_entry(settled_offsets={0: 67, 1: 49, 2: 0})

    extract, source = minute.objects(entry, a_published_report())
    assert (extract["Where"], extract["Bytes"], extract["ETag"]) == (
        "extracts/user_interactions/2025-11-21_10-31.parquet",
        "4,821",
        "0123456789abcdef0123456789abcdef",
    )
    assert (source["What"], source["Where"]) == (
        "Source of revision 1",
        "s3://etar/extracts/user_interactions/2025-11-21_10-31.parquet",
    )
    assert [list(row.values()) for row in minute.partitions(entry)] == [
        ["0", "5", "66", "60", "67"],
        ["1", "7", "48", "42", "49"],
        ["2", "-", "-", "-", "0"],
    ]
    assert minute.objects(a_failed_entry(), None) == []
    assert minute.partitions(a_failed_entry()) == []


def test_revisions_stand_side_by_side_with_what_changed_between_them() -> None:
    first = an_entry(late_events=0)
    by_reconcile = an_entry(revision=2, run_id="etar_reconcile/manual__1", late_events=5)

    found = minute.revisions(
        known(revision(1, views=86), revision(2, views=91), revisions=(first, by_reconcile)), everything=False
    )

    assert row_of(found, "Total events") == {"": "Total events", "Revision 1": "100", "Revision 2": "105 (+5)"}
    assert row_of(found, "Event types · View · Success")["Revision 2"] == "91 (+5)"
    assert row_of(found, "Late") == {"": "Late", "Revision 1": "0", "Revision 2": "5 (+5)"}
    assert row_of(found, "Run")["Revision 2"] == "etar_reconcile (changed)"
    assert row_of(found, "Published (UTC)")["Revision 1"] == "2025-11-21 10:32:09"
    assert not [row for row in found.rows if row[""] == "Total errors"]
    everything = minute.revisions(known(revision(1, views=86), revision(2, views=91)), everything=True)
    assert row_of(everything, "Total errors")["Revision 2"] == "4"
    assert len(everything.rows) > len(found.rows)


def test_what_is_left_out_is_counted() -> None:
    reports = revision(1, views=86), revision(2, views=91)
    found = minute.revisions(known(*reports), everything=False)

    assert found.same == len(minute.revisions(known(*reports), everything=True).rows) - len(found.rows)
    assert found.same > 0


def test_one_revision_is_shown_whole() -> None:
    found = minute.revisions(known(revision(1)), everything=False)

    assert found.same == 0
    assert row_of(found, "Total errors") == {"": "Total errors", "Revision 1": "4"}


def test_values_of_every_kind_are_compared() -> None:
    before = {"fares": "12.50", "city": "Oslo", "longest": [{"ride": "a", "minutes": 12}], "open": True, "gone": 1}
    after = {"fares": "12.75", "city": "Bodø", "longest": [{"ride": "a", "minutes": 13}, {"ride": "b"}], "open": False}
    envelope = {"stream": "rides", "minute": MINUTE.start, "total_events": 1, "rows_read": 1, "source_object": None}
    reports = [
        PublishedReport.model_validate({**envelope, **body, "revision": number, "published_at": MINUTE.end})
        for number, body in enumerate((before, after), start=1)
    ]

    changed = {row[""]: row["Revision 2"] for row in minute.revisions(known(*reports), everything=False).rows}

    assert changed == {
        "Fares": "12.75 (+0.25)",
        "City": "Bodø (changed)",
        "Longest · 1 · Minutes": "13 (+1)",
        "Longest · 2 · Ride": "b (changed)",
        "Open": "false (changed)",
        "Gone": "- (changed)",
    }


def test_older_revisions_that_are_left_out_are_counted() -> None:
    assert minute.left_out(known(revision(1), revision(2))) == ""
    assert minute.left_out(known(revision(8), revision(9))) == " · the newest 2, 7 older ones are left out"
    assert minute.left_out(known()) == ""


def test_a_run_is_linked_to_by_its_dag_and_its_name() -> None:
    run = "etar_pipeline/scheduled__2025-11-21T10:32:00+00:00"

    assert minute.run_address(run, "https://airflow.example/at/") == (
        "https://airflow.example/at/dags/etar_pipeline/runs/scheduled__2025-11-21T10%3A32%3A00%2B00%3A00"
    )
    assert minute.run_address("a/b/c", "http://x") == "http://x/dags/a/runs/b%2Fc"


def with_standing(standing: Standing, *, stream: str = "user_interactions", reportable_from: int = 0) -> Day:
    return a_day({"10:31": standing}).model_copy(update={"stream": stream, "reportable_from": reportable_from})


AGAIN = "etar report --range 2025-11-21T10:31Z 2025-11-21T10:32Z"


@pytest.mark.parametrize(
    ("day", "command"),
    [
        (with_standing(Standing.FAILED), AGAIN),
        (with_standing(Standing.REPORTED), AGAIN),
        (with_standing(Standing.OVERDUE, stream="payments"), f"{AGAIN} --stream payments"),
        (with_standing(Standing.FAILED, reportable_from=631), AGAIN),
        (with_standing(Standing.GIVEN_UP, reportable_from=632), None),
        (with_standing(Standing.REPORTED, reportable_from=632), None),
        (with_standing(Standing.UNDER_WAY), None),
        (with_standing(Standing.DUE), None),
        (with_standing(Standing.AHEAD), None),
    ],
)
def test_a_minute_is_run_again_only_where_that_can_succeed(day: Day, command: str | None) -> None:
    assert minute.run_again(day, at("10:31")) == command


def test_a_minute_is_looked_up_by_its_stream() -> None:
    assert minute.look_up("user_interactions", MINUTE) == "etar minutes 2025-11-21T10:31Z"
    assert minute.look_up("payments", MINUTE) == "etar minutes 2025-11-21T10:31Z --stream payments"

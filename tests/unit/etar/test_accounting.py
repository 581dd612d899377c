"""Where the five places differ, by how much, and what the account says about it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.accounting import ProducerAccount, UnverifiableRangeError, resolve_range
from etar.kafka_offsets import TopicOffsets, behind, settled
from etar.minute import MINUTE, MinuteWindow
from etar.reconciliation import MinuteFacts, PartitionFacts, Verification, reconcile
from etar.report import Outcomes, PublishedReport, Report
from etar.settings import PipelineSettings
from etar.streams import USER_INTERACTIONS

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")


def report(rows: int, events: int, *, window: MinuteWindow = WINDOW, revision: int = 1) -> PublishedReport:
    return PublishedReport(
        minute=window.start,
        total_events=events,
        total_errors=0,
        event_types={"view": Outcomes(success=events)},
        unique_users=min(events, 1),
        rows_read=rows,
        source_object="s3a://etar/x.parquet" if rows else None,
        revision=revision,
        published_at=window.end,
    )


EXACT = MinuteFacts(WINDOW, rows=105, unique=100, dead_letters=3, parquet_rows=105, report=report(105, 100))
EMPTY_REPORT = PublishedReport(**Report.empty(WINDOW).model_dump(), revision=1, published_at=WINDOW.end)
EMPTY = MinuteFacts(WINDOW, rows=0, unique=0, dead_letters=0, parquet_rows=None, report=EMPTY_REPORT)
WHOLE = PartitionFacts(2, first=10, end=110, in_table=97, in_dead_letters=3, in_both=0)


def account(minutes: list[MinuteFacts], partitions: list[PartitionFacts]) -> Verification:
    return reconcile(minutes, partitions, stream=USER_INTERACTIONS)


def test_places_that_agree_have_no_difference_and_no_note() -> None:
    verification = account([EXACT, EMPTY], [WHOLE])

    assert verification.ok
    assert verification.difference == 0
    assert json.loads(verification.model_dump_json())["minutes"][0] == {
        "minute": "2026-11-21T10:31Z",
        "received": 105,
        "duplicates": 5,
        "unique": 100,
        "dead_letters": 3,
        "parquet_rows": 105,
        "report_rows": 105,
        "report_events": 100,
        "revision": 1,
        "difference": 0,
        "note": None,
    }


def test_the_json_has_the_form_that_is_promised() -> None:
    document = json.loads(account([EXACT], [WHOLE]).model_dump_json())
    assert {"ok", "difference", "minutes", "partitions"} == document.keys()
    assert (document["ok"], document["difference"]) == (True, 0)


@pytest.mark.parametrize(
    ("facts", "difference", "note"),
    [
        (replace(EXACT, report=None), 105 + 100 + 1, "no report; make it: etar exec airflow backfill create"),
        (replace(EMPTY, report=None), 1, "no report"),
        (replace(EXACT, parquet_rows=104), 1, "table 105 rows, Parquet 104, report 105"),
        (replace(EXACT, parquet_rows=None), 105, "table 105 rows, Parquet 0, report 105"),
        (replace(EMPTY, parquet_rows=7), 7, "table 0 rows, Parquet 7, report 0"),
        (replace(EXACT, rows=106, unique=101), 1 + 1 + 1, "1 rows came after the minute was reported"),
        (replace(EXACT, rows=104), 1 + 1, "table 104 rows, Parquet 105, report 105"),
        (replace(EXACT, unique=99), 1, "table 99 unique events, report 100"),
    ],
)
def test_a_difference_in_a_minute_is_counted_and_explained(facts: MinuteFacts, difference: int, note: str) -> None:
    verification = account([facts], [])

    assert verification.difference == difference
    assert not verification.ok
    (minute,) = verification.minutes
    assert minute.note is not None
    assert note in minute.note


def test_the_repair_names_the_minute_by_its_start() -> None:
    """Airflow's backfill takes interval starts, both ends inclusive: checked with its own timetable."""
    (minute,) = account([replace(EXACT, report=None)], []).minutes
    assert minute.note is not None
    assert minute.note.endswith(
        "--from-date 2026-11-21T10:31:00+00:00 --to-date 2026-11-21T10:31:00+00:00 --reprocess-behavior completed"
    )


def test_what_is_missing_and_what_is_twice_never_cancel_out() -> None:
    lost = replace(WHOLE, in_table=96, missing_ranges=((50, 50),))
    twice = replace(WHOLE, partition=3, in_table=98, in_both=1, both_sample=(12,))
    verification = account([], [lost, twice])

    assert verification.difference == 2
    first, second = verification.partitions
    assert (first.missing, first.in_both, second.missing, second.in_both) == (1, 0, 0, 1)
    assert first.note is not None
    assert "--topic user_interactions:2 --reset-offsets --to-offset 50 --execute" in first.note
    assert second.note is not None
    assert "_partition = 3 AND _offset IN (12)" in second.note


def test_a_record_missing_beside_one_in_both_places_is_two_differences() -> None:
    facts = replace(WHOLE, in_table=97, in_dead_letters=3, in_both=1, missing_ranges=((50, 50),), both_sample=(12,))
    assert account([], [facts]).difference == 2


@pytest.mark.parametrize(
    ("acknowledged", "appended", "difference", "note"),
    [
        (100, 100, 0, None),
        (101, 100, 1, "acknowledged records are gone"),
        (90, 100, 10, "another producer wrote"),
    ],
)
def test_a_producers_account_is_compared(acknowledged: int, appended: int, difference: int, note: str | None) -> None:
    verification = account([], [replace(WHOLE, acknowledged=acknowledged, appended=appended)])
    assert verification.difference == difference
    assert (note or "") in (verification.partitions[0].note or "")


@given(
    minutes=st.lists(
        st.builds(
            lambda rows, unique, parquet, reported: MinuteFacts(WINDOW, rows, unique, 0, parquet, reported),
            st.integers(0, 5),
            st.integers(0, 5),
            st.none() | st.integers(0, 5),
            st.none() | st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda pair: report(max(pair), min(pair))),
        ),
        max_size=4,
    )
)
def test_an_account_is_ok_exactly_when_every_pair_of_places_agrees(minutes: list[MinuteFacts]) -> None:
    def agrees(facts: MinuteFacts) -> bool:
        return facts.report is not None and (
            facts.rows == (facts.parquet_rows or 0) == facts.report.rows_read
            and facts.unique == facts.report.total_events
        )

    assert account(minutes, []).ok == all(agrees(facts) for facts in minutes)


# --- which minutes are compared

PIPELINE = PipelineSettings(start_date=WINDOW.start, grace_seconds=2, horizon_hours=24)


class OneRecordASecond:
    """A partition that takes one record a second from WINDOW's start, and a sink that is ``lag`` seconds behind."""

    def __init__(self, now: datetime, lag: int = 0) -> None:
        self._now = now
        self._lag = lag

    def held_at(self, instant: datetime) -> dict[int, int]:
        return {0: max(0, int((min(instant, self._now) - WINDOW.start).total_seconds()))}

    def committed(self, group: str) -> dict[int, int]:
        assert group == USER_INTERACTIONS.sink_group
        return {0: max(0, self.held_at(self._now)[0] - self._lag)}


def resolve(
    now: datetime, *, lag: int = 0, from_: MinuteWindow | None = None, to: MinuteWindow | None = None
) -> tuple[str, str, dict[int, tuple[int, int]]]:
    offsets = cast(TopicOffsets, OneRecordASecond(now, lag))
    span = resolve_range(from_, to, offsets=offsets, group=USER_INTERACTIONS.sink_group, pipeline=PIPELINE, now=now)
    return str(span.first), str(span.end), dict(span.offsets)


@pytest.mark.parametrize(
    ("after_start", "end"),
    [
        (timedelta(minutes=3) - timedelta(microseconds=1), "2026-11-21T10:31Z"),
        (timedelta(minutes=3), "2026-11-21T10:32Z"),
        (timedelta(minutes=4), "2026-11-21T10:33Z"),
    ],
)
def test_by_default_a_minute_is_compared_once_it_is_old_enough_to_be_reported(after_start: timedelta, end: str) -> None:
    assert resolve(WINDOW.start + after_start)[:2] == ("2026-11-21T10:31Z", end)


def test_by_default_minutes_that_the_sink_is_behind_are_left_for_later() -> None:
    now = WINDOW.start + timedelta(minutes=10)
    # Settled at 10:35:02 needs the 242 records up to there; 600 came so far.
    assert resolve(now, lag=600 - 242)[1] == "2026-11-21T10:35Z"
    assert resolve(now, lag=600 - 241)[1] == "2026-11-21T10:34Z"


def test_the_offsets_are_those_taken_in_between_the_two_ends() -> None:
    now = WINDOW.start + timedelta(minutes=10)
    assert resolve(now, from_=WINDOW.next, to=WINDOW.next.next)[2] == {0: (60, 120)}


@pytest.mark.parametrize(("seconds", "settled_now"), [(61.999, False), (62, True), (63, True)])
def test_a_minute_asked_for_must_have_ended_and_had_its_grace(seconds: float, settled_now: bool) -> None:
    now = WINDOW.start + timedelta(seconds=seconds)
    if settled_now:
        assert resolve(now, to=WINDOW.next)[1] == str(WINDOW.next)
    else:
        with pytest.raises(UnverifiableRangeError, match="10:31Z is not settled yet"):
            resolve(now, to=WINDOW.next)


def test_a_range_without_a_minute_is_refused() -> None:
    with pytest.raises(UnverifiableRangeError, match="its end is exclusive"):
        resolve(WINDOW.start + timedelta(minutes=10), from_=WINDOW, to=WINDOW)


@pytest.mark.parametrize(("minutes", "oldest"), [(-1, False), (0, True), (1, True)])
def test_minutes_that_are_leaving_the_table_are_refused(minutes: int, oldest: bool) -> None:
    now = WINDOW.start + timedelta(days=3)
    first = MinuteWindow(now - timedelta(hours=24) + timedelta(minutes=5 + minutes))
    if oldest:
        assert resolve(now, from_=first)[0] == str(first)
    else:
        with pytest.raises(UnverifiableRangeError, match="is leaving the table, which keeps 24 h; the oldest"):
            resolve(now, from_=first)


def test_by_default_the_range_begins_inside_the_horizon() -> None:
    now = WINDOW.start + timedelta(days=3)
    assert resolve(now)[0] == str(MinuteWindow(now - timedelta(hours=24) + 5 * MINUTE))


# --- offsets and accounts


@pytest.mark.parametrize(
    ("target", "committed", "late"),
    [
        ({0: 10}, {0: 9}, {0: 1}),
        ({0: 10}, {0: 10}, {}),
        ({0: 10}, {0: 11}, {}),
        ({0: 0}, {}, {}),
        ({0: 3, 1: 5}, {1: 5}, {0: 3}),
    ],
)
def test_a_group_is_settled_when_it_is_behind_nowhere(
    target: dict[int, int], committed: dict[int, int], late: dict[int, int]
) -> None:
    assert behind(target, committed) == late
    assert settled(target, committed) is not bool(late)


def test_a_producers_account_is_read_from_its_file(tmp_path: Path) -> None:
    from producer.account import Account, Counts, Outcome  # the writer of the file, for this comparison only

    started = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
    written = Account(
        topic="user_interactions",
        seed=1,
        workers=1,
        started_at=started,
        ended_at=started + MINUTE,
        counts=Counts(partitions={-1: Outcome(failed=2), 0: Outcome(acknowledged=5), 1: Outcome(acknowledged=7)}),
    )
    written.write(tmp_path / "account.json")

    assert ProducerAccount.read(tmp_path / "account.json") == ProducerAccount(
        topic="user_interactions", started_at=started, ended_at=started + MINUTE, acknowledged={0: 5, 1: 7}
    )


def test_a_file_that_is_no_account_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UnverifiableRangeError, match=r"other\.json is no account of a producer"):
        ProducerAccount.read(tmp_path / "other.json")

"""Which minutes are compared, with which offsets, and what a producer's account is read as."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from etar.kafka.offsets import TopicOffsets, behind, settled
from etar.minute import MINUTE, MinuteWindow
from etar.offsets import Span
from etar.report import PublishedReport
from etar.settings import PipelineSettings
from etar.streams import default_stream
from etar.verify.account import ProducerAccount, Range, UnverifiableRangeError, _gone, _unreported, resolve_range
from etar.verify.books import Books
from etar.verify.facts import GoneRows
from etar.verify.table import MinuteCounts

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
PIPELINE = PipelineSettings(start_date=WINDOW.start, grace_seconds=2, horizon_hours=24, retention_hours=26)


class OneRecordASecond:
    """A partition that takes one record a second from WINDOW's start, and a sink that is ``lag`` seconds behind."""

    def __init__(self, now: datetime, lag: int = 0) -> None:
        self._now = now
        self._lag = lag
        self.asked = 0

    def held_at(self, instant: datetime) -> dict[int, int]:
        self.asked += 1
        return {0: max(0, int((min(instant, self._now) - WINDOW.start).total_seconds()))}

    def committed(self, group: str) -> dict[int, int]:
        assert group == default_stream().sink_group
        return {0: max(0, self.held_at(self._now)[0] - self._lag)}


def resolve(now: datetime, *, lag: int = 0, from_: MinuteWindow | None = None, to: MinuteWindow | None = None) -> Range:
    offsets = cast(TopicOffsets, OneRecordASecond(now, lag))
    return resolve_range(from_, to, offsets=offsets, group=default_stream().sink_group, pipeline=PIPELINE, now=now)


@pytest.mark.parametrize(
    ("after_start", "end"),
    [
        (timedelta(minutes=3) - timedelta(microseconds=1), "2026-11-21T10:31Z"),
        (timedelta(minutes=3), "2026-11-21T10:32Z"),
        (timedelta(minutes=4), "2026-11-21T10:33Z"),
    ],
)
def test_by_default_a_minute_is_compared_once_it_is_old_enough_to_be_reported(after_start: timedelta, end: str) -> None:
    span = resolve(WINDOW.start + after_start)
    assert (str(span.arrived_from), str(span.end)) == ("2026-11-21T10:31Z", end)


def test_by_default_minutes_that_the_sink_is_behind_are_left_for_later() -> None:
    now = WINDOW.start + timedelta(minutes=10)
    # Settled at 10:35:02 needs the 242 records up to there; 600 came so far.
    assert str(resolve(now, lag=600 - 242).end) == "2026-11-21T10:35Z"
    assert str(resolve(now, lag=600 - 241).end) == "2026-11-21T10:34Z"


@pytest.mark.parametrize("settled_seconds", [0, 61, 62, 63, 122, 12 * 3600 + 2, 20 * 3600, 24 * 3600])
def test_however_far_the_sink_is_behind_kafka_is_asked_a_few_times_and_the_end_is_the_same(
    settled_seconds: int,
) -> None:
    now = WINDOW.start + timedelta(days=1)
    offsets = OneRecordASecond(now, lag=24 * 3600 - settled_seconds)
    span = resolve_range(
        None,
        None,
        offsets=cast(TopicOffsets, offsets),
        group=default_stream().sink_group,
        pipeline=PIPELINE,
        now=now,
    )
    # A minute is settled two seconds after its end; the newest two are not due yet.
    minutes = min((settled_seconds - 2) // 60, 24 * 60 - 2)
    assert span.end == MinuteWindow(WINDOW.start + minutes * MINUTE)
    assert offsets.asked < 20


def test_the_offsets_are_those_taken_in_between_the_two_ends() -> None:
    now = WINDOW.start + timedelta(minutes=10)
    assert resolve(now, from_=WINDOW.next, to=WINDOW.next.next).offsets == {0: Span(60, 120)}


@pytest.mark.parametrize(("seconds", "settled_now"), [(61.999, False), (62, True), (63, True)])
def test_a_minute_asked_for_must_have_ended_and_had_its_grace(seconds: float, settled_now: bool) -> None:
    now = WINDOW.start + timedelta(seconds=seconds)
    if settled_now:
        assert resolve(now, to=WINDOW.next).end == WINDOW.next
    else:
        with pytest.raises(UnverifiableRangeError, match="10:31Z is not settled yet"):
            resolve(now, to=WINDOW.next)


def test_a_range_without_a_minute_is_refused() -> None:
    with pytest.raises(UnverifiableRangeError, match="its end is exclusive"):
        resolve(WINDOW.start + timedelta(minutes=10), from_=WINDOW, to=WINDOW)


@pytest.mark.parametrize(("minutes", "oldest"), [(-1, False), (0, True), (1, True)])
def test_minutes_that_are_leaving_the_table_are_refused(minutes: int, oldest: bool) -> None:
    now = WINDOW.start + timedelta(days=3)
    first = MinuteWindow(now - timedelta(hours=26) + timedelta(minutes=10 + minutes))
    if oldest:
        assert resolve(now, from_=first).first == first
    else:
        with pytest.raises(UnverifiableRangeError, match="is leaving the table, which keeps 26 h; the oldest"):
            resolve(now, from_=first)


def test_by_default_the_range_begins_inside_the_retention() -> None:
    now = WINDOW.start + timedelta(days=3)
    span = resolve(now)
    assert span.first == span.arrived_from == MinuteWindow(now - timedelta(hours=26) + 10 * MINUTE)


def test_by_default_minutes_before_the_deployment_are_looked_at_but_not_what_arrived_before_it() -> None:
    now = WINDOW.start + timedelta(minutes=10)
    span = resolve(now)
    assert span.first == MinuteWindow(now - timedelta(hours=26) + 10 * MINUTE)
    assert (span.arrived_from, span.offsets) == (WINDOW, {0: Span(0, 480)})


def test_a_range_that_ends_before_the_deployment_has_no_offsets() -> None:
    span = resolve(WINDOW.start + timedelta(minutes=1))
    assert (span.arrived_from, span.offsets) == (span.end, {0: Span(0, 0)})


def test_a_record_that_can_have_left_the_table_arrived_before_the_oldest_minute_and_the_horizon() -> None:
    now = WINDOW.start + timedelta(days=3, seconds=30)
    span = resolve(now)
    young_from = WINDOW.start + timedelta(seconds=span.young_from[0])  # one record a second

    # 26 h of retention less 24 h of horizon, with ten minutes to spare, on the next whole minute.
    assert young_from == now + timedelta(seconds=30) - timedelta(hours=2) + 10 * MINUTE
    for arrived, can_be_gone in ((young_from - timedelta(seconds=60), True), (young_from, False)):
        earliest_event = arrived - PIPELINE.horizon + timedelta(milliseconds=1)
        assert (MinuteWindow.containing(earliest_event) < span.oldest) is can_be_gone


def test_nothing_that_arrived_can_have_left_the_table_of_a_young_pipeline() -> None:
    assert resolve(WINDOW.start + timedelta(minutes=10)).young_from == {0: 0}


# --- rows that are gone, and events that the reports miss


def report(rows: int, events: int) -> PublishedReport:
    return PublishedReport(
        stream="user_interactions",
        minute=WINDOW.start,
        total_events=events,
        rows_read=rows,
        source_object="s3a://etar/x.parquet",
        revision=1,
        published_at=WINDOW.end,
    )


class ReportedOffsets:
    """The books of one minute, reported from offsets 10 to 19."""

    def rows_removed(self) -> dict[int, list[Span]]:
        return {}

    def records_reported(self, windows: list[MinuteWindow]) -> dict[MinuteWindow, dict[int, Span]]:
        return {window: {0: Span(10, 20)} for window in windows}


@pytest.mark.parametrize(
    ("most", "served", "rows", "gone"),
    [
        (10, 10, 10, 0),
        (10, 10, 9, 1),
        (9, 10, 9, 1),  # the newest revision was never written down: its run was killed
        (10, 9, 9, 1),
        (9, None, 9, 0),
        (9, None, 8, 1),
        (10, 10, 0, 10),
    ],
)
def test_rows_are_gone_that_any_revision_counted_whether_written_down_or_served(
    most: int, served: int | None, rows: int, gone: int
) -> None:
    reports = {} if served is None else {WINDOW: report(served, served)}
    counts = {WINDOW: MinuteCounts(rows=rows)} if rows else {}
    found = _gone({WINDOW: most}, reports, counts, cast(Books, ReportedOffsets()))
    assert found == ({WINDOW: GoneRows(gone, {0: 10})} if gone else {})


@pytest.mark.parametrize(
    ("reported", "off"),
    [
        (None, 8),
        (0, 8),
        (7, 1),
        (8, 0),  # what arrived just now may be missing
        (10, 0),
        (11, 1),  # counts an event that the table does not have
        (99, 9),
    ],
)
def test_a_report_that_counts_too_few_events_or_too_many_is_off_by_as_much(reported: int | None, off: int) -> None:
    counted = MinuteCounts(rows=12, unique=10, fresh=2, owned=11, owned_events=9, established=8)
    assert _unreported(counted, None if reported is None else report(100, reported)) == off


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
        counts=Counts(
            partitions={-1: Outcome(failed=2), 0: Outcome(acknowledged=5), 1: Outcome(acknowledged=7, failed=3)},
            failures={"_PURGE_QUEUE": 2, "_PURGE_INFLIGHT": 3},
        ),
        in_doubt=4,
    )
    written.write(tmp_path / "account.json")

    assert ProducerAccount.read(tmp_path / "account.json") == ProducerAccount(
        topic="user_interactions",
        started_at=started,
        ended_at=started + MINUTE,
        acknowledged={0: 5, 1: 7},
        in_doubt=4 + 3,
    )


def test_an_account_says_how_many_records_are_in_doubt(tmp_path: Path) -> None:
    document = {
        "topic": "user_interactions",
        "started_at": "2026-11-21T10:31:00Z",
        "ended_at": "2026-11-21T10:32:00Z",
        "counts": {"partitions": {"0": {"acknowledged": 5, "failed": 0}}},
        "in_doubt": 3,
    }
    (tmp_path / "account.json").write_text(json.dumps(document))
    assert ProducerAccount.read(tmp_path / "account.json").in_doubt == 3


def test_a_file_that_is_no_account_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UnverifiableRangeError, match=r"other\.json is no account of a producer"):
        ProducerAccount.read(tmp_path / "other.json")

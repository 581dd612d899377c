"""Which minutes are compared, with which offsets, and what a producer's account is read as."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from etar.dead_letters import Reason
from etar.kafka.offsets import TopicOffsets, behind, settled
from etar.minute import MINUTE, MinuteWindow
from etar.offsets import Span
from etar.report import PublishedReport
from etar.settings import PipelineSettings
from etar.streams import default_stream
from etar.verify.account import (
    ProducerAccount,
    Range,
    UnverifiableRangeError,
    _arrivals,
    _gone,
    _letters,
    _partitions,
    _totals,
    _unreported,
    resolve_range,
)
from etar.verify.books import Books
from etar.verify.facts import ClosedOffsets, Coverage, GoneRows, Offset, Sent, TotalsFacts
from etar.verify.table import MinuteCounts, Table

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
SECOND = timedelta(seconds=1)
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


# --- what arrived in a producer's run, or in the range


class Kafka:
    """A partition that holds the offsets from ``low`` on: a record a second since WINDOW's start, and a sink at 100."""

    def __init__(self, low: int = 0) -> None:
        self._low = low

    def held_at(self, instant: datetime) -> dict[int, int]:
        return {0: max(self._low, int((instant - WINDOW.start).total_seconds()))}

    def low(self) -> dict[int, int]:
        return {0: self._low}

    def committed(self, group: str) -> dict[int, int]:
        assert group == default_stream().sink_group
        return {0: 100}


SPAN = Range(
    WINDOW.previous, WINDOW.next.next, {0: Span(5, 60)}, WINDOW.previous, {0: 7}, WINDOW.previous, arrived_from=WINDOW
)
RUN = ProducerAccount("user_interactions", WINDOW.start + 10 * SECOND, WINDOW.next.start, acknowledged={0: 50})


def test_without_a_producers_account_the_totals_are_of_what_arrived_in_the_range() -> None:
    found = _arrivals(None, SPAN, cast(TopicOffsets, Kafka()), default_stream())
    assert (found.started_at, found.ended_at) == (WINDOW.start, WINDOW.next.next.start)
    assert (found.offsets, found.behind) == ({0: Span(5, 60)}, 0)


def test_with_one_they_are_of_what_arrived_in_its_run_and_say_how_far_the_sink_is_behind() -> None:
    found = _arrivals(RUN, SPAN, cast(TopicOffsets, Kafka()), default_stream())
    assert (found.started_at, found.ended_at) == (RUN.started_at, RUN.ended_at)
    assert (found.offsets, found.behind) == ({0: Span(10, 60)}, 0)
    assert (found.first, found.end) == (WINDOW, WINDOW.next.next)
    longer = replace(RUN, ended_at=WINDOW.start + 130 * SECOND)
    assert _arrivals(longer, SPAN, cast(TopicOffsets, Kafka()), default_stream()).behind == 30


def test_an_account_of_another_topic_is_refused() -> None:
    with pytest.raises(UnverifiableRangeError, match="of topic 'payments', not of 'user_interactions'"):
        _arrivals(replace(RUN, topic="payments"), SPAN, cast(TopicOffsets, Kafka()), default_stream())


@pytest.mark.parametrize(
    ("low", "acknowledged", "refused"),
    [
        (0, 51, False),  # Kafka holds all: what is gone is a difference, and said
        (9, 51, False),  # and so it is where Kafka's first record is older than the run
        (10, 50, False),
        (10, 51, True),
        (11, 49, False),  # as many as the account says are there yet
        (11, 50, True),
        (60, 1, True),
    ],
)
def test_an_account_that_begins_before_what_kafka_still_holds_is_refused(
    low: int, acknowledged: int, refused: bool
) -> None:
    run, kafka = replace(RUN, acknowledged={0: acknowledged}), cast(TopicOffsets, Kafka(low))
    if refused:
        with pytest.raises(UnverifiableRangeError, match=rf"begins at 2026-11-21T10:31:10Z.* begins at offset {low}\)"):
            _arrivals(run, SPAN, kafka, default_stream())
    else:
        assert _arrivals(run, SPAN, kafka, default_stream()).offsets == {0: Span(max(10, low), 60)}


# --- partitions and totals


class KeptBooks:
    """Books in which a minute is closed from offset 2 on, and three letters are not open any more."""

    def closed(
        self, first: MinuteWindow, end: MinuteWindow, *, letters_from: MinuteWindow
    ) -> dict[int, list[ClosedOffsets]]:
        assert letters_from == SPAN.letters_from
        return {0: [ClosedOffsets(Span(2, 9))]} if first < end else {}

    def replays(self, partition: int, span: Span) -> int:
        return 3 if (partition, span) == (0, Span(10, 60)) else 0

    def unsettled_replays(self, partition: int, span: Span) -> list[Offset]:
        return [(partition, 4), (partition, 7)] if span == Span(10, 60) else []

    def letters_not_open(self, offsets: Mapping[int, Span]) -> dict[str, list[Offset]]:
        return {"replayed": [(0, 11), (0, 12)], "discarded": [(0, 13)]}


class KeptTable:
    """Twelve letters, of which two were replayed and one is discarded; what is asked of each partition is noted."""

    letters: ClassVar[dict[Any, dict[str, int]]] = {
        None: {Reason.TOO_LATE: 5, Reason.NOT_AVRO: 7},
        ((0, 11), (0, 12)): {Reason.TOO_LATE: 1, Reason.NOT_AVRO: 1},
        ((0, 13),): {Reason.TOO_LATE: 1},
        (): {},
    }

    def __init__(self) -> None:
        self.asked: list[tuple[int, Span, Sequence[ClosedOffsets], int]] = []

    def coverage(self, partition: int, span: Span, *, closed: Sequence[ClosedOffsets], young_from: int) -> Coverage:
        self.asked.append((partition, span, closed, young_from))
        return Coverage(span, in_table=0, in_dead_letters=0, in_both=0, closed=4, no_record=2)

    def letters_by_reason(self, offsets: Mapping[int, Span], *, only: Sequence[Offset] | None = None) -> dict[str, int]:
        return self.letters[None if only is None else tuple(only)]


def arrivals(account: ProducerAccount | None = None) -> Any:
    return _arrivals(account, SPAN, cast(TopicOffsets, Kafka()), default_stream())


@pytest.mark.parametrize("run", [None, RUN, replace(RUN, acknowledged={})])
def test_a_partition_is_looked_at_from_what_the_auditor_closed_first_on_and_beside_what_the_run_says(
    run: ProducerAccount | None,
) -> None:
    table = KeptTable()
    (facts,) = _partitions(SPAN, cast(Table, table), cast(Books, KeptBooks()), run, arrivals(run))
    # What Kafka lost at the beginning of a closed minute is in no offset that Kafka still has.
    assert table.asked == [(0, Span(2, 60), [ClosedOffsets(Span(2, 9))], 7)]
    assert (facts.partition, facts.coverage.span) == (0, Span(2, 60))
    said = run and Sent(run.acknowledged.get(0, 0), 50, replays=3, unsettled=("0:4", "0:7"))
    assert facts.sent == said


def test_letters_count_by_what_became_of_them_and_the_open_ones_by_whether_they_were_too_late() -> None:
    found = _letters({0: Span(10, 60)}, cast(Table, KeptTable()), cast(Books, KeptBooks()))
    assert found == {"too_late": 5 - 1 - 1, "bad": 7 - 1, "discarded": 1, "replayed": 2}


def test_letters_are_all_open_of_which_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptBooks, "letters_not_open", lambda *_: {})
    found = _letters({0: Span(10, 60)}, cast(Table, KeptTable()), cast(Books, KeptBooks()))
    assert found == {"too_late": 5, "bad": 7, "discarded": 0, "replayed": 0}


@pytest.mark.parametrize(
    ("due_before", "unreported", "not_due"), [(None, 3 + 4, 0), (WINDOW.next, 3, 4), (WINDOW, 0, 3 + 4)]
)
def test_the_totals_are_sums_over_all_minutes_and_partitions(
    due_before: MinuteWindow | None, unreported: int, not_due: int
) -> None:
    counts = {
        WINDOW: MinuteCounts(rows=12, unique=10, owned=11, owned_events=9, established=10),
        WINDOW.next: MinuteCounts(rows=5, unique=4, owned=5, owned_events=4, established=4),
    }
    totals = _totals(
        replace(arrivals(RUN), behind=6),
        SPAN,
        cast(Table, KeptTable()),
        cast(Books, KeptBooks()),
        counts=counts,
        reports={WINDOW: report(12, 7)},
        acknowledged=50,
        due_before=due_before,
    )
    assert totals == TotalsFacts(
        arrived_from=RUN.started_at,
        arrived_to=RUN.ended_at,
        records=50,
        acknowledged=50,
        replays=3,
        rows=16,
        events=13,
        unreported=unreported,
        not_due=not_due,
        too_late=3,
        bad=6,
        discarded=1,
        replayed=2,
        closed=4,
        no_record=2,
        behind=6,
    )


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

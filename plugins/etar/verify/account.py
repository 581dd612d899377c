"""``verify``: the account of a range of settled minutes, from the places themselves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, ValidationError

from etar.account import LEAVING, REPORT_ALLOWANCE
from etar.audit.marks import not_the_audited_topic
from etar.dead_letters import Reason
from etar.kafka.offsets import TopicOffsets, behind, settled
from etar.kafka.topic_settings import topic_faults
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.pipeline.affected import has_to_be_reported
from etar.progress import Told, say_nothing
from etar.report import PublishedReport
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    PipelineSettings,
    ReconcileSettings,
    ReportReadSettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream
from etar.verify.books import Books
from etar.verify.compare import Verification, compare, gone_rows
from etar.verify.facts import ClosedOffsets, Coverage, GoneRows, MinuteInPlaces, PartitionFacts, Sent, TotalsFacts
from etar.verify.objects import parquet_objects
from etar.verify.reports import read_reports
from etar.verify.table import MinuteCounts, Table
from etar.verify.windows import compare_windows

_STANDSTILL = timedelta(minutes=5)
"""So long after a minute was due to be settled, and is not, the sink does not keep up, or does not run."""

_STEPS = ("Kafka's offsets", "reports", "Parquet objects", "rows of the table", "every partition's records")
"""What is read, in this order, as a person is told who waits."""

_LETTERS_KEPT = timedelta(days=30)
"""The TTL of the dead letters' table."""


class UnverifiableRangeError(ValueError):
    """The range is not one that can be compared: upside down, not settled yet, or already leaving the table."""


@dataclass(frozen=True)
class ProducerAccount:
    """What a producer says that it sent between two instants: records acknowledged per partition, and over all
    partitions those in doubt, sent by a worker that was killed or gave up before it had Kafka's answer."""

    topic: str
    started_at: datetime
    ended_at: datetime
    acknowledged: Mapping[int, int]
    in_doubt: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the file that ``etar produce --account FILE`` writes.

        Raises:
            UnverifiableRangeError: the file cannot be read, or is no such account.
        """
        try:
            document = _AccountFile.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UnverifiableRangeError(f"{path} is no account of a producer: {error}") from error
        return cls(
            topic=document.topic,
            started_at=document.started_at,
            ended_at=document.ended_at,
            # Partition -1 holds records that failed before they were given a partition: none was acknowledged.
            acknowledged={p: sent.acknowledged for p, sent in document.counts.partitions.items() if p >= 0},
            in_doubt=max(document.in_doubt, document.perhaps_sent),
        )


class _Sent(BaseModel):
    acknowledged: NonNegativeInt


class _Counts(BaseModel):
    partitions: dict[int, _Sent]


class _AccountFile(BaseModel):
    topic: str
    started_at: AwareDatetime
    ended_at: AwareDatetime
    counts: _Counts
    in_doubt: NonNegativeInt = 0
    perhaps_sent: NonNegativeInt = 0


@dataclass(frozen=True)
class Range:
    """The minutes ``[first, end)``, all settled, and the offsets that each partition took in over them, or from
    ``arrived_from`` on.

    Args:
        oldest: first minute that the table is sure to have whole.
        young_from: by partition, the offset from which on every row is of ``oldest`` or later.
        letters_from: first arrival minute whose dead letters are sure to be there.
    """

    first: MinuteWindow
    end: MinuteWindow
    offsets: Mapping[int, Span]
    oldest: MinuteWindow
    young_from: Mapping[int, int]
    letters_from: MinuteWindow
    arrived_from: MinuteWindow


@dataclass(frozen=True)
class _Arrivals:
    """The records that the totals are of: a producer's run, or the range."""

    started_at: datetime
    ended_at: datetime
    offsets: Mapping[int, Span]
    behind: int = 0

    @property
    def first(self) -> MinuteWindow:
        return MinuteWindow.containing(self.started_at)

    @property
    def end(self) -> MinuteWindow:
        return MinuteWindow.containing(self.ended_at).next


def verify(
    from_: MinuteWindow | None = None,
    to: MinuteWindow | None = None,
    *,
    stream: Stream,
    producer_account: ProducerAccount | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    told: Told = say_nothing,
) -> Verification:
    """Compare the places over the minutes ``[from_, to)``. Only settled minutes are compared, so traffic may flow.

    Args:
        from_: default: the oldest that the table is sure to have whole. A minute before the pipeline's first one is
            compared if it has rows, or a row of the ledger.
        to: default: after the newest settled minute that is old enough to be reported (:data:`REPORT_ALLOWANCE`).
        producer_account: compared with what Kafka took in during that run, all of which must be accounted for; exact
            if nobody else wrote to the topic and the producer's clock is the broker's.
        told: of how many of the places have been read.

    Returns:
        An account without minutes, and no difference, while there is no minute to compare by default.

    Raises:
        UnverifiableRangeError: the range given cannot be compared, and the message says which one can; or the topic
            is not the one that was audited.
        PlaceUnavailableError, KafkaUnavailableError, UnknownTopicError: a place does not answer.
    """
    pipeline = get_settings(PipelineSettings)
    asked_at = now()
    steps = enumerate(_STEPS)

    def next_step() -> None:
        done, step = next(steps)
        told(done, len(_STEPS), step)

    next_step()
    with TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as offsets:
        _require_audited(stream, offsets.topic_id())
        faults = topic_faults(offsets.settings(), needed=pipeline.retention)
        span = resolve_range(from_, to, offsets=offsets, group=stream.sink_group, pipeline=pipeline, now=asked_at)
        arrivals = _arrivals(producer_account, span, offsets, stream)
        if to is None and producer_account is None and asked_at - REPORT_ALLOWANCE - span.end.start > _STANDSTILL:
            waiting = behind(offsets.end(), offsets.committed(stream.sink_group))
            arrivals = replace(arrivals, behind=sum(waiting.values()))
    # A report is posted after its Parquet object is put, which is made from the table. Read in the opposite order, each
    # place has at least what the one before has, while traffic flows; rows that are only just there are told by their
    # time of arrival.
    fresh_from = asked_at - REPORT_ALLOWANCE
    with (
        Books(get_settings(ReportStoreSettings), stream) as books,
        Table(get_settings(WarehouseSettings), stream, oldest=span.oldest) as table,
    ):
        most_reported = books.most_reported(span.first, span.end)
        held = {*table.minutes_of(arrivals.offsets), *books.ledger(span.first, span.end)}
        windows = [
            window
            for window in MinuteWindow.between(span.first, span.end)
            if has_to_be_reported(window, pipeline, held=window in held)
        ]
        compared = sorted({*windows, *held})
        next_step()
        reports = _reports(stream, compared)
        # A row that is ahead of the report just read is of a revision with more rows, which the table has.
        entries = books.ledger(span.first, span.end)
        next_step()
        parquet = parquet_objects(get_settings(ObjectStoreSettings), stream, windows)
        next_step()
        counts = table.minutes(compared, fresh_from=fresh_from, owned=arrivals.offsets)
        dead = table.dead_letters(span.first, span.end)
        gone = _gone(most_reported, reports, counts, books)
        minutes = []
        for window in windows:
            counted = counts.get(window, MinuteCounts())
            minutes.append(
                MinuteInPlaces(
                    window=window,
                    rows=counted.rows,
                    unique=counted.unique,
                    dead_letters=dead.get(window, 0),
                    parquet=parquet.get(window),
                    report=reports.get(window),
                    ledger=entries.get(window),
                    fresh=counted.fresh,
                    gone=gone.get(window),
                )
            )
        next_step()
        partitions = _partitions(span, table, books, producer_account, arrivals)
        live = stream.windows
        of_windows = compare_windows(live, books.windows(live, span.first, span.end)) if live else ()
        totals = _totals(
            arrivals,
            span,
            table,
            books,
            counts=counts,
            reports=reports,
            acknowledged=sum(producer_account.acknowledged.values()) if producer_account else None,
            due_before=None if producer_account else MinuteWindow.containing(fresh_from),
        )
    return compare(
        minutes,
        partitions,
        totals,
        of_windows,
        stream=stream,
        in_doubt=producer_account.in_doubt if producer_account else 0,
        stale_before=asked_at - get_settings(ReconcileSettings).stale,
        warnings=[fault.told_of(stream.topic) for fault in faults],
    )


def _require_audited(stream: Stream, found: str) -> None:
    """Before anything is waited for: nothing of a topic that was made anew can be compared with what is stored."""
    with Books(get_settings(ReportStoreSettings), stream) as books:
        audited = books.audited_topic()
    if audited not in (None, found):
        raise UnverifiableRangeError(not_the_audited_topic(stream.topic, audited=audited, found=found))


def resolve_range(
    from_: MinuteWindow | None,
    to: MinuteWindow | None,
    *,
    offsets: TopicOffsets,
    group: str,
    pipeline: PipelineSettings,
    now: datetime,
) -> Range:
    """The minutes to compare, and their offsets; see :func:`verify` for the defaults.

    Raises:
        UnverifiableRangeError: a bound that was given cannot be compared.
    """
    committed = offsets.committed(group)

    def is_settled(window: MinuteWindow) -> bool:
        over = window.end + pipeline.grace
        return over <= now and settled(offsets.held_at(over), committed)

    oldest = MinuteWindow.first_at_or_after(now - pipeline.retention + LEAVING)
    first = from_ or oldest
    if first < oldest:
        raise UnverifiableRangeError(
            f"{first} is leaving the table, which keeps {pipeline.retention_hours:g} h; the oldest minute that can be "
            f"compared is {oldest}"
        )
    if to is None:
        newest = MinuteWindow.containing(now - REPORT_ALLOWANCE)
        windows = list(MinuteWindow.between(first, newest))
        # Where one is settled, so are those before it.
        ready = bisect_left(windows, True, key=lambda window: not is_settled(window))
        end = windows[ready - 1].next if ready else first
    else:
        end = to
        if end <= first:
            raise UnverifiableRangeError(f"the range from {first} to {end} has no minute; its end is exclusive")
        if not is_settled(end.previous):
            raise UnverifiableRangeError(
                f"minute {end.previous} is not settled yet: it is not over, or the sink is still behind it; "
                "give an earlier end, or wait (`etar status` shows whether the sink runs)"
            )
    # What arrived before the deployment was never audited.
    arrived_from = min(end, from_ or max(MinuteWindow.first_at_or_after(pipeline.start_date), oldest))
    start_offsets, end_offsets = offsets.held_at(arrived_from.start), offsets.held_at(end.start)
    return Range(
        first,
        end,
        {p: Span(start_offsets[p], end_offsets[p]) for p in end_offsets},
        oldest,
        # What arrives is younger than the horizon, or a bad record: from here on it is of the oldest minute or later.
        # On whole minutes, as the auditor closes them.
        offsets.held_at(MinuteWindow.first_at_or_after(oldest.start + pipeline.horizon).start),
        MinuteWindow.first_at_or_after(now - _LETTERS_KEPT + LEAVING),
        arrived_from,
    )


def _arrivals(account: ProducerAccount | None, span: Range, offsets: TopicOffsets, stream: Stream) -> _Arrivals:
    if account is None:
        return _Arrivals(span.arrived_from.start, span.end.start, span.offsets)
    if account.topic != stream.topic:
        raise UnverifiableRangeError(f"the account is of topic {account.topic!r}, not of {stream.topic!r}")
    before, after, low = offsets.held_at(account.started_at), offsets.held_at(account.ended_at), offsets.low()
    for partition, count in account.acknowledged.items():
        if count > after[partition] - before[partition] and 0 < low[partition] == before[partition]:
            raise UnverifiableRangeError(
                f"the account begins at {account.started_at:%Y-%m-%dT%H:%M:%SZ}, and Kafka no longer holds all of it "
                f"(partition {partition} begins at offset {low[partition]}): what arrived then cannot be counted. "
                "Without the account, all that is left is compared"
            )
    return _Arrivals(
        account.started_at,
        account.ended_at,
        {p: Span(before[p], after[p]) for p in after},
        behind=sum(behind(after, offsets.committed(stream.sink_group)).values()),
    )


def _reports(stream: Stream, windows: list[MinuteWindow]) -> dict[MinuteWindow, PublishedReport]:
    if not windows:
        return {}
    return read_reports(get_settings(ReportReadSettings), stream, windows[0], windows[-1].next)


def _gone(
    most_reported: Mapping[MinuteWindow, int],
    reports: Mapping[MinuteWindow, PublishedReport],
    counts: Mapping[MinuteWindow, MinuteCounts],
    books: Books,
) -> dict[MinuteWindow, GoneRows]:
    """Rows that are gone, of the minutes that lack some."""
    rows = {window: counts[window].rows if window in counts else 0 for window in most_reported}
    # A revision whose run was killed before it wrote it down is known by its report alone.
    reported = {w: max(most, reports[w].rows_read if w in reports else 0) for w, most in most_reported.items()}
    fewer = [window for window, most in reported.items() if rows[window] < most]
    if not fewer:
        return {}
    # Asked after the table: the auditor notes a row before it takes it out.
    removed, records = books.rows_removed(), books.records_reported(fewer)
    found = {
        window: gone_rows(rows[window], reported=reported[window], records=records.get(window, {}), removed=removed)
        for window in fewer
    }
    return {window: gone for window, gone in found.items() if gone}


def _partitions(
    span: Range, table: Table, books: Books, account: ProducerAccount | None, arrivals: _Arrivals
) -> list[PartitionFacts]:
    found = []
    closed = books.closed(span.first, span.end, letters_from=span.letters_from)
    # What Kafka lost at the beginning of a minute is known to the auditor alone: Kafka's first record is behind it.
    firsts = {
        p: min([held.first, *(each.offsets.first for each in closed.get(p, ()))]) for p, held in span.offsets.items()
    }
    offsets = {p: Span(firsts[p], held.end) for p, held in span.offsets.items()}
    for partition, coverage in _coverage(offsets, closed, span, table).items():
        sent = None
        if account is not None:
            run = arrivals.offsets[partition]
            sent = Sent(
                account.acknowledged.get(partition, 0),
                run.size,
                books.replays(partition, run),
                tuple(f"{of}:{offset}" for of, offset in books.unsettled_replays(partition, run)),
            )
        found.append(PartitionFacts(partition, coverage, sent))
    return found


def _coverage(
    offsets: Mapping[int, Span], closed: Mapping[int, list[ClosedOffsets]], span: Range, table: Table
) -> dict[int, Coverage]:
    return {
        partition: table.coverage(
            partition, held, closed=closed.get(partition, ()), young_from=span.young_from[partition]
        )
        for partition, held in sorted(offsets.items())
    }


def _totals(
    arrivals: _Arrivals,
    span: Range,
    table: Table,
    books: Books,
    *,
    counts: Mapping[MinuteWindow, MinuteCounts],
    reports: Mapping[MinuteWindow, PublishedReport],
    acknowledged: int | None,
    due_before: MinuteWindow | None,
) -> TotalsFacts:
    """``due_before``: events of this minute and later ones need not be in a report; None if all must."""
    closed = books.closed(arrivals.first, arrivals.end, letters_from=span.letters_from)
    coverage = _coverage(arrivals.offsets, closed, span, table)
    off = {window: _unreported(counted, reports.get(window)) for window, counted in counts.items()}
    unreported = sum(by for window, by in off.items() if due_before is None or window < due_before)
    return TotalsFacts(
        arrived_from=arrivals.started_at,
        arrived_to=arrivals.ended_at,
        records=sum(held.size for held in arrivals.offsets.values()),
        acknowledged=acknowledged,
        replays=sum(books.replays(partition, held) for partition, held in arrivals.offsets.items()),
        rows=sum(counted.owned for counted in counts.values()),
        events=sum(counted.owned_events for counted in counts.values()),
        unreported=unreported,
        not_due=sum(off.values()) - unreported,
        closed=sum(each.closed for each in coverage.values()),
        no_record=sum(each.no_record for each in coverage.values()),
        behind=arrivals.behind,
        **_letters(arrivals.offsets, table, books),
    )


def _letters(offsets: Mapping[int, Span], table: Table, books: Books) -> dict[str, int]:
    """Dead letters among these records by what became of them, the open ones by whether they were too late."""
    states = books.letters_not_open(offsets)
    every = table.letters_by_reason(offsets)
    replayed = table.letters_by_reason(offsets, only=states.get("replayed", ()))
    discarded = table.letters_by_reason(offsets, only=states.get("discarded", ()))
    late = [each.get(Reason.TOO_LATE, 0) for each in (every, replayed, discarded)]
    all_, again, given_up = (sum(each.values()) for each in (every, replayed, discarded))
    too_late = late[0] - late[1] - late[2]
    return {
        "too_late": too_late,
        "bad": all_ - again - given_up - too_late,
        "discarded": given_up,
        "replayed": again,
    }


def _unreported(counted: MinuteCounts, report: PublishedReport | None) -> int:
    """By how many of the owned events a minute's report is off. Fresh rows of others may be in it or not."""
    events = report.total_events if report else 0
    off = max(counted.established - events, events - counted.unique, 0)
    return min(off, counted.owned_events)

"""``verify``: the account of a range of settled minutes, from the places themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, ValidationError

from etar.dead_letters import Reason
from etar.kafka_offsets import TopicOffsets, behind, settled
from etar.minute import MinuteWindow
from etar.places import Books, Mark, MinuteCounts, Table, parquet_objects, read_reports
from etar.reconciliation import (
    Coverage,
    MinuteFacts,
    PartitionFacts,
    Sent,
    Span,
    TotalsFacts,
    Verification,
    reconcile,
)
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
from etar.streams import USER_INTERACTIONS, Stream

REPORT_ALLOWANCE = timedelta(minutes=2)
"""Age from which a minute is in the default range, and a late row in a report: what is missing by then is a fault."""

_RETENTION_MARGIN = timedelta(minutes=10)
"""The oldest minutes leave the table while they would be counted, or repaired."""


class UnverifiableRangeError(ValueError):
    """The range is not one that can be compared: upside down, not settled yet, or already leaving the table."""


@dataclass(frozen=True)
class ProducerAccount:
    """What a producer says that it sent between two instants: records acknowledged per partition, and over all
    partitions those in doubt, sent by a worker that was killed before it had Kafka's answer."""

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
            in_doubt=document.in_doubt,
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


@dataclass(frozen=True)
class Range:
    """The minutes ``[first, end)``, all settled, and the offsets that each partition took in over them.

    Args:
        oldest: first minute that the table is sure to have whole.
        young_from: by partition, the offset from which on every row is of ``oldest`` or later.
    """

    first: MinuteWindow
    end: MinuteWindow
    offsets: Mapping[int, Span]
    oldest: MinuteWindow
    young_from: Mapping[int, int]


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
    stream: Stream = USER_INTERACTIONS,
    producer_account: ProducerAccount | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Verification:
    """Compare the places over the minutes ``[from_, to)``. Only settled minutes are compared, so traffic may flow.

    Args:
        from_: default: the pipeline's first minute, or the oldest that the table is sure to have whole.
        to: default: after the newest settled minute that is old enough to be reported (:data:`REPORT_ALLOWANCE`).
        producer_account: compared with what Kafka took in during that run, all of which must be accounted for; exact
            if nobody else wrote to the topic and the producer's clock is the broker's.

    Returns:
        An account without minutes, and no difference, while there is no minute to compare by default.

    Raises:
        UnverifiableRangeError: the range given cannot be compared; the message says which one can.
        PlaceUnavailableError, KafkaUnavailableError, UnknownTopicError: a place does not answer.
    """
    pipeline = get_settings(PipelineSettings)
    asked_at = now()
    with TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as offsets:
        span = resolve_range(from_, to, offsets=offsets, group=stream.sink_group, pipeline=pipeline, now=asked_at)
        arrivals = _arrivals(producer_account, span, offsets, stream)
    windows = list(MinuteWindow.between(span.first, span.end))
    # A report is posted after its Parquet object is put, which is made from the table. Read in the opposite order, each
    # place has at least what the one before has, while traffic flows; rows that are only just there are told by their
    # time of arrival.
    fresh_from = asked_at - REPORT_ALLOWANCE
    with (
        Books(get_settings(ReportStoreSettings), stream) as books,
        Table(get_settings(WarehouseSettings), stream, oldest=span.oldest) as table,
    ):
        entries = books.ledger(span.first, span.end)
        compared = sorted({*windows, *table.minutes_of(arrivals.offsets)})
        reports = _reports(stream, compared)
        parquet = parquet_objects(get_settings(ObjectStoreSettings), stream, windows)
        counts = table.minutes(compared, fresh_from=fresh_from, owned=arrivals.offsets)
        dead = table.dead_letters(span.first, span.end)
        minutes = []
        for window in windows:
            counted = counts.get(window, MinuteCounts())
            minutes.append(
                MinuteFacts(
                    window=window,
                    rows=counted.rows,
                    unique=counted.unique,
                    dead_letters=dead.get(window, 0),
                    parquet=parquet.get(window),
                    report=reports.get(window),
                    ledger=entries.get(window),
                    fresh=counted.fresh,
                )
            )
        partitions = _partitions(span, table, books, producer_account, arrivals)
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
    return reconcile(
        minutes,
        partitions,
        totals,
        in_doubt=producer_account.in_doubt if producer_account else 0,
        stale_before=asked_at - get_settings(ReconcileSettings).stale,
    )


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

    oldest = MinuteWindow.first_at_or_after(now - pipeline.retention + _RETENTION_MARGIN)
    first = from_ or max(MinuteWindow.first_at_or_after(pipeline.start_date), oldest)
    if first < oldest:
        raise UnverifiableRangeError(
            f"{first} is leaving the table, which keeps {pipeline.retention_hours:g} h; the oldest minute that can be "
            f"compared is {oldest}"
        )
    if to is None:
        end = MinuteWindow.containing(now - REPORT_ALLOWANCE)
        while end > first and not is_settled(end.previous):
            end = end.previous
        end = max(first, end)
    else:
        end = to
        if end <= first:
            raise UnverifiableRangeError(f"the range from {first} to {end} has no minute; its end is exclusive")
        if not is_settled(end.previous):
            raise UnverifiableRangeError(
                f"minute {end.previous} is not settled yet: it is not over, or the sink is still behind it; "
                "give an earlier end, or wait (`etar status` shows whether the sink runs)"
            )
    start_offsets, end_offsets = offsets.held_at(first.start), offsets.held_at(end.start)
    return Range(
        first,
        end,
        {p: Span(start_offsets[p], end_offsets[p]) for p in end_offsets},
        oldest,
        # What arrives is younger than the horizon, or a bad record: from here on it is of the oldest minute or later.
        # On whole minutes, as the auditor closes them.
        offsets.held_at(MinuteWindow.first_at_or_after(oldest.start + pipeline.horizon).start),
    )


def _arrivals(account: ProducerAccount | None, span: Range, offsets: TopicOffsets, stream: Stream) -> _Arrivals:
    if account is None:
        return _Arrivals(span.first.start, span.end.start, span.offsets)
    if account.topic != stream.topic:
        raise UnverifiableRangeError(f"the account is of topic {account.topic!r}, not of {stream.topic!r}")
    before, after = offsets.held_at(account.started_at), offsets.held_at(account.ended_at)
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


def _partitions(
    span: Range, table: Table, books: Books, account: ProducerAccount | None, arrivals: _Arrivals
) -> list[PartitionFacts]:
    found = []
    for partition, coverage in _coverage(span.offsets, books.marks(span.first, span.end), span, table).items():
        sent = None
        if account is not None:
            run = arrivals.offsets[partition]
            sent = Sent(account.acknowledged.get(partition, 0), run.size, books.replays(partition, run))
        found.append(PartitionFacts(partition, coverage, sent))
    return found


def _coverage(
    offsets: Mapping[int, Span], marks: Mapping[int, list[Mark]], span: Range, table: Table
) -> dict[int, Coverage]:
    return {
        partition: table.coverage(
            partition, held, marks=marks.get(partition, ()), young_from=span.young_from[partition]
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
    coverage = _coverage(arrivals.offsets, books.marks(arrivals.first, arrivals.end), span, table)
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

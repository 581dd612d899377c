"""The account of what arrived in a range of minutes: each record of Kafka, and what became of it. Pure.

It is made of books alone: what the auditor closed, by partition and minute of arrival, and how many rows of each such
minute the reports count. Both are kept for good, so that an account stays when Kafka and the table have let go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from etar.minute import MINUTE, MinuteWindow
from etar.settings import PipelineSettings
from etar.streams import DEFAULT_STREAM

REPORT_ALLOWANCE = timedelta(minutes=2)
"""Age from which a minute, or a late row, has to be in a report: what is missing by then is a fault."""

LEAVING = timedelta(minutes=10)
"""So long before they leave the table, minutes are no longer compared with it, or repaired."""


class Answer(StrEnum):
    """Whether each record is accounted for."""

    EXACT = "exact"
    """Each one is, and everything that had to be asked has answered."""

    DIFFERENT = "different"
    """Some are in no place, or not in the reports that should count them."""

    NOT_VERIFIED = "not verified"
    """Nobody can tell (yet): of some, a place has not been asked, or was never noted."""


@dataclass(frozen=True)
class Range:
    """The arrival minutes ``[first, end)``."""

    first: MinuteWindow
    end: MinuteWindow

    @property
    def minutes(self) -> int:
        return max(0, (self.end.start - self.first.start) // MINUTE)


@dataclass(frozen=True)
class Audited:
    """What the auditor has of one partition at all: from arrival minute ``first``, which began with ``first_offset``,
    up to, and without, ``through``. ``ended``: only logs of the topic that have ended had this partition."""

    first: datetime
    first_offset: int
    through: datetime
    ended: bool = False


@dataclass(frozen=True)
class Counted:
    """What the books have of one partition's closed minutes in a range. ``in_reports``: rows that reports count.

    ``not_reported``: rows of minutes of which the reports count fewer than were stored; ``overdue`` of them should be
    counted by now. ``only_reported``: rows of minutes of which they count more. ``too_late`` of the ``dead_letters``
    are None where that was not kept.
    """

    minutes: int
    offsets: int
    dead_letters: int
    too_late: int | None
    no_record: int
    lost: int
    in_reports: int
    not_reported: int
    overdue: int
    only_reported: int


@dataclass(frozen=True)
class Books:
    """What the books say of a range.

    Args:
        audited, counted: by partition.
        topic: partitions that the topic had when a minute was last settled.
        events: of the rows in reports, the events; the others are duplicates.
        reports_without_arrivals: minutes whose report may count rows of the range, and of which it is not known when
            their rows arrived.
        repaired_at: when the auditor last put a record right.
    """

    audited: Mapping[int, Audited]
    counted: Mapping[int, Counted]
    topic: Collection[int]
    events: int
    reports_without_arrivals: int
    repaired_at: datetime | None


class _Counts(BaseModel):
    model_config = ConfigDict(frozen=True)

    records: int = Field(description="Records that Kafka acknowledged: offsets with a record")
    too_late: int | None = Field(
        description="Dead letters whose event was too old when it arrived; null: not kept, and among `bad`"
    )
    bad: int = Field(description="The other dead letters")
    lost: int = Field(description="In no place, and no longer held by Kafka, as the auditor found")
    not_reported: int = Field(description="Rows that no report counts (yet)")
    only_reported: int = Field(description="Rows that reports count and the auditor does not")
    no_record: int = Field(description="Offsets without a record: transaction markers. None of `records`")

    @property
    def difference(self) -> int:
        """None of its parts can hide another."""
        return self.lost + self.not_reported + self.only_reported


class PartitionAccount(_Counts):
    """One partition's line: ``records + only_reported = in_reports + too_late + bad + lost + not_reported``."""

    partition: int
    answer: Answer
    in_reports: int = Field(description="Rows that reports count: events and duplicates")
    why: str | None = Field(description="Why the answer is not `exact`")


class Account(_Counts):
    """``records + only_reported = events + duplicates + too_late + bad + lost + not_reported``, of what arrived in
    ``[first, compared_to)``."""

    stream: str
    first: AwareDatetime = Field(description="First minute of arrival")
    end: AwareDatetime = Field(description="End of the range, exclusive")
    compared_to: AwareDatetime = Field(description="Up to here the numbers go: no further than `verified_through`")
    verified_through: AwareDatetime | None = Field(
        description="What arrived before is accounted for, offset by offset; null before the first audit"
    )
    answer: Answer
    reasons: tuple[str, ...] = Field(description="Why it is not `exact`, as far as it is not said of a partition")
    events: int = Field(description="Events that reports count")
    duplicates: int = Field(description="Rows in reports whose event was there already")
    partitions: tuple[PartitionAccount, ...]
    command: str | None = Field(description="What to run where it is `different`; null if nothing can be compared")


def verified_through(audited: Mapping[int, Audited]) -> datetime | None:
    """What arrived before is closed in each partition; None before the first audit."""
    now = [each.through for each in audited.values() if not each.ended]
    return min(now) if now else max((each.through for each in audited.values()), default=None)


def due_before(now: datetime, pipeline: PipelineSettings) -> datetime:
    """What arrived in minutes before is in reports by ``now``, also where its event is of a minute still to come."""
    return now - REPORT_ALLOWANCE - pipeline.max_ahead - MINUTE


def account_of(stream: str, asked: Range, books: Books, *, now: datetime, pipeline: PipelineSettings) -> Account:
    """The account of the minutes ``asked``, as far as they are audited; ``books`` are of just these."""
    through = verified_through(books.audited)
    compared = compared_part(asked, through)
    reasons = tuple(_reasons(asked, compared, through))
    recently = books.repaired_at is not None and now - books.repaired_at < REPORT_ALLOWANCE
    partitions: tuple[PartitionAccount, ...] = ()
    if compared.minutes:
        lines = (
            _line(partition, books.counted.get(partition), compared, books, recently=recently)
            for partition in sorted({*books.audited, *books.counted, *books.topic})
        )
        partitions = tuple(line for line in lines if line is not None)
    answers = {line.answer for line in partitions} | ({Answer.NOT_VERIFIED} if reasons else set())
    answer = next((each for each in (Answer.DIFFERENT, Answer.NOT_VERIFIED) if each in answers), Answer.EXACT)
    late = [line.too_late for line in partitions]
    return Account(
        stream=stream,
        first=asked.first.start,
        end=asked.end.start,
        compared_to=compared.end.start,
        verified_through=through,
        answer=answer,
        reasons=reasons,
        records=sum(line.records for line in partitions),
        events=books.events,
        duplicates=sum(line.in_reports for line in partitions) - books.events,
        too_late=None if None in late else sum(each or 0 for each in late),
        bad=sum(line.bad for line in partitions),
        lost=sum(line.lost for line in partitions),
        not_reported=sum(line.not_reported for line in partitions),
        only_reported=sum(line.only_reported for line in partitions),
        no_record=sum(line.no_record for line in partitions),
        partitions=partitions,
        command=_command(stream, compared, now, pipeline) if answer is Answer.DIFFERENT else None,
    )


def compared_part(asked: Range, through: datetime | None) -> Range:
    """The part of a range that is audited; it may have no minute."""
    end = asked.first if through is None else min(asked.end, MinuteWindow(through))
    return Range(asked.first, max(asked.first, end))


def _reasons(asked: Range, compared: Range, through: datetime | None) -> Iterator[str]:
    if through is None:
        yield "nothing of this stream is audited yet: `etar_audit` does it in Airflow, each minute"
    elif compared.end < asked.end:
        yield f"what arrived from {max(compared.end, asked.first)} on is not audited yet; see `etar_audit` in Airflow"


def _line(
    partition: int, counted: Counted | None, compared: Range, books: Books, *, recently: bool
) -> PartitionAccount | None:
    """None of a partition that the range knows nothing of, and need not."""
    audited = books.audited.get(partition)
    if audited is not None and audited.ended and counted is None:
        return None
    held = counted or Counted(0, 0, 0, None, 0, 0, 0, 0, 0, 0)
    unsure = list(_not_audited(audited, held, compared))
    different = []
    if held.lost:
        different.append(f"{_many(held.lost, 'record is', 'records are')} in no place, and Kafka no longer has them")
    if held.not_reported or held.only_reported:
        said, sure = _unlike_reports(held, books, recently=recently, all_audited=not unsure)
        (different if sure else unsure).append(said)
    late = held.too_late
    return PartitionAccount(
        partition=partition,
        answer=Answer.DIFFERENT if different else Answer.NOT_VERIFIED if unsure else Answer.EXACT,
        records=held.offsets - held.no_record,
        in_reports=held.in_reports,
        too_late=late if held.dead_letters else 0,
        bad=held.dead_letters - (late or 0),
        lost=held.lost,
        not_reported=held.not_reported,
        only_reported=held.only_reported,
        no_record=held.no_record,
        why="; ".join([*different, *unsure]) or None,
    )


def _not_audited(audited: Audited | None, held: Counted, compared: Range) -> Iterator[str]:
    if audited is None:
        yield "the auditor has nothing of this partition"
        return
    first, end = compared.first.start, compared.end.start
    if audited.ended:
        end = min(end, audited.through)
    # Before its first offset there was nothing to audit.
    expected_from = max(first, audited.first) if audited.first_offset == 0 else first
    missing = max(0, (end - expected_from) // MINUTE) - held.minutes
    if missing > 0:
        yield f"{_many(missing, 'minute of it was', 'minutes of it were')} never audited"


def _unlike_reports(held: Counted, books: Books, *, recently: bool, all_audited: bool) -> tuple[str, bool]:
    """What to say of rows that reports do not count as the auditor does, and whether that is a difference for sure."""
    said = []
    if held.not_reported:
        said.append(f"{_many(held.not_reported, 'row is', 'rows are')} in no report")
    if held.only_reported:
        said.append(f"reports count {_many(held.only_reported, 'row', 'rows')} that the auditor does not")
    told = ", and ".join(said)
    if recently:
        return f"{told}: the auditor has just put records right, and their minutes are reported again", False
    if held.only_reported and all_audited:
        return told, True
    if not held.overdue:
        return (f"{told}, which is not due yet" if held.not_reported else told), False
    if books.reports_without_arrivals:
        minutes = _many(books.reports_without_arrivals, "minute was", "minutes were")
        return f"{told} that can be told: {minutes} reported when it was not yet noted when rows arrived", False
    return told, True


def _command(stream: str, compared: Range, now: datetime, pipeline: PipelineSettings) -> str | None:
    """What names the records, and repairs them; none where the table has let go of all of them."""
    first = max(compared.first, MinuteWindow.first_at_or_after(now - pipeline.retention + LEAVING))
    if first >= compared.end:
        return None
    of_stream = "" if stream == DEFAULT_STREAM else f" --stream {stream}"
    return f"etar verify{of_stream} --from {first} --to {compared.end}"


def _many(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"

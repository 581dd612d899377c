"""What the places say, before anything is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from etar.ledger import LedgerEntry
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.report import PublishedReport

Offset = tuple[int, int]
"""A record: (partition, offset)."""


class PlaceUnavailableError(ConnectionError):
    """A place does not answer, or not with what it should."""


@dataclass(frozen=True)
class ClosedOffsets:
    """Offsets that one partition took in one minute, closed by the auditor: ``no_record`` of them hold no record,
    ``lost`` ones were in no place any more, and ``dead_letters`` are letters still; the others are or were rows."""

    offsets: Span
    dead_letters: int = 0
    no_record: int = 0
    lost: int = 0


@dataclass(frozen=True)
class StoredObject:
    """A Parquet object as the store has it: rows by its footer, size in bytes, ETag without quotes."""

    rows: int
    size: int
    etag: str


@dataclass(frozen=True)
class GoneRows:
    """How many rows of a minute a revision of its report counted and the table lacks by now. They are of offsets from
    ``first_offsets`` on, ``{partition: offset}``."""

    count: int
    first_offsets: Mapping[int, int]


@dataclass(frozen=True)
class MinuteInPlaces:
    """One minute, by event time (``dead_letters``: by append time; they have no other that could be trusted).

    ``parquet``, ``report`` and ``ledger`` are None where there is none. ``fresh``: how many of the ``rows`` arrived so
    recently that a report with them is not due yet.
    """

    window: MinuteWindow
    rows: int
    unique: int
    dead_letters: int
    parquet: StoredObject | None
    report: PublishedReport | None
    ledger: LedgerEntry | None
    fresh: int = 0
    gone: GoneRows | None = None

    @property
    def parquet_rows(self) -> int:
        return self.parquet.rows if self.parquet else 0

    @property
    def complete(self) -> bool:
        """Whether report and Parquet lack nothing, or nothing but rows that arrived just now."""
        if self.report is None:
            return False
        behind = self.rows - self.report.rows_read
        return (
            behind <= self.fresh
            and self.report.rows_read <= self.parquet_rows <= self.rows
            and 0 <= self.unique - self.report.total_events <= behind
        )


@dataclass(frozen=True)
class Coverage:
    """Where a partition's offsets ``span`` are now. Counts are of distinct offsets.

    Args:
        closed: the auditor counted them as rows, and the table has dropped them for their age.
        no_record: offsets at which Kafka has no record, as the auditor found.
        lost: the auditor found them in no place, and Kafka no longer had them.
        unaudited: offsets so old that the table may have dropped rows of theirs, and that the auditor has not closed.
        missing_spans: like ``both_sample``, at most a handful. Where rows may have left for their age, a span is that
            of an arrival minute which lacks dead letters.
    """

    span: Span
    in_table: int
    in_dead_letters: int
    in_both: int
    closed: int = 0
    no_record: int = 0
    lost: int = 0
    unaudited: int = 0
    missing_spans: tuple[Span, ...] = ()
    both_sample: tuple[int, ...] = ()

    @property
    def missing(self) -> int:
        stored = self.in_table + self.in_dead_letters - self.in_both
        return self.span.size - stored - self.closed - self.no_record - self.lost


@dataclass(frozen=True)
class Sent:
    """One partition in the time of a producer's run: the records that it says were ``acknowledged``, those that Kafka
    ``appended``, and how many of these are ``replays`` of dead letters. ``unsettled``: letters, as PARTITION:OFFSET,
    whose replay was interrupted and may be among the records as well."""

    acknowledged: int
    appended: int
    replays: int = 0
    unsettled: tuple[str, ...] = ()

    @property
    def unclaimed(self) -> int:
        """Records that nobody says to have sent; below 0, acknowledged ones that are gone."""
        return self.appended - self.replays - self.acknowledged


@dataclass(frozen=True)
class PartitionFacts:
    """What one partition took in over the range, and ``sent``, when a producer's account is given."""

    partition: int
    coverage: Coverage
    sent: Sent | None = None


@dataclass(frozen=True)
class TotalsFacts:
    """All records of certain offsets, whatever minute their events are of: those of a producer's run, if its account
    is given (``acknowledged``), else those of the range.

    Args:
        rows, events: rows of the table, and distinct events among them, minute by minute.
        unreported: by how much the reports of these minutes are off, as far as these rows can be the cause.
        not_due: unreported events as well, in minutes whose report is not due yet.
        too_late, bad, discarded, replayed: dead letters that are no rows as well; the first two are open ones.
        behind: records that the sink has still to take.
    """

    arrived_from: datetime
    arrived_to: datetime
    records: int = 0
    acknowledged: int | None = None
    replays: int = 0
    rows: int = 0
    events: int = 0
    unreported: int = 0
    not_due: int = 0
    too_late: int = 0
    bad: int = 0
    discarded: int = 0
    replayed: int = 0
    closed: int = 0
    no_record: int = 0
    behind: int = 0

"""Compares what the places say of the same records: Kafka, the table, the dead letters, Parquet, the reports, and the
books kept about them (the ledger, the auditor's marks, a producer's own account).

Pure: :mod:`etar.verify.account` gathers the facts, this module says where they differ, by how much and what repairs it.
``docs/verify.md`` explains every number to a reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from etar.ledger import LedgerEntry, State
from etar.minute import MinuteWindow
from etar.offsets import Span, without
from etar.report import PublishedReport
from etar.streams import DEFAULT_STREAM, Stream
from etar.verify.facts import Coverage, GoneRows, MinuteInPlaces, PartitionFacts, Sent, TotalsFacts
from etar.verify.windows import WindowAccount

RECONCILING_DAG = "etar_reconcile"

HOW_TO_RUN_AIRFLOW = (
    "`airflow …` is run as `etar exec airflow …` where `etar up` runs the stack, as `docker compose exec "
    "airflow-worker airflow …` where containers do"
)


def gone_rows(
    rows: int, *, reported: int, records: Mapping[int, Span], removed: Mapping[int, Sequence[Span]]
) -> GoneRows | None:
    """The rows of a minute that were there and are gone without a reason; None if there is none.

    Args:
        rows: rows of the minute in the table.
        reported: the most rows that a revision of its report counted.
        records: by partition, the offsets from the first to the last record that a revision counted.
        removed: rows that the auditor took out, of whatever minute, by partition.
    """
    taken_out = sum(
        span.size - sum(left.size for left in without(span, removed.get(partition, ())))
        for partition, span in records.items()
    )
    count = reported - taken_out - rows
    return GoneRows(count, {partition: span.first for partition, span in records.items()}) if count > 0 else None


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MinuteAccount(_Result):
    """What the places say of one minute. ``difference`` is 0 exactly when they agree; ``pending`` rows arrived too
    recently to be in its report already, ``lost_rows`` were in the table when it was reported."""

    minute: str
    state: State | None
    received: int
    duplicates: int
    unique: int
    late_events: int | None
    dead_letters: int
    parquet_rows: int | None
    report_rows: int | None
    report_events: int | None
    revision: int | None
    pending: int
    lost_rows: int
    difference: int
    note: str | None
    cause: str | None = Field(default=None, exclude=True)
    """The note without the advice to report the minute again, which may be one for many minutes."""
    suspect_from: Mapping[int, int] = Field(default_factory=dict, exclude=True)

    @property
    def to_report_again(self) -> bool:
        """Not while rows are lost: a true report would give way to one of a table that is not whole."""
        return self.difference > 0 and not self.lost_rows


class PartitionAccount(_Result):
    """Where the offsets of one partition are. ``difference`` is 0 exactly when each is in one place, and the records
    are those that their senders say to have sent. ``in_doubt`` ones were sent by a producer's worker that was killed
    before it had Kafka's answer."""

    partition: int
    first_offset: int
    end_offset: int
    in_table: int
    in_dead_letters: int
    in_both: int
    in_both_sample: tuple[int, ...]
    closed: int
    no_record: int
    lost: int
    unaudited: int
    missing: int
    missing_ranges: tuple[tuple[int, int], ...]
    acknowledged: int | None
    appended: int | None
    replays: int | None
    in_doubt: int | None
    difference: int
    note: str | None

    @property
    def suspect_from(self) -> int | None:
        """First offset that the auditor has to look at (again); None if there is none."""
        found = [first for first, _ in self.missing_ranges[:1]] + list(self.in_both_sample[:1])
        return min(found, default=None)


class Totals(_Result):
    """One equation over all records that arrived in ``[arrived_from, arrived_to)``, exact by construction::

        acknowledged + in_doubt + replays        (without a producer's account: records)
            = events + duplicates + not_due + too_late + bad + discarded + replayed + closed + no_record + difference

    ``events`` are those that the reports count, in whatever minute; ``replays`` are records that stand a second time
    for a dead letter, which is counted in ``replayed``; ``closed`` have left the table for their age.
    """

    arrived_from: AwareDatetime
    arrived_to: AwareDatetime
    records: int
    acknowledged: int | None
    in_doubt: int
    replays: int
    events: int
    duplicates: int
    not_due: int
    too_late: int
    bad: int
    discarded: int
    replayed: int
    closed: int
    no_record: int
    difference: int
    note: str | None


class Verification(_Result):
    """The account of a stream's range of minutes. ``windows`` are its live ones beside their reports, if it has such.
    ``repair`` is a command, given when it can repair some of the difference. ``warnings`` are no differences: what may
    cost records that have still to come."""

    stream: str
    minutes: tuple[MinuteAccount, ...]
    partitions: tuple[PartitionAccount, ...]
    totals: Totals
    windows: tuple[WindowAccount, ...]
    warnings: tuple[str, ...]
    repair: str | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return self.difference == 0

    @computed_field(description="Sum of all differences, none of which can hide another")  # type: ignore[prop-decorator]
    @property
    def difference(self) -> int:
        parts: tuple[MinuteAccount | PartitionAccount | WindowAccount, ...]
        parts = (*self.minutes, *self.partitions, *self.windows)
        in_parts = sum(each.difference for each in parts)
        # The totals count the same records once more, and perhaps others: never added, never overlooked.
        return max(in_parts, abs(self.totals.difference))

    @property
    def minutes_off(self) -> list[MinuteWindow]:
        """Minutes to be reported again."""
        return [MinuteWindow.parse(minute.minute) for minute in self.minutes if minute.to_report_again]

    @property
    def suspect_from(self) -> dict[int, int]:
        """``{partition: offset}`` from which on the auditor has to look (again)."""
        of_partitions = ((each.partition, each.suspect_from) for each in self.partitions)
        of_minutes = chain.from_iterable(minute.suspect_from.items() for minute in self.minutes)
        found: dict[int, int] = {}
        for partition, offset in chain(of_partitions, of_minutes):
            if offset is not None:
                found[partition] = min(offset, found.get(partition, offset))
        return found


def compare(
    minutes: Sequence[MinuteInPlaces],
    partitions: Sequence[PartitionFacts],
    totals: TotalsFacts,
    windows: Sequence[WindowAccount] = (),
    *,
    stream: Stream,
    in_doubt: int = 0,
    stale_before: datetime,
    warnings: Sequence[str] = (),
) -> Verification:
    """The account of a range. Every record must be in the table or the dead letters, and every row in a report; what
    was in a report must still be in the table.

    Args:
        in_doubt: records that may or may not be in Kafka, as the producer's account says; over all partitions.
        stale_before: a run at work that has written nothing to the ledger since then is taken for dead.
    """
    command = _repair_command(stream, minutes)
    in_minutes = tuple(_minute(facts, stream, stale_before, command) for facts in minutes)
    in_partitions = []
    doubt_left = in_doubt
    for facts in partitions:
        landed = min(max(facts.sent.unclaimed, 0), doubt_left) if facts.sent else 0
        doubt_left -= landed
        in_partitions.append(_partition(facts, landed, command))
    repairable = any(minute.to_report_again or minute.suspect_from for minute in in_minutes) or any(
        part.suspect_from is not None for part in in_partitions
    )
    return Verification(
        stream=stream.name,
        minutes=in_minutes,
        partitions=tuple(in_partitions),
        totals=_totals(totals, in_doubt - doubt_left),
        windows=tuple(windows),
        warnings=tuple(warnings),
        repair=command if repairable else None,
    )


def again(stream: Stream, windows: Sequence[MinuteWindow]) -> dict[str, str | list[str]]:
    """What Airflow's reconciling DAG is asked, to report minutes again."""
    of_stream = {} if stream.name == DEFAULT_STREAM else {"stream": stream.name}
    return {**of_stream, "minutes": [str(window) for window in windows]}


def report_again(stream: Stream, windows: Sequence[MinuteWindow]) -> str:
    """The command that has Airflow report minutes again; :data:`HOW_TO_RUN_AIRFLOW` goes with it."""
    return f"airflow dags trigger {RECONCILING_DAG} --conf '{json.dumps(again(stream, windows))}'"


def backfill(stream: Stream, first: MinuteWindow, last: MinuteWindow) -> str:
    """The command that has Airflow report every minute of a range again, however long; also those that are well."""
    span = f"--from-date {first.start.isoformat()} --to-date {last.start.isoformat()}"
    return f"airflow backfill create --dag-id {stream.dag_id} {span} --reprocess-behavior completed --max-active-runs 2"


def _repair_command(stream: Stream, minutes: Sequence[MinuteInPlaces]) -> str:
    command = (
        "etar verify --repair" if stream.name == DEFAULT_STREAM else f"etar verify --stream {stream.name} --repair"
    )
    return f"{command} --from {minutes[0].window} --to {minutes[-1].window.next}" if minutes else command


def _minute(facts: MinuteInPlaces, stream: Stream, stale_before: datetime, repair: str) -> MinuteAccount:
    report, entry = facts.report, facts.ledger
    report_rows = report.rows_read if report else 0
    report_events = report.total_events if report else 0
    difference = 0
    notes = []
    if not facts.complete:
        difference = (
            abs(facts.rows - facts.parquet_rows)
            + abs(facts.rows - report_rows)
            + abs(facts.unique - report_events)
            # An empty minute without its report agrees in every count, and is a gap all the same.
            + (report is None)
        )
        notes.append(_minute_note(facts, report_rows, report_events))
    pending = facts.rows - report_rows if facts.complete else 0
    fault = _ledger_fault(facts, stale_before, pending=pending)
    if fault:
        difference += 1
        notes.append(fault)
    if facts.gone:
        difference += facts.gone.count
        notes.append(
            f"{facts.gone.count} rows that its report counted are not in the table any more; have the auditor put them "
            f"back: {repair}"
        )
    cause = "; ".join(notes) or None
    if difference and not facts.gone:
        notes.append(f"report it again: {report_again(stream, [facts.window])}")
    return MinuteAccount(
        minute=str(facts.window),
        state=entry.state if entry else None,
        received=facts.rows,
        duplicates=facts.rows - facts.unique,
        unique=facts.unique,
        late_events=entry.late_events if entry else None,
        dead_letters=facts.dead_letters,
        parquet_rows=facts.parquet.rows if facts.parquet else None,
        report_rows=report.rows_read if report else None,
        report_events=report.total_events if report else None,
        revision=report.revision if report else None,
        pending=pending,
        lost_rows=facts.gone.count if facts.gone else 0,
        difference=difference,
        note="; ".join(notes) or None,
        cause=cause,
        suspect_from=facts.gone.first_offsets if facts.gone else {},
    )


def _minute_note(facts: MinuteInPlaces, report_rows: int, report_events: int) -> str:
    if facts.report is None:
        failed = facts.ledger is not None and facts.ledger.error
        return f"no report; its run failed: {failed}" if failed else "no report"
    if facts.parquet_rows == report_rows < facts.rows:
        return f"{facts.rows - report_rows} rows came after the minute was reported"
    if facts.rows == facts.parquet_rows == report_rows:
        return f"table {facts.unique} unique events, report {report_events}"
    return f"table {facts.rows} rows, Parquet {facts.parquet_rows}, report {report_rows}"


def _ledger_fault(facts: MinuteInPlaces, stale_before: datetime, *, pending: int) -> str | None:
    """What is wrong with the ledger's row; a missing report is a fault of its own, and one that is due changes it."""
    report, entry = facts.report, facts.ledger
    if report is None:
        return None
    if entry is None:
        return "the ledger has no row of it"
    if entry.state is State.FAILED:
        return f"its run {entry.run_id} failed: {entry.error}"
    if entry.state is not State.REPORTED:
        if entry.updated_at >= stale_before:
            return None
        return f"its run {entry.run_id} has not gone on since {entry.updated_at:%Y-%m-%dT%H:%M:%SZ} ({entry.state})"
    return None if pending else _disagreement(entry, facts, report)


def _disagreement(entry: LedgerEntry, facts: MinuteInPlaces, report: PublishedReport) -> str | None:
    compared = {
        "rows": (entry.received, facts.rows),
        "unique events": (entry.unique_events, facts.unique),
        "dead letters": (entry.dead_letters, facts.dead_letters),
        "revision": (entry.revision, report.revision),
        "object size": (entry.object_size, facts.parquet.size if facts.parquet else None),
        "object ETag": (entry.object_etag, facts.parquet.etag if facts.parquet else None),
    }
    wrong = [f"{what} {said}, found {found}" for what, (said, found) in compared.items() if said != found]
    return f"the ledger says {', '.join(wrong)}" if wrong else None


def _partition(facts: PartitionFacts, in_doubt: int, repair: str) -> PartitionAccount:
    held, sent = facts.coverage, facts.sent
    unclaimed = sent.unclaimed - in_doubt if sent else 0
    return PartitionAccount(
        partition=facts.partition,
        first_offset=held.span.first,
        end_offset=held.span.end,
        in_table=held.in_table,
        in_dead_letters=held.in_dead_letters,
        in_both=held.in_both,
        in_both_sample=held.both_sample,
        closed=held.closed,
        no_record=held.no_record,
        lost=held.lost,
        unaudited=held.unaudited,
        missing=held.missing,
        missing_ranges=tuple((span.first, span.end - 1) for span in held.missing_spans),
        acknowledged=sent.acknowledged if sent else None,
        appended=sent.appended if sent else None,
        replays=sent.replays if sent else None,
        in_doubt=in_doubt if sent else None,
        difference=abs(held.missing) + held.in_both + held.lost + abs(unclaimed),
        note="; ".join(_partition_notes(held, sent, unclaimed, repair)) or None,
    )


def _partition_notes(held: Coverage, sent: Sent | None, unclaimed: int, repair: str) -> Iterable[str]:
    if held.missing > 0:
        yield (
            f"{held.missing} records are in Kafka, but neither in the table nor in the dead letters "
            f"({_in_words(held.missing_spans)}); have the auditor put them where they belong: {repair}"
        )
    if held.missing < 0:
        yield (
            f"{-held.missing} records more are accounted for than Kafka has offsets: the auditor counted some as gone "
            "that are there; no command repairs that"
        )
    if held.missing and held.unaudited:
        yield (
            f"{held.unaudited} old offsets are not audited yet, and rows of theirs may have left the table since: the "
            "DAG etar_audit is behind (`airflow dags list-runs etar_audit`)"
        )
    if held.in_both:
        yield (
            f"{held.in_both} records are in the table and in the dead letters; have the auditor decide by the records "
            f"themselves: {repair}"
        )
    if held.lost:
        yield f"{held.lost} records were lost: the auditor found them in no place, and Kafka no longer has them"
    if sent and unclaimed:
        yield (
            f"Kafka took {sent.appended} records in the time of the producer's run, which says {sent.acknowledged}: "
            + _unclaimed_note(sent, unclaimed)
        )


def _unclaimed_note(sent: Sent, unclaimed: int) -> str:
    if unclaimed < 0:
        return "acknowledged records are gone; no command repairs that"
    if not sent.unsettled:
        return "another producer wrote to the topic as well; no command repairs that"
    # Whichever letter is named: every interrupted replay is settled before anything else is done.
    return (
        f"{len(sent.unsettled)} replays of dead letters were interrupted and may be among them; settle them, and "
        f"verify again: etar dead-letters replay {sent.unsettled[0]} --apply"
    )


def _in_words(spans: Sequence[Span]) -> str:
    shown = ", ".join(str(span.first) if span.size == 1 else f"{span.first} to {span.end - 1}" for span in spans[:3])
    return f"offsets {shown}{' …' if len(spans) > 3 else ''}"


def _totals(facts: TotalsFacts, in_doubt: int) -> Totals:
    events = facts.events - facts.unreported - facts.not_due
    duplicates = facts.rows - facts.events
    sent = facts.records if facts.acknowledged is None else facts.acknowledged + in_doubt + facts.replays
    letters = facts.too_late + facts.bad + facts.discarded + facts.replayed
    notes = []
    if facts.behind:
        notes.append(f"the sink has still to take {facts.behind} records: wait, and verify again")
    if facts.unreported:
        notes.append(
            f"{facts.unreported} events are not in the reports as the table has them, which comes right by itself "
            "within two minutes of their arrival; minutes outside the range are compared with an earlier --from"
        )
    return Totals(
        arrived_from=facts.arrived_from,
        arrived_to=facts.arrived_to,
        records=facts.records,
        acknowledged=facts.acknowledged,
        in_doubt=in_doubt,
        replays=facts.replays,
        events=events,
        duplicates=duplicates,
        not_due=facts.not_due,
        too_late=facts.too_late,
        bad=facts.bad,
        discarded=facts.discarded,
        replayed=facts.replayed,
        closed=facts.closed,
        no_record=facts.no_record,
        difference=sent - (events + duplicates + facts.not_due + letters + facts.closed + facts.no_record),
        note="; ".join(notes) or None,
    )

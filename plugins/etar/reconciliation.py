"""Compares what five places say of the same minutes: Kafka, the table, the dead letters, Parquet and the reports.

Pure: :mod:`etar.accounting` gathers the facts, this module says where they differ, by how much and what repairs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, computed_field

from etar.minute import MinuteWindow
from etar.report import PublishedReport
from etar.streams import Stream


@dataclass(frozen=True)
class MinuteFacts:
    """One minute, by event time (``dead_letters``: by append time; they have no other that could be trusted).

    ``parquet_rows`` is None where there is no object, ``report`` None where there is no report.
    """

    window: MinuteWindow
    rows: int
    unique: int
    dead_letters: int
    parquet_rows: int | None
    report: PublishedReport | None


@dataclass(frozen=True)
class PartitionFacts:
    """The offsets ``[first, end)`` that one partition took in over the range, and where they are now.

    Counts are of distinct offsets. ``missing_ranges`` are inclusive and, like ``both_sample``, at most a handful.
    ``acknowledged``: records that a producer's account claims for the partition, of ``appended`` in its run's time.
    """

    partition: int
    first: int
    end: int
    in_table: int
    in_dead_letters: int
    in_both: int
    missing_ranges: tuple[tuple[int, int], ...] = ()
    both_sample: tuple[int, ...] = ()
    acknowledged: int | None = None
    appended: int | None = None


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MinuteAccount(_Result):
    """What the places say of one minute. ``difference`` is 0 exactly when they agree."""

    minute: str
    received: int
    duplicates: int
    unique: int
    dead_letters: int
    parquet_rows: int | None
    report_rows: int | None
    report_events: int | None
    revision: int | None
    difference: int
    note: str | None


class PartitionAccount(_Result):
    """Where the offsets of one partition are. ``difference`` is 0 exactly when each is in one place."""

    partition: int
    first_offset: int
    end_offset: int
    in_table: int
    in_dead_letters: int
    missing: int
    missing_ranges: tuple[tuple[int, int], ...]
    in_both: int
    in_both_sample: tuple[int, ...]
    acknowledged: int | None
    appended: int | None
    difference: int
    note: str | None


class Verification(_Result):
    """The account of a range of minutes."""

    minutes: tuple[MinuteAccount, ...]
    partitions: tuple[PartitionAccount, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return self.difference == 0

    @computed_field(description="Sum of all differences, none of which can hide another")  # type: ignore[prop-decorator]
    @property
    def difference(self) -> int:
        return sum(minute.difference for minute in self.minutes) + sum(part.difference for part in self.partitions)


def reconcile(minutes: Sequence[MinuteFacts], partitions: Sequence[PartitionFacts], *, stream: Stream) -> Verification:
    """The account of a range. Every record must be in the table or the dead letters, and every row in a report."""
    return Verification(
        minutes=tuple(_minute(facts) for facts in minutes),
        partitions=tuple(_partition(facts, stream) for facts in partitions),
    )


def _minute(facts: MinuteFacts) -> MinuteAccount:
    report = facts.report
    parquet_rows = facts.parquet_rows or 0
    report_rows = report.rows_read if report else 0
    report_events = report.total_events if report else 0
    difference = (
        abs(facts.rows - parquet_rows)
        + abs(facts.rows - report_rows)
        + abs(facts.unique - report_events)
        # An empty minute without its report agrees in every count, and is a gap all the same.
        + (report is None)
    )
    return MinuteAccount(
        minute=str(facts.window),
        received=facts.rows,
        duplicates=facts.rows - facts.unique,
        unique=facts.unique,
        dead_letters=facts.dead_letters,
        parquet_rows=facts.parquet_rows,
        report_rows=report.rows_read if report else None,
        report_events=report.total_events if report else None,
        revision=report.revision if report else None,
        difference=difference,
        note=_minute_note(facts, parquet_rows, report_rows, report_events) if difference else None,
    )


def _minute_note(facts: MinuteFacts, parquet_rows: int, report_rows: int, report_events: int) -> str:
    start = facts.window.start.isoformat()
    repair = (
        "etar exec airflow backfill create --dag-id etar_pipeline "
        f"--from-date {start} --to-date {start} --reprocess-behavior completed"
    )
    if facts.report is None:
        return f"no report; make it: {repair}"
    if parquet_rows == report_rows < facts.rows:
        late = facts.rows - report_rows
        return f"{late} rows came after the minute was reported; report it again: {repair}"
    found = f"table {facts.rows} rows, Parquet {parquet_rows}, report {report_rows}"
    if facts.rows == parquet_rows == report_rows:
        found = f"table {facts.unique} unique events, report {report_events}"
    return f"{found}; report the minute again: {repair}"


def _partition(facts: PartitionFacts, stream: Stream) -> PartitionAccount:
    held = facts.end - facts.first
    missing = held - (facts.in_table + facts.in_dead_letters - facts.in_both)
    unclaimed = 0
    if facts.acknowledged is not None and facts.appended is not None:
        unclaimed = facts.appended - facts.acknowledged
    notes = []
    if missing:
        first_missing = facts.missing_ranges[0][0] if facts.missing_ranges else facts.first
        notes.append(
            f"{missing} records are in Kafka, but neither in the table nor in the dead letters; stop the sink and let "
            "it read them again, with the tools of a Kafka distribution: kafka-consumer-groups.sh "
            f"--group {stream.sink_group} --topic {stream.topic}:{facts.partition} "
            f"--reset-offsets --to-offset {first_missing} --execute"
        )
    if facts.in_both:
        notes.append(
            f"{facts.in_both} records are in the table and in the dead letters; a record that became a row later is "
            f"no dead letter: DELETE FROM dead_letters WHERE _topic = '{stream.topic}' AND _partition = "
            f"{facts.partition} AND _offset IN ({', '.join(map(str, facts.both_sample))}"
            f"{', …' if facts.in_both > len(facts.both_sample) else ''})"
        )
    if unclaimed:
        notes.append(
            f"Kafka took {facts.appended} records in the time of the producer's run, which says {facts.acknowledged}: "
            + ("another producer wrote to the topic as well" if unclaimed > 0 else "acknowledged records are gone")
        )
    return PartitionAccount(
        partition=facts.partition,
        first_offset=facts.first,
        end_offset=facts.end,
        in_table=facts.in_table,
        in_dead_letters=facts.in_dead_letters,
        missing=missing,
        missing_ranges=facts.missing_ranges,
        in_both=facts.in_both,
        in_both_sample=facts.both_sample,
        acknowledged=facts.acknowledged,
        appended=facts.appended,
        difference=abs(missing) + facts.in_both + abs(unclaimed),
        note="; ".join(notes) or None,
    )

"""The numbers that alert rules may be about: etar's own metrics, and which series each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from etar.streams import Stream

Labels: TypeAlias = Mapping[str, str]


class Scope(StrEnum):
    """What a metric has a series of each of."""

    SYSTEM = "system"
    STREAM = "stream"
    JOB = "job"


@dataclass(frozen=True)
class Sample:
    """One number of a metric."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True)
class Metric:
    """A number that there is, or will be: of a system, of each stream, of each job."""

    name: str
    scope: Scope
    about: str


_METRICS = (
    Metric("etar_api_up", Scope.SYSTEM, "Whether the report API answers."),
    Metric("etar_api_error_ratio", Scope.SYSTEM, "Answers of the last five minutes that are 5xx."),
    Metric("etar_api_slowest_query_seconds", Scope.SYSTEM, "Slowest query of the last five minutes."),
    Metric("etar_api_pool_connections", Scope.SYSTEM, "Connections to PostgreSQL in use."),
    Metric("etar_api_pool_max_connections", Scope.SYSTEM, "Connections that there may be."),
    Metric("etar_api_pool_used_ratio", Scope.SYSTEM, "Connections in use, of those that there may be."),
    Metric("etar_api_pool_waiting_requests", Scope.SYSTEM, "Requests that wait for one."),
    Metric("etar_alerts_up", Scope.SYSTEM, "Whether the alerts are looked at: of an old look there is nothing else."),
    Metric("etar_report_store_up", Scope.SYSTEM, "Whether the report store answers."),
    Metric("etar_kafka_up", Scope.SYSTEM, "Whether Kafka answers."),
    Metric("etar_report_age_seconds", Scope.STREAM, "Since the end of the newest minute that has a report."),
    Metric("etar_minutes_missing", Scope.STREAM, "Minutes that are over, and that no run has taken."),
    Metric("etar_minutes_given_up", Scope.STREAM, "Minutes of the last seven days that their last run gave up."),
    Metric("etar_bad_record_ratio", Scope.STREAM, "Bad records, of all of the last ten minutes that are reported."),
    Metric("etar_dead_letters_open", Scope.STREAM, "Bad records of the last 24 hours that nobody has decided on."),
    Metric(
        "etar_difference_records",
        Scope.STREAM,
        "Records lost, of which nobody has taken note, and those by which reports of the last hour and ledger differ.",
    ),
    Metric(
        "etar_audit_age_seconds", Scope.STREAM, "Since the end of the minute that every partition is audited through."
    ),
    Metric("etar_sink_lag_records", Scope.STREAM, "Records that Kafka holds and the sink has not committed."),
    Metric("etar_sink_overdue_records", Scope.STREAM, "Those of them that came more than a minute ago."),
    Metric("etar_job_up", Scope.JOB, "Whether the job has told something in the last minute."),
    Metric("etar_job_progress_age_seconds", Scope.JOB, "Since the job told something."),
    Metric("etar_job_lag_records", Scope.JOB, "Records that Kafka held and the newest micro-batch left."),
    Metric("etar_job_input_rows_per_second", Scope.JOB, "Records that come in."),
    Metric("etar_job_processed_rows_per_second", Scope.JOB, "Records a second of work."),
    Metric("etar_job_batch_seconds", Scope.JOB, "How long the newest micro-batch took."),
    Metric("etar_job_state_rows", Scope.JOB, "Rows that the job remembers."),
    Metric("etar_job_state_bytes", Scope.JOB, "Memory of these rows."),
    Metric("etar_job_batch", Scope.JOB, "Number of the newest micro-batch."),
)

METRICS: Mapping[str, Metric] = {each.name: each for each in _METRICS}
"""By name. A rule about any other is refused: it would never fire."""


def series(scope: Scope, streams: Iterable[Stream]) -> Iterator[Labels]:
    """Labels of each series that a metric has, or will have, while these streams are on."""
    match scope:
        case Scope.SYSTEM:
            yield {}
        case Scope.STREAM:
            yield from ({"stream": stream.name} for stream in streams)
        case Scope.JOB:
            yield from ({"stream": stream.name, "part": job.name} for stream in streams for job in stream.jobs)


def key(labels: Labels) -> tuple[tuple[str, str], ...]:
    """The labels as something to look up by, whatever their order."""
    return tuple(sorted(labels.items()))

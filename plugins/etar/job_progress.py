"""What the long-lived jobs of streams tell of their progress: a row each in the report store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    import psycopg

SILENT_AFTER = timedelta(seconds=60)
"""A job tells every ten seconds that it is there, also of no progress."""

KEEP = """
    INSERT INTO stream_job_progress (job, progress, at) VALUES (%(job)s, %(progress)s, clock_timestamp())
    ON CONFLICT (job) DO UPDATE SET progress = excluded.progress, at = excluded.at
"""
NEWEST = "SELECT job, progress, extract(epoch FROM clock_timestamp() - at)::float8 AS age FROM stream_job_progress"


class Durations(BaseModel):
    """Milliseconds that the parts of a micro-batch took."""

    trigger: int = Field(default=0, alias="triggerExecution")


class JobProgress(BaseModel):
    """Of a job's newest micro-batch, as Spark says: rates are rows a second, ``behind`` are records that Kafka held
    when the batch was planned and that it did not take."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    batch: int
    input_rows_per_second: float = 0.0
    processed_rows_per_second: float = 0.0
    duration_ms: Durations = Durations()
    state_rows: int = 0
    state_bytes: int = 0
    behind: int = 0
    watermark: AwareDatetime | None = None


def job_name(stream: str, job: str) -> str:
    """Under which a job's rows are known."""
    return f"{stream}/{job}"


def told(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[JobProgress, float]]:
    """By job, what it last told and how many seconds ago: of the rows of ``NEWEST``. What is no progress is as if
    nothing had been told."""
    found: dict[str, tuple[JobProgress, float]] = {}
    for row in rows:
        with suppress(ValidationError):
            found[row["job"]] = (JobProgress.model_validate(row["progress"]), row["age"])
    return found


def keep(connection: psycopg.Connection[Any], job: str, progress: Mapping[str, Any]) -> None:
    """Write over what the job told before, and commit.

    Raises:
        psycopg.Error: the report store is away, or has no table for it.
    """
    from psycopg.types.json import Jsonb

    with connection.transaction():
        connection.execute(KEEP.encode(), {"job": job, "progress": Jsonb(dict(progress))})

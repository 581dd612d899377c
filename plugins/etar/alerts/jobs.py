"""The numbers of the streams' jobs, made of what they last told (:mod:`etar.job_progress`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from etar.alerts.numbers import Labels, Sample
from etar.job_progress import SILENT_AFTER, JobProgress, job_name
from etar.streams import Stream


@dataclass(frozen=True)
class JobState:
    """A job of a stream that is on. ``progress`` is None where it has told nothing for a minute: what it told before
    says nothing of now."""

    stream: str
    part: str
    age: float | None
    """Seconds since it told something; None: it never did."""
    progress: JobProgress | None

    @property
    def labels(self) -> Labels:
        return {"stream": self.stream, "part": self.part}

    @property
    def samples(self) -> Iterator[Sample]:
        """One that is silent has no numbers but that it is down."""
        yield Sample("etar_job_up", self.labels, float(self.progress is not None))
        if self.age is not None:
            yield Sample("etar_job_progress_age_seconds", self.labels, self.age)
        if self.progress is not None:
            for name, number in _NUMBERS.items():
                yield Sample(name, self.labels, float(number(self.progress)))


def job_states(streams: Iterable[Stream], told: Mapping[str, tuple[JobProgress, float]]) -> list[JobState]:
    """Of each job of these streams, by what the jobs have told: progress, and seconds since."""
    states = []
    for stream in streams:
        for job in stream.jobs:
            progress, age = told.get(job_name(stream.name, job.name), (None, None))
            fresh = age is not None and age < SILENT_AFTER.total_seconds()
            states.append(JobState(stream.name, job.name, age, progress if fresh else None))
    return states


_NUMBERS: Mapping[str, Callable[[JobProgress], float]] = {
    "etar_job_lag_records": lambda told: told.behind,
    "etar_job_input_rows_per_second": lambda told: told.input_rows_per_second,
    "etar_job_processed_rows_per_second": lambda told: told.processed_rows_per_second,
    "etar_job_batch_seconds": lambda told: told.duration_ms.trigger / 1000,
    "etar_job_state_rows": lambda told: told.state_rows,
    "etar_job_state_bytes": lambda told: told.state_bytes,
    "etar_job_batch": lambda told: told.batch,
}

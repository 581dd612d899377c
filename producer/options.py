"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from glob import has_magic
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from etar.streams import DEFAULT_STREAM, stream_named
from producer.input_file import REJECTS_SUFFIX, STDIN

Share = Annotated[float, Field(ge=0, le=1)]

DEFAULT_RATE = 100.0


class Mix(BaseModel):
    """What the made-up traffic consists of, as shares from 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    errors: Share = Field(default=0.05, description="Of events: those that are errors, where the traffic has such")
    late: Share = Field(default=0.0, description="Of events: those that reach Kafka late")
    late_by: timedelta = Field(default=timedelta(seconds=90), ge=timedelta(0), description="Greatest lateness")
    duplicates: Share = Field(default=0.0, description="Of records: those that repeat an event")
    malformed: Share = Field(default=0.0, description="Of records: those that no sink may make a row of")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.duplicates + self.malformed > 1:
            raise ValueError(
                f"duplicates {self.duplicates} and malformed {self.malformed} are shares of the same records "
                "and cannot be more than 1 together"
            )
        return self


class ProduceOptions(BaseModel):
    """A run of the producer: made-up traffic, or the events of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str = DEFAULT_STREAM
    topic: str = Field(
        default_factory=lambda given: stream_named(given["stream"]).topic, description="None: the stream's own"
    )
    rate: float | None = Field(
        default=None,
        gt=0,
        le=10_000_000,
        description=f"Records a second over all workers. None: {DEFAULT_RATE:.0f}, or no limit for an input file",
    )
    duration: timedelta | None = Field(
        default=None, gt=timedelta(0), description="The run has exactly rate * duration records; None: until stopped"
    )
    start: AwareDatetime | None = Field(
        default=None,
        description="Event time of the first event. Ahead: waited for. Past: sent as fast as possible. None: now",
    )
    seed: int | None = Field(default=None, ge=0, description="None: another one in each run")
    workers: int = Field(default=2, ge=1, le=64, description="Processes; never more than records a second")
    mix: Mix = Mix()
    respawn: bool = Field(default=False, description="Start another worker in place of one that is killed")
    input: tuple[Path, ...] = Field(
        default=(),
        description="Files of events to send instead of made-up ones; folders, patterns and - for stdin, too",
    )
    nulls: tuple[str, ...] = Field(default=(), description="Words of the input that mean that there is no value")
    texts: tuple[str, ...] = Field(default=(), description="Words of the input that are values for all their looks")
    rejects: Path | None = Field(default=None, description="Where its bad lines go; None: beside it")
    account: Path | None = Field(default=None, description="File that the account is written to")
    event_log: Path | None = Field(default=None, description="JSONL file of every acknowledged record")
    queue_records: int = Field(default=100_000, ge=1, description="Records a worker holds for Kafka before it waits")
    delivery_timeout: timedelta = Field(
        default=timedelta(hours=1), gt=timedelta(0), description="How long an outage is waited out"
    )
    stop_timeout: timedelta = Field(
        default=timedelta(seconds=8), gt=timedelta(0), description="How long a stopped run waits for what is under way"
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        made_up = {"duration", "start", "seed", "mix", "respawn"} & self.model_fields_set
        if self.input and made_up:
            raise ValueError(f"{', '.join(sorted(made_up))}: only for made-up traffic, not with an input file")
        of_a_file = {"rejects", "nulls", "texts"} & self.model_fields_set
        if not self.input and of_a_file:
            raise ValueError(f"{', '.join(sorted(of_a_file))}: only with an input file")
        if both := {word.casefold() for word in self.nulls} & {word.casefold() for word in self.texts}:
            raise ValueError(f"{', '.join(sorted(both))}: cannot both be a value and mean that there is none")
        require_different_files([*(("input", path) for path in self.input if path != STDIN), *self.written.items()])
        return self

    @property
    def written(self) -> dict[str, Path]:
        """Files that the run writes, by the option that names them."""
        files = {"rejects": self.reject_path, "account": self.account, "event_log": self.event_log}
        return {name: path for name, path in files.items() if path is not None}

    @property
    def events_per_second(self) -> float:
        return DEFAULT_RATE if self.rate is None else self.rate

    @property
    def total(self) -> int | None:
        """Records of the whole run; None for a run without end."""
        return None if self.duration is None else round(self.events_per_second * self.duration.total_seconds())

    @property
    def processes(self) -> int:
        # A file is read from front to back, by one; and a worker that sends less than one event a second is idle.
        return 1 if self.input else min(self.workers, max(1, int(self.events_per_second)))

    @property
    def reject_path(self) -> Path | None:
        """Beside the file or folder; of several, of a pattern and of a pipe: in the current folder."""
        if not self.input or self.rejects:
            return self.rejects
        [first, *others] = self.input
        if others or not first.name or not (first.is_file() or first.is_dir() or first.suffix) or has_magic(str(first)):
            return Path(f"input{REJECTS_SUFFIX}")
        return first.with_name(f"{first.name}{REJECTS_SUFFIX}")


def require_different_files(files: Iterable[tuple[str, Path]]) -> None:
    """Check that no file is used for two purposes.

    Raises:
        ValueError: one is.
    """
    uses: dict[Path, str] = {}
    for use, path in files:
        before = uses.setdefault(path.resolve(), use)
        if before != use:
            raise ValueError(f"{path} cannot be both {before} and {use}: the one would be written over the other")

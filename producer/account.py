"""The account of a run: every record that was made, and what became of it."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from etar.minute import MinuteWindow
from producer.traffic import Draft, Kind

Count = Annotated[int, Field(ge=0)]
_Key = TypeVar("_Key")

NO_PARTITION = -1
"""Where a record is counted that failed before it was given a partition."""


class Outcome(BaseModel):
    """What Kafka said of a number of records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    acknowledged: Count = 0
    failed: Count = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(acknowledged=self.acknowledged + other.acknowledged, failed=self.failed + other.failed)


class Counts(BaseModel):
    """Counts of one worker, or the sum over several.

    Every record that was made is acknowledged, failed or, while the run goes on, under way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    generated: dict[Kind, Count] = Field(default_factory=dict, description="Records made, by what they are")
    kinds: dict[Kind, Outcome] = Field(default_factory=dict, description="What became of them")
    partitions: dict[int, Outcome] = Field(default_factory=dict, description="The same by partition; -1: had none yet")
    failures: dict[str, Count] = Field(default_factory=dict, description="Failed records by Kafka's error name")
    rejected: Count = Field(default=0, description="Lines of the input file that are no event")
    first_event_time: int | None = Field(default=None, description="Earliest acknowledged event, ms since the epoch")
    last_event_time: int | None = Field(default=None, description="Latest acknowledged event, ms since the epoch")

    def __add__(self, other: Counts) -> Counts:
        firsts = [at for at in (self.first_event_time, other.first_event_time) if at is not None]
        lasts = [at for at in (self.last_event_time, other.last_event_time) if at is not None]
        return Counts(
            generated=Counter(self.generated) + Counter(other.generated),
            kinds=_sum_outcomes(self.kinds, other.kinds),
            partitions=_sum_outcomes(self.partitions, other.partitions),
            failures=Counter(self.failures) + Counter(other.failures),
            rejected=self.rejected + other.rejected,
            first_event_time=min(firsts, default=None),
            last_event_time=max(lasts, default=None),
        )


def _sum_outcomes(one: dict[_Key, Outcome], other: dict[_Key, Outcome]) -> dict[_Key, Outcome]:
    return {key: one.get(key, Outcome()) + other.get(key, Outcome()) for key in sorted(one | other, key=str)}


class Tally:
    """The counts of one worker while it runs; :meth:`counts` is what they are at that moment."""

    def __init__(self) -> None:
        self._generated: Counter[Kind] = Counter()
        self._acknowledged: Counter[tuple[Kind, int]] = Counter()
        self._failed: Counter[tuple[Kind, int]] = Counter()
        self._failures: Counter[str] = Counter()
        self._first: int | None = None
        self._last: int | None = None
        self.rejected = 0

    def made(self, draft: Draft) -> None:
        self._generated[draft.kind] += 1

    def acknowledged(self, draft: Draft, partition: int) -> None:
        self._acknowledged[draft.kind, partition] += 1
        if draft.kind.malformed:
            return
        at = draft.event.event_time
        if self._first is None or at < self._first:
            self._first = at
        if self._last is None or at > self._last:
            self._last = at

    def failed(self, draft: Draft, partition: int, error: str) -> None:
        self._failed[draft.kind, partition] += 1
        self._failures[error] += 1

    def counts(self) -> Counts:
        by_kind: dict[Kind, Outcome] = {}
        by_partition: dict[int, Outcome] = {}
        outcomes = [(key, Outcome(acknowledged=n)) for key, n in self._acknowledged.items()]
        outcomes += [(key, Outcome(failed=n)) for key, n in self._failed.items()]
        for (kind, partition), outcome in outcomes:
            by_kind[kind] = by_kind.get(kind, Outcome()) + outcome
            by_partition[partition] = by_partition.get(partition, Outcome()) + outcome
        return Counts(
            generated=dict(self._generated),
            kinds=by_kind,
            partitions=by_partition,
            failures=dict(self._failures),
            rejected=self.rejected,
            first_event_time=self._first,
            last_event_time=self._last,
        )


class Account(BaseModel):
    """What a whole run sent, over all its workers. ``ok`` says whether every record arrived."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    seed: int | None = Field(description="Seed that makes the same events again; null for an input file")
    workers: int
    started_at: AwareDatetime
    ended_at: AwareDatetime
    counts: Counts
    reject_file: Path | None = Field(default=None, description="Where rejected lines are; null when there are none")
    errors: tuple[str, ...] = Field(default=(), description="What kept a worker from sending or counting everything")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def generated(self) -> int:
        return sum(self.counts.generated.values())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def acknowledged(self) -> int:
        return sum(outcome.acknowledged for outcome in self.counts.kinds.values())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def failed(self) -> int:
        return sum(outcome.failed for outcome in self.counts.kinds.values())

    @computed_field(description="Acknowledged duplicates")  # type: ignore[prop-decorator]
    @property
    def duplicates(self) -> int:
        return self.counts.kinds.get(Kind.DUPLICATE, Outcome()).acknowledged

    @computed_field(description="Acknowledged malformed records")  # type: ignore[prop-decorator]
    @property
    def malformed(self) -> int:
        return sum(outcome.acknowledged for kind, outcome in self.counts.kinds.items() if kind.malformed)

    @computed_field(description="Minute of the earliest acknowledged event")  # type: ignore[prop-decorator]
    @property
    def first_minute(self) -> str | None:
        return _minute(self.counts.first_event_time)

    @computed_field(description="Minute of the latest acknowledged event")  # type: ignore[prop-decorator]
    @property
    def last_minute(self) -> str | None:
        return _minute(self.counts.last_event_time)

    @computed_field(description="Every record arrived and no worker was lost")  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return not self.errors and self.acknowledged == self.generated

    def write(self, path: Path) -> None:
        """Write as JSON to ``path``, whole or not at all."""
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(self.model_dump_json() + "\n", encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """An account as :meth:`write` left it."""
        return cls.model_validate_json(path.read_bytes())


def _minute(event_time: int | None) -> str | None:
    if event_time is None:
        return None
    return str(MinuteWindow.containing(datetime.fromtimestamp(event_time / 1000, UTC)))

"""The account of a run: every record that was made, and what became of it."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from etar.minute import MinuteWindow
from producer.kinds import Kind

Count = Annotated[int, Field(ge=0)]
_Key = TypeVar("_Key")

_PERHAPS_SENT = frozenset(
    {"_PURGE_INFLIGHT", "_MSG_TIMED_OUT", "_TIMED_OUT", "REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS_AFTER_APPEND"}
)
"""Kafka's names of failures after which a record may be in Kafka all the same: what was lost is the answer."""

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
    rejected: Count = Field(default=0, description="Lines of the input that are no event")
    disbelieved: Count = Field(
        default=0, description="Events of the input that the pipeline refuses: past its horizon, or too far ahead"
    )
    first_event_time: int | None = Field(default=None, description="Earliest acknowledged event, ms since the epoch")
    last_event_time: int | None = Field(default=None, description="Latest acknowledged event, ms since the epoch")

    @property
    def acknowledged(self) -> int:
        return sum(outcome.acknowledged for outcome in self.kinds.values())

    @property
    def under_way(self) -> int:
        """Records that were made, and neither acknowledged nor failed."""
        decided = sum(outcome.acknowledged + outcome.failed for outcome in self.kinds.values())
        return sum(self.generated.values()) - decided

    def __add__(self, other: Counts) -> Counts:
        firsts = [at for at in (self.first_event_time, other.first_event_time) if at is not None]
        lasts = [at for at in (self.last_event_time, other.last_event_time) if at is not None]
        return Counts(
            generated=Counter(self.generated) + Counter(other.generated),
            kinds=_sum_outcomes(self.kinds, other.kinds),
            partitions=_sum_outcomes(self.partitions, other.partitions),
            failures=Counter(self.failures) + Counter(other.failures),
            rejected=self.rejected + other.rejected,
            disbelieved=self.disbelieved + other.disbelieved,
            first_event_time=min(firsts, default=None),
            last_event_time=max(lasts, default=None),
        )


def _sum_outcomes(one: dict[_Key, Outcome], other: dict[_Key, Outcome]) -> dict[_Key, Outcome]:
    return {key: one.get(key, Outcome()) + other.get(key, Outcome()) for key in sorted(one | other, key=str)}


class RejectReason(BaseModel):
    """Why lines of the input are no events, how many, and the first of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str
    lines: Count
    file: str
    line: int
    example: str


class Account(BaseModel):
    """What a whole run sent, over all its workers. ``ok`` says whether every record whose fate is known arrived."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    seed: int | None = Field(description="Seed that makes the same events again; null for an input file")
    workers: int
    started_at: AwareDatetime
    ended_at: AwareDatetime
    counts: Counts
    in_doubt: Count = Field(
        default=0,
        description="Records that a worker which died had handed over and that were neither acknowledged nor failed by "
        "then: each is in Kafka or is not",
    )
    respawns: Count = Field(default=0, description="Workers that were killed and had another started in their place")
    reject_file: Path | None = Field(default=None, description="Where rejected lines are; null when there are none")
    reject_reasons: tuple[RejectReason, ...] = Field(default=(), description="Why, the most frequent first")
    errors: tuple[str, ...] = Field(default=(), description="What kept a worker from sending or counting everything")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def generated(self) -> int:
        return sum(self.counts.generated.values())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def acknowledged(self) -> int:
        return self.counts.acknowledged

    @computed_field  # type: ignore[prop-decorator]
    @property
    def failed(self) -> int:
        return sum(outcome.failed for outcome in self.counts.kinds.values())

    @computed_field(  # type: ignore[prop-decorator]
        description="Records that may be in Kafka though nobody heard so: those in doubt, and those that failed for "
        "want of an answer"
    )
    @property
    def perhaps_sent(self) -> int:
        return self.in_doubt + sum(self.counts.failures.get(name, 0) for name in _PERHAPS_SENT)

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

    @computed_field(  # type: ignore[prop-decorator]
        description="Every record arrived but those in doubt, and no worker was lost for good"
    )
    @property
    def ok(self) -> bool:
        return not self.errors and self.acknowledged + self.in_doubt == self.generated

    def write(self, path: Path) -> None:
        """Write as JSON to ``path``, whole or not at all."""
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(self.model_dump_json() + "\n", encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """An account as :meth:`write` left it."""
        return cls.model_validate_json(path.read_bytes())


def _minute(happened: int | None) -> str | None:
    if happened is None:
        return None
    return str(MinuteWindow.containing(datetime.fromtimestamp(happened / 1000, UTC)))

"""What a stream costs: the costs of stages that the ledger has, summed over minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from etar.ledger import LedgerEntry, Stage, StageCost

_MILLION = 1_000_000


@dataclass(frozen=True)
class Amounts:
    """Rows, bytes and seconds of a core. None is what there is none of: settling has no bytes."""

    rows: float | None
    bytes: float | None
    cpu_seconds: float | None

    def of(self, number: int, count: int) -> Amounts | None:
        """So much of ``number`` of them, where these amounts are of ``count``; None of none."""

        def share(amount: float | None) -> float | None:
            return None if amount is None else amount * number / count

        return Amounts(share(self.rows), share(self.bytes), share(self.cpu_seconds)) if count else None


@dataclass(frozen=True)
class StreamCost:
    """Of the reported minutes among those asked for, the last run of each.

    Args:
        minutes: whose cost was kept, all their stages'.
        not_kept: others, which were reported before costs were kept.
        events: unique events of ``minutes``.
        stages: amounts of ``minutes``, by the stages that they had.
    """

    minutes: int
    not_kept: int
    events: int
    stages: Mapping[Stage, Amounts]

    @property
    def all(self) -> Amounts:
        """Of all stages: the processor time. Their rows and bytes are the same ones, again and again."""
        return Amounts(None, None, sum(stage.cpu_seconds or 0.0 for stage in self.stages.values()))

    def of_each_minute(self, amounts: Amounts) -> Amounts | None:
        return amounts.of(1, self.minutes)

    def of_a_million_events(self, amounts: Amounts) -> Amounts | None:
        return amounts.of(_MILLION, self.events)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: of each stage, and of ``all``, the sum and what a minute and a million events come to."""

        def told(amounts: Amounts) -> dict[str, Any]:
            each = {"a_minute": self.of_each_minute(amounts), "a_million_events": self.of_a_million_events(amounts)}
            return asdict(amounts) | {name: asdict(value) if value else None for name, value in each.items()}

        return {
            "minutes": self.minutes,
            "minutes_not_kept": self.not_kept,
            "events": self.events,
            "stages": {str(stage): told(amounts) for stage, amounts in self.stages.items()},
            "all": told(self.all),
        }


def cost_of(entries: Iterable[LedgerEntry]) -> StreamCost:
    """The cost of these minutes of one stream. Those that are not reported have none yet."""
    reported = [entry for entry in entries if entry.revision is not None and Stage.REPORT in entry.stages]
    kept = [
        entry
        for entry in reported
        if all(times.cost and times.cost.cpu_seconds is not None for times in entry.stages.values())
    ]
    costs = {
        stage: [times.cost for entry in kept if (times := entry.stages.get(stage)) and times.cost] for stage in Stage
    }
    return StreamCost(
        minutes=len(kept),
        not_kept=len(reported) - len(kept),
        events=sum(entry.unique_events or 0 for entry in kept),
        stages={stage: _summed(each) for stage, each in costs.items() if each},
    )


def _summed(costs: list[StageCost]) -> Amounts:
    def total(amount: Callable[[StageCost], float | None]) -> float | None:
        known = [found for cost in costs if (found := amount(cost)) is not None]
        return sum(known) if known else None

    return Amounts(total(lambda c: c.rows), total(lambda c: c.bytes), total(lambda c: c.cpu_seconds))

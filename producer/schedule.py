"""When each record is due: a fixed schedule, so that a slow moment is made up for and nothing drifts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

_SHORTEST_WAIT = 0.005  # waking for every single record would cost more than sending it


class Clock(Protocol):
    """Time as milliseconds since the epoch."""

    def now(self) -> int: ...


class SystemClock:
    """The machine's wall clock. Not a monotonic one: a machine that slept must not stay behind for good."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Schedule:
    """One worker's part of ``rate`` records a second: every ``workers``-th record, from number ``worker`` on.

    Args:
        start: when the first record of the run is due, in milliseconds since the epoch.
        total: records of the whole run over all workers; None for a run without end.
        made: how many of this worker's records were made before, by one that died.
    """

    start: int
    rate: float
    worker: int = 0
    workers: int = 1
    total: int | None = None
    made: int = 0

    @property
    def share(self) -> int | None:
        """How many records are this worker's; None for a run without end."""
        return None if self.total is None else len(range(self.worker, self.total, self.workers))

    def instant(self, number: int) -> int:
        """When this worker's ``number``-th record (from 0) is due, in milliseconds since the epoch."""
        return self.start + int((number * self.workers + self.worker) * 1000 / self.rate)


def due(
    schedule: Schedule, clock: Clock, *, wait: Callable[[float], object], stopping: Callable[[], bool]
) -> Iterator[int]:
    """The instants of a schedule, each once it has come, until the schedule ends or ``stopping()``.

    What came while the caller was busy follows without a wait. The instants are those of the schedule and not of the
    clock, so that a run is the same every time; one that starts in the past sends as fast as it can until it is level.

    Args:
        wait: called with seconds, at most 0.1; may return early.
    """
    share = schedule.share
    for number in count(schedule.made) if share is None else range(schedule.made, share):
        instant = schedule.instant(number)
        while not stopping() and (ahead := (instant - clock.now()) / 1000) > 0:
            wait(min(max(ahead, _SHORTEST_WAIT), 0.1))
        if stopping():
            return
        yield instant

"""When each record is due: a fixed schedule, so that a slow moment is made up for and nothing drifts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

_TOGETHER = 500
"""Records that are worth a block: one costs some milliseconds here and a request to Kafka, however few are in it."""
_SHORTEST_PAUSE = 0.1
"""Seconds between two blocks, at least."""
_LONGEST_WAIT = 0.5
"""Seconds in which a stop may go unnoticed."""
_MINUTE = 60_000


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
        return int(self.instants(number, number + 1)[0])

    def instants(self, first: int, end: int) -> npt.NDArray[np.int64]:
        """When its records from one number to before another are due."""
        numbers = np.arange(first, end, dtype=np.int64) * self.workers + self.worker
        return self.start + (numbers * 1000 / self.rate).astype(np.int64)

    def number_at(self, instant: int) -> int:
        """About the number of the last record that is due by then."""
        return int(((instant - self.start + 1) * self.rate / 1000 - self.worker) / self.workers)


def due(
    schedule: Schedule,
    clock: Clock,
    *,
    linger: float,
    wait: Callable[[float], object],
    stopping: Callable[[], bool],
    most: int,
) -> Iterator[npt.NDArray[np.int64]]:
    """The instants of a schedule, once they have come, ``most`` at a time, until the schedule ends or ``stopping()``.

    Slow ones come ``linger`` seconds' at a time, and what a minute has left when it is over. What came while the caller
    was busy follows without a wait. The instants are those of the schedule and not of the clock, so that a run is the
    same every time; one that starts in the past sends as fast as it can until it is level.

    Args:
        linger: seconds that the first of a block waits for others at most. It costs no report anything: each minute
            ends with a block.
        wait: called with seconds; may return early.
    """
    number, share = schedule.made, schedule.share
    pause = 1000 * min(max(_SHORTEST_PAUSE, _TOGETHER * schedule.workers / schedule.rate), linger)
    while not stopping() and (share is None or number < share):
        now = clock.now()
        if schedule.instant(number) > now:
            # A minute's last records are sent when it ends, as its report does not wait for long; so are the run's.
            leaves = min(now + pause, now - now % _MINUTE + _MINUTE)
            if share is not None:
                leaves = min(leaves, max(now + 1000 * _SHORTEST_PAUSE, schedule.instant(share - 1)))
            while not stopping() and (left := leaves - clock.now()) > 0:
                wait(min(left / 1000, _LONGEST_WAIT))
            continue
        end = min(number + most, max(number, schedule.number_at(now)) + 1)
        instants = schedule.instants(number, end if share is None else min(end, share))
        come = instants[: np.searchsorted(instants, now, side="right")]
        yield come
        number += len(come)

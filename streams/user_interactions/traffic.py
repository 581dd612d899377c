"""Made-up traffic: some visits of the shop under way at any time."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt

from etar.rows.blocks import Block

from .shop import EventFactory

_THINKING_SECONDS = 5.0


class Traffic:
    """What ``etar produce`` sends when no file is named (``producer/traffic.py`` says what it asks for).

    Args:
        seed, worker: the same two make the same events.
        rate: events a second that this worker sends.
        errors: share of events with status error.
        late: share of visits that reach Kafka late, by half of ``late_by`` to all of it.
    """

    def __init__(
        self,
        *,
        seed: int,
        worker: int,
        rate: float,
        errors: float = 0.05,
        late: float = 0.0,
        late_by: timedelta = timedelta(0),
    ) -> None:
        self._factory = EventFactory(
            seed=seed,
            worker=worker,
            errors=errors,
            late=late,
            late_by=round(late_by.total_seconds() * 1000),
            # As many visits as make a user think for some seconds between two steps, up to a rate of four thousand.
            concurrent=max(20, min(20_000, round(rate * _THINKING_SECONDS))),
        )

    def block(self, instants: npt.NDArray[np.int64]) -> Block:
        """The events that happen at some instants, in milliseconds since the epoch (earlier, if a visit is late)."""
        return self._factory.block(instants)

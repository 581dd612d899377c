"""How long a batch is collected: for as long as nobody waits for it.

An insert costs the engine 10 ms, however few rows it has, and a commit costs Kafka one or two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from etar.minute import MinuteWindow

SHORTEST_SECONDS = 1.0
"""How long the first batch after a pause is collected, where the setting does not say less."""

FETCH_WAIT_MS = 500
"""How long Kafka waits at most for more to answer with."""

ON_THE_WAY = timedelta(milliseconds=FETCH_WAIT_MS + 50)
"""So long after a minute is over, what Kafka held then is here."""


class Pace:
    """Says how long the next batch may be collected.

    Of a stream that flows, twice as long as the one before, up to ``longest`` seconds; a second after a pause, so that
    who sends some records sees their rows soon. No batch is collected over the moment at which a minute and the
    ``grace`` have passed: the minute's report waits for it. What comes right after is stored after a second again, as
    something of the minute may still be among it.

    Args:
        now: the wall clock, in UTC. One that is wrong costs freshness: a minute's report waits for the batch at hand.
    """

    def __init__(
        self, *, longest: float, grace: timedelta, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._longest = longest
        self._shortest = min(SHORTEST_SECONDS, longest)
        self._after_end = grace + ON_THE_WAY
        self._now = now
        self._wanted = self._shortest
        self._is_last = False

    def seconds(self) -> float:
        """For how long the batch that begins now may be collected; above 0."""
        now = self._now()
        over = MinuteWindow.containing(now - self._after_end).end + self._after_end
        left = (over - now).total_seconds()
        self._is_last = left <= self._wanted
        return min(left, self._wanted)

    def collected(self, records: int) -> None:
        """Take note that the batch was collected, and how many records it has."""
        steady = records and not self._is_last
        self._wanted = min(2 * self._wanted, self._longest) if steady else self._shortest

"""Whether a part that does not answer gets on with its start, and whether it ends again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import NamedTuple

from stack.layout import Layout
from stack.parts.base import write_if_changed

LOOK_SECONDS = 5.0
"""Between two looks at what a part has done: with less, the ticks of an idle Java are work."""

_ENDS_AT_MOST = 5
_IDLE_SHARE = 0.02
"""Of a core. A part that waits for something uses less; one that is starting more, also where forty want two cores."""

_SHORT_LIFE_SECONDS = 120.0
_LIVES = 3


class StartGivenUpError(Exception):
    """A part does not get on with its start; says how."""


class Look(NamedTuple):
    """What is seen of a part that does not answer: which of its processes runs, by when it began (s), and the
    processor time (s) that it has had."""

    began: int
    used: float


_NOTHING = Look(-1, 0.0)


@dataclass
class Watch:
    """Looks at a part until it answers, and gives it up when it makes no progress. A busy machine is no reason.

    ``limit`` (s): of doing nothing, and of processor time used up.
    """

    name: str
    limit: float
    _ended: int = -1
    _last: Look = _NOTHING
    _moved: float = 0.0

    def look(self, seen: Look, now: float) -> None:
        """``now`` is a monotonic clock (s).

        Raises:
            StartGivenUpError: it stands still, goes round in circles, or ends each time.
        """
        if seen.began != self._last.began:
            self._ended += 1
            self._last, self._moved = seen, now
            if self._ended >= _ENDS_AT_MOST:
                raise StartGivenUpError(f"{self.name} was started {self._ended} times, and ended each time")
        elif seen.used - self._last.used >= _IDLE_SHARE * (now - self._moved):
            self._last, self._moved = seen, now
        if now - self._moved >= self.limit:
            raise StartGivenUpError(f"{self.name} does not answer, and has done nothing for {self.limit:g} s")
        if seen.used >= self.limit:
            raise StartGivenUpError(f"{self.name} does not answer after {self.limit:g} s of processor time")


def note_start(layout: Layout, part: str, *, now: Callable[[], float] = time) -> None:
    """Write down that the part is started now."""
    times = [*_starts(layout, part), now()][-_LIVES:]
    write_if_changed(layout.starts(part), "".join(f"{each}\n" for each in times))


def forget_starts(layout: Layout, part: str) -> None:
    """A person starts the part: how it ended before says nothing any more."""
    layout.starts(part).unlink(missing_ok=True)


def keeps_ending(layout: Layout, part: str, *, now: Callable[[], float] = time) -> bool:
    """Whether the part that runs now has to be expected to end soon, as it did before."""
    return ends_again(_starts(layout, part), now())


def ends_again(starts: Sequence[float], now: float) -> bool:
    """Whether the last two lives were short, and this one is not longer yet. ``starts`` (s), the oldest first."""
    if len(starts) < _LIVES:
        return False
    first, second, third = starts[-_LIVES:]
    longest = max(second - first, third - second)
    return longest < _SHORT_LIFE_SECONDS and now - third <= longest


def _starts(layout: Layout, part: str) -> list[float]:
    file = layout.starts(part)
    return [float(line) for line in file.read_text().splitlines()] if file.exists() else []

"""Ranges of time, and which of some minutes are in them: what asks for a range is asked for the same ones."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.unit.dashboard.samples import MINUTE, minutes_after

_MOMENT = timedelta(microseconds=1)


def ranges_of(count: int) -> list[tuple[datetime | None, datetime | None, list[int]]]:
    """``(from, to, which)`` over ``count`` minutes, the first of them :data:`MINUTE`, which is 0."""
    first, second, third = (minutes_after(number).start for number in (1, 2, 3))
    return [
        (MINUTE.start, minutes_after(count).start, list(range(count))),
        (first, third, [1, 2]),
        (second, third, [2]),
        (first - _MOMENT, third, [1, 2]),
        (first + _MOMENT, third, [2]),
        (first, third + _MOMENT, [1, 2, 3]),
        (None, first, [0]),
        (minutes_after(count - 1).start, None, [count - 1]),
        (minutes_after(count).start, None, []),
        (None, MINUTE.start, []),
    ]

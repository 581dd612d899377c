"""Runs of offsets, half-open wherever they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """Neighbouring offsets ``[first, end)`` of one partition."""

    first: int
    end: int

    @property
    def size(self) -> int:
        return max(0, self.end - self.first)

    def clipped(self, to: Span) -> Span:
        """The part of it inside ``to``, which may have no size."""
        return Span(max(self.first, to.first), min(self.end, to.end))

    def __str__(self) -> str:
        """``17``, or ``17-23`` with the last one included."""
        return str(self.first) if self.end == self.first + 1 else f"{self.first}-{self.end - 1}"


def without(whole: Span, taken: Iterable[Span]) -> list[Span]:
    """What ``taken`` leaves of ``whole``, in order."""
    left, at = [], whole.first
    for span in sorted(each.clipped(whole) for each in taken):
        if span.size:
            left.append(Span(at, span.first))
            at = max(at, span.end)
    left.append(Span(at, whole.end))
    return [span for span in left if span.size]


def runs(offsets: Iterable[int], *, apart: int = 1) -> list[Span]:
    """The offsets, in any order, as runs. Those less than or just ``apart`` from their neighbour are in its run."""
    found: list[Span] = []
    for offset in sorted(offsets):
        if found and offset - (found[-1].end - 1) <= apart:
            found[-1] = Span(found[-1].first, offset + 1)
        else:
            found.append(Span(offset, offset + 1))
    return found

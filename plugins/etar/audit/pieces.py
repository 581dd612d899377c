"""Offsets in pieces: what one step of an audit looks at, and how runs of offsets are told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from etar.minute import MinuteWindow


@dataclass(frozen=True)
class Mark:
    """How far a partition is closed: below ``offset``, which is where arrival minute ``next`` begins."""

    next: MinuteWindow
    offset: int


@dataclass(frozen=True)
class Piece:
    """The offsets ``[first, end)`` of a partition, all of one arrival minute."""

    partition: int
    arrived: MinuteWindow
    first: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.first


class Run(NamedTuple):
    """Neighbouring offsets ``[first, end)``."""

    first: int
    end: int

    def __str__(self) -> str:
        """``17``, or ``17-23`` with the last one included."""
        return str(self.first) if self.end == self.first + 1 else f"{self.first}-{self.end - 1}"


def cut(partition: int, arrived: MinuteWindow, first: int, end: int, *, size: int) -> Iterator[Piece]:
    """``[first, end)`` in pieces of at most ``size`` offsets; none where the minute took in nothing."""
    for start in range(first, end, size):
        yield Piece(partition, arrived, start, min(start + size, end))


def together(pieces: Iterable[Piece], *, most: int) -> Iterator[list[Piece]]:
    """Neighbouring pieces in groups of at most ``most`` offsets; a piece that is larger stands alone."""
    group: list[Piece] = []
    offsets = 0
    for piece in pieces:
        if group and offsets + piece.size > most:
            yield group
            group, offsets = [], 0
        group.append(piece)
        offsets += piece.size
    if group:
        yield group


def runs(offsets: Iterable[int], *, apart: int = 1) -> list[Run]:
    """The offsets, in any order, as runs. Those less than or just ``apart`` from their neighbour are in its run."""
    found: list[Run] = []
    for offset in sorted(offsets):
        if found and offset - (found[-1].end - 1) <= apart:
            found[-1] = Run(found[-1].first, offset + 1)
        else:
            found.append(Run(offset, offset + 1))
    return found

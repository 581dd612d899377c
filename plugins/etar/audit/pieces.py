"""Offsets in pieces: what one step of an audit looks at, and how runs of offsets are told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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

"""Offsets in pieces: what one step of an audit looks at. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from etar.minute import MinuteWindow
from etar.offsets import Span


@dataclass(frozen=True)
class Mark:
    """How far a partition is closed: below ``offset``, which is where arrival minute ``next`` begins."""

    next: MinuteWindow
    offset: int


@dataclass(frozen=True)
class Piece:
    """Offsets of a partition, all of one arrival minute."""

    partition: int
    arrived: MinuteWindow
    offsets: Span


def cut(partition: int, arrived: MinuteWindow, offsets: Span, *, size: int) -> Iterator[Piece]:
    """The offsets in pieces of at most ``size``; none where the minute took in nothing."""
    for start in range(offsets.first, offsets.end, size):
        yield Piece(partition, arrived, Span(start, min(start + size, offsets.end)))


def together(pieces: Iterable[Piece], *, most: int) -> Iterator[list[Piece]]:
    """Neighbouring pieces in groups of at most ``most`` offsets; a piece that is larger stands alone."""
    group: list[Piece] = []
    offsets = 0
    for piece in pieces:
        if group and offsets + piece.offsets.size > most:
            yield group
            group, offsets = [], 0
        group.append(piece)
        offsets += piece.offsets.size
    if group:
        yield group

"""Offsets in pieces: nothing left out, nothing twice."""

from __future__ import annotations

import pytest

from etar.audit.pieces import cut, together
from etar.minute import MinuteWindow
from etar.offsets import Span

MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")


@pytest.mark.parametrize(
    ("first", "end", "pieces"),
    [
        (5, 5, []),
        (5, 6, [(5, 6)]),
        (5, 14, [(5, 14)]),
        (5, 15, [(5, 15)]),
        (5, 16, [(5, 15), (15, 16)]),
        (0, 30, [(0, 10), (10, 20), (20, 30)]),
    ],
)
def test_a_minute_is_cut_into_pieces_that_follow_one_another(
    first: int, end: int, pieces: list[tuple[int, int]]
) -> None:
    made = list(cut(3, MINUTE, Span(first, end), size=10))
    assert [piece.offsets for piece in made] == pieces
    assert {(piece.partition, piece.arrived) for piece in made} <= {(3, MINUTE)}


def test_pieces_are_grouped_up_to_the_bound_and_a_large_one_stands_alone() -> None:
    pieces = [
        piece
        for partition, (offsets, size) in enumerate([(45, 10), (40, 40), (15, 15)])
        for piece in cut(partition, MINUTE, Span(0, offsets), size=size)
    ]
    groups = [[piece.offsets.size for piece in group] for group in together(pieces, most=20)]
    assert groups == [[10, 10], [10, 10], [5], [40], [15]]

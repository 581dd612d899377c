"""Offsets in pieces and runs: nothing left out, nothing twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.audit.pieces import cut, together
from etar.minute import MinuteWindow
from etar.offsets import Span, runs

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
    made = list(cut(3, MINUTE, first, end, size=10))
    assert [(piece.first, piece.end) for piece in made] == pieces
    assert {(piece.partition, piece.arrived) for piece in made} <= {(3, MINUTE)}


def test_pieces_are_grouped_up_to_the_bound_and_a_large_one_stands_alone() -> None:
    pieces = [*cut(0, MINUTE, 0, 25, size=10), *cut(1, MINUTE, 0, 40, size=40), *cut(2, MINUTE, 0, 15, size=15)]
    groups = [[piece.size for piece in group] for group in together(pieces, most=20)]
    assert groups == [[10, 10], [5], [40], [15]]


@given(st.sets(st.integers(0, 60)), st.integers(1, 5))
def test_runs_hold_exactly_the_offsets_when_neighbours_are_one_apart(offsets: set[int], apart: int) -> None:
    exact = runs(offsets)
    assert {offset for run in exact for offset in range(run.first, run.end)} == offsets
    assert all(later.first > earlier.end for earlier, later in pairwise(exact))
    wide = runs(offsets, apart=apart)
    assert offsets <= {offset for run in wide for offset in range(run.first, run.end)}
    assert all(later.first - (earlier.end - 1) > apart for earlier, later in pairwise(wide))


def test_a_run_is_shown_with_its_last_offset() -> None:
    assert [str(run) for run in (Span(17, 18), Span(17, 24))] == ["17", "17-23"]

"""Runs of offsets: nothing left out, nothing twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.offsets import Span, runs, without


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ([], [(10, 20)]),
        ([(10, 20)], []),
        ([(0, 30)], []),
        ([(0, 10)], [(10, 20)]),
        ([(0, 11)], [(11, 20)]),
        ([(20, 30)], [(10, 20)]),
        ([(19, 30)], [(10, 19)]),
        ([(12, 14)], [(10, 12), (14, 20)]),
        ([(14, 16), (10, 12)], [(12, 14), (16, 20)]),
        ([(12, 14), (14, 16)], [(10, 12), (16, 20)]),
        ([(12, 18), (13, 14)], [(10, 12), (18, 20)]),
        ([(15, 15)], [(10, 20)]),
    ],
)
def test_what_is_left_of_a_span(taken: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    assert without(Span(10, 20), [Span(*each) for each in taken]) == left


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

"""What `make bench` makes of what was measured; nothing is measured here."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from bench.__main__ import FIGURES
from bench.measure import Bar, Row, in_turn, table, tell
from bench.plot import drawing
from stack.layout import REPOSITORY


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        (Bar("ours", at_most=2.0), True),
        (Bar("ours", at_most=1.9), False),
        (Bar("ratio", at_most=0.2), True),
        (Bar("ratio", at_least=0.3), False),
        (None, None),
    ],
)
def test_a_bar_is_about_ours_or_about_the_ratio_and_its_edge_is_within(bar: Bar | None, met: bool | None) -> None:
    row = Row("a figure", "s", 2.0, "plain", 10.0, bar=bar)
    assert row.as_dict()["met"] is met


def test_a_ratio_without_a_baseline_is_neither_met_nor_missed() -> None:
    assert Row("a figure", "s", 2.0, bar=Bar("ratio", at_most=0.2)).as_dict()["met"] is None


def test_of_runs_that_took_turns_the_medians_count_and_the_spread_is_that_of_the_pairs() -> None:
    row = Row.of("a figure", "s", [1, 2, 9], [10, 10, 30], against="plain", bar=None)
    assert (row.ours, row.baseline, row.ratio, row.spread, row.runs) == (2, 10, 0.2, (0.1, 0.3), 3)


def test_a_baseline_of_nothing_has_no_ratio() -> None:
    row = Row.of("bytes of what has not changed", "kB", [0, 0], [0, 0], against="before", bar=None)
    assert (row.ours, row.baseline, row.ratio, row.spread, row.runs) == (0, 0, None, None, 2)
    assert "| 0 kB | 0 (before) | - |" in table([row.as_dict()])


def test_variants_take_turns_and_the_first_turn_does_not_count() -> None:
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    found = in_turn({name: partial(measure, name) for name in "ab"}, 2)
    assert order == list("ababab")
    assert found == {"a": [3, 5], "b": [4, 6]}


def test_a_missed_bar_is_said_in_the_table_the_file_and_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    rows = [
        Row("fast", "s", 1.0, "plain", 10.0, bar=Bar("ratio", at_most=0.2)),
        Row("slow", "s", 9.0, "plain", 10.0, bar=Bar("ratio", at_most=0.2)),
    ]
    assert tell(rows[:1], None) == 0
    assert tell(rows, file) == 1
    assert "| slow | 9 s | 10 (plain) | 0.9 | ratio ≤ 0.2 | MISSED |" in capsys.readouterr().out
    assert [(row["figure"], row["met"]) for row in json.loads(file.read_text())] == [("fast", True), ("slow", False)]


def test_a_drawing_shows_each_figure_that_has_a_baseline() -> None:
    rows = [Row("`etar` & more", "s", 1.0, "plain", 10.0), Row("alone", "s", 1.0)]
    drawn = drawing([row.as_dict() for row in rows])
    assert "etar &amp; more / plain" in drawn
    assert "alone" not in drawn


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_program_of_the_folder(name: str) -> None:
    assert (REPOSITORY / "bench" / FIGURES[name].program).is_file()

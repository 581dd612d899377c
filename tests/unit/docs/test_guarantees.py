"""What ``docs/guarantees.md`` names as proof is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from stack.layout import REPOSITORY
from tests.lanes.plan import runs_at_each_change

PAGE = (REPOSITORY / "docs/guarantees.md").read_text()
TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)(?:::(?P<test>[\w:]+))?`")
NAMED = TEST.findall(PAGE)
EACH_CHANGE, LONG = "each change", "`make test-long`"
PROMISES = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise |")]


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def test_the_table_names_tests() -> None:
    assert sum(bool(test) for _, test in NAMED) > 30


@pytest.mark.parametrize(("path", "test"), NAMED, ids=lambda part: part)
def test_a_named_test_exists(path: str, test: str) -> None:
    file = REPOSITORY / path
    assert file.is_file(), f"docs/guarantees.md names {path}"
    place: ast.AST = parsed(file)
    for name in test.split("::") if test else ():
        here = {
            node.name: node for node in ast.iter_child_nodes(place) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in here, f"docs/guarantees.md names {path}::{test}"
        place = here[name]


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[2:40])
def test_a_promise_is_shown_at_each_change_and_the_last_column_says_where_else(row: str) -> None:
    *_, runs = row.strip("| ").split("|")
    each_change = {runs_at_each_change(path) for path, _ in TEST.findall(row)}
    assert True in each_change, "nothing that shows it runs at each change"
    assert runs.strip() == ", ".join([EACH_CHANGE, LONG] if False in each_change else [EACH_CHANGE])

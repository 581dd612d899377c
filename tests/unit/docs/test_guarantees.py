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
PROMISES = re.findall(
    r"^### (.+?)\n(.*?)(?=^##)", PAGE.partition("## Not promised")[0] + "##", re.MULTILINE | re.DOTALL
)
"""Each with its title and what is said of it."""


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


@pytest.mark.parametrize(("title", "said"), PROMISES, ids=[title for title, _ in PROMISES])
def test_a_promise_is_shown_at_each_change_and_its_list_says_where_else(title: str, said: str) -> None:
    shown = TEST.findall(said)
    each_change = {runs_at_each_change(path) for path, _ in shown}
    assert True in each_change, "nothing that shows it runs at each change"
    number = "1 test" if len(shown) == 1 else f"{len(shown)} tests"
    when = "at each change and by make test-long" if False in each_change else "at each change"
    assert re.findall("<summary>(.*)</summary>", said) == [f"Shown by {number}, {when}"]


def test_each_test_stands_under_a_promise() -> None:
    promised, _, _ = PAGE.partition("## Not promised")
    under_promises = [name for _, said in PROMISES for name in TEST.findall(said)]
    assert [name for name in TEST.findall(promised) if name not in under_promises] == [
        ("tests/unit/docs/test_guarantees.py", "")
    ]

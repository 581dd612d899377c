"""What ``docs/guarantees.md`` names as proof is there."""

from __future__ import annotations

import ast
import re

import pytest

from stack.layout import REPOSITORY

NAMED = re.findall(
    r"`(?P<path>tests/[\w/]+\.py)(?:::(?P<test>[\w:]+))?`", (REPOSITORY / "docs/guarantees.md").read_text()
)


def test_the_table_names_tests() -> None:
    assert sum(bool(test) for _, test in NAMED) > 30


@pytest.mark.parametrize(("path", "test"), NAMED, ids=lambda part: part)
def test_a_named_test_exists(path: str, test: str) -> None:
    file = REPOSITORY / path
    assert file.is_file(), f"docs/guarantees.md names {path}"
    place: ast.AST = ast.parse(file.read_text())
    for name in test.split("::") if test else ():
        here = {
            node.name: node for node in ast.iter_child_nodes(place) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in here, f"docs/guarantees.md names {path}::{test}"
        place = here[name]

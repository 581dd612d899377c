"""Policy: what every DAG file keeps to, so that it stays wiring."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.dags.conftest import DAGS, Parsed

each_dag = pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda file: file.stem)


def test_there_are_these_three() -> None:
    assert {file.stem for file in DAGS.glob("*.py")} == {"etar_audit", "etar_pipeline", "etar_reconcile"}


@each_dag
def test_it_is_wiring_of_less_than_ninety_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 90


@each_dag
def test_it_imports_airflow_providers_and_names_of_etar_only(file: Path) -> None:
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    allowed = ("airflow.sdk", "airflow.providers.", "etar.")
    beyond = {str(name) for name in imported if not str(name).startswith(allowed)}
    assert beyond <= set(sys.stdlib_module_names), beyond


@each_dag
def test_it_says_what_a_red_square_means_what_to_press_and_whose_it_is(
    file: Path, parse: Callable[..., Parsed], folders: str
) -> None:
    for dag in parse(file.stem, streams="payments broken", folders=folders).dags.values():
        if "fault" not in dag.tags:
            assert "**A red square:**" in dag.doc_md
            assert "press" in dag.doc_md.lower().split("a red square")[1]
            assert len(dag.doc_md.splitlines()) <= 40, "short"
        assert "etar" in dag.tags
        assert {task.owner for task in dag.tasks} == {"etar"}


@each_dag
def test_whether_a_failure_is_tried_again_is_said_with_the_reason(file: Path, parse: Callable[..., Parsed]) -> None:
    from etar.errors import PermanentError, TransientError

    for task in parse(file.stem).dag.tasks:
        said = [task.retry_policy.evaluate(error, 1, 2) for error in (PermanentError(), TransientError(), OSError())]
        assert [decision.action.value for decision in said] == ["fail", "retry", "retry"]
        assert len({decision.reason for decision in said if decision.reason}) == 3

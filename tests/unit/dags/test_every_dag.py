"""Policy: what every DAG file keeps to, so that it stays wiring."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.unit.dags.conftest import DAGS

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

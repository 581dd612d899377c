"""DAGs as Airflow parses them: in a folder of their own and without a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from etar.settings import get_settings

DAGS = Path(__file__).resolve().parents[3] / "dags"


@dataclass(frozen=True)
class Parsed:
    dag: Any
    import_errors: dict[str, str]


@pytest.fixture(scope="session")
def parse(airflow_home: Path) -> Callable[[str], Parsed]:
    """Parses a DAG once, with the start date 2026-11-21T10:00Z and defaults for the rest."""

    @cache
    def parse_(dag_id: str) -> Parsed:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ETAR_PIPELINE_START_DATE", "2026-11-21T10:00:00Z")
            environment.delenv("ETAR_PIPELINE_MAX_ACTIVE_RUNS", raising=False)
            get_settings.cache_clear()
            from airflow.dag_processing.dagbag import DagBag

            bag = DagBag(DAGS / f"{dag_id}.py", collect_dags=True)
            get_settings.cache_clear()
            return Parsed(bag.dags.get(dag_id), dict(bag.import_errors))

    return parse_


@pytest.fixture
def parsed(request: pytest.FixtureRequest, parse: Callable[[str], Parsed]) -> Parsed:
    """The DAG that the module is about, by its name: ``test_etar_pipeline``."""
    return parse(request.path.stem.removeprefix("test_"))


@pytest.fixture
def dag(parsed: Parsed) -> Any:
    assert parsed.import_errors == {}
    return parsed.dag

"""DAGs as Airflow parses them: in a folder of their own and without a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etar.settings import get_settings

DAGS = Path(__file__).resolve().parents[3] / "dags"


@dataclass(frozen=True)
class Parsed:
    dag: Any
    import_errors: dict[str, str]


@contextmanager
def parsing(dag_id: str, home: Path) -> Iterator[Parsed]:
    """The DAG with the start date 2026-11-21T10:00Z and defaults for the rest."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_HOME", str(home))
        environment.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        environment.setenv("ETAR_PIPELINE_START_DATE", "2026-11-21T10:00:00Z")
        environment.delenv("ETAR_PIPELINE_MAX_ACTIVE_RUNS", raising=False)
        get_settings.cache_clear()
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(DAGS / f"{dag_id}.py", collect_dags=True)
        yield Parsed(bag.dags.get(dag_id), dict(bag.import_errors))
        get_settings.cache_clear()


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsed]:
    with parsing("etar_pipeline", tmp_path_factory.mktemp("airflow")) as pipeline:
        yield pipeline


@pytest.fixture
def dag(parsed: Parsed) -> Any:
    assert parsed.import_errors == {}
    return parsed.dag

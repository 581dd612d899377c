"""The DAG as Airflow parses it: once for the session, in a folder of its own and without a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etar.settings import get_settings

DAG_FILE = Path(__file__).resolve().parents[3] / "dags" / "etar_pipeline.py"


@dataclass(frozen=True)
class Parsed:
    dag: Any
    import_errors: dict[str, str]


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsed]:
    """``etar_pipeline`` with the start date 2026-11-21T10:00Z and defaults for the rest."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        environment.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        environment.setenv("ETAR_PIPELINE_START_DATE", "2026-11-21T10:00:00Z")
        environment.delenv("ETAR_PIPELINE_MAX_ACTIVE_RUNS", raising=False)
        get_settings.cache_clear()
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(DAG_FILE, collect_dags=True)
        yield Parsed(bag.dags.get("etar_pipeline"), dict(bag.import_errors))
        get_settings.cache_clear()


@pytest.fixture
def dag(parsed: Parsed) -> Any:
    assert parsed.import_errors == {}
    return parsed.dag

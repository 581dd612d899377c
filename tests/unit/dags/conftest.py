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
    """What a DAG file has, and the DAG that has the file's name."""

    dag: Any
    import_errors: dict[str, str]
    dags: dict[str, Any]


@pytest.fixture(scope="session")
def parse(airflow_home: Path) -> Callable[..., Parsed]:
    """``parse("etar_pipeline", streams="a b", folders="streams:…")``: a DAG file, read once, with the start date
    2026-11-21T10:00Z and defaults for the rest."""

    @cache
    def parse_(name: str, *, streams: str = "", folders: str = "streams") -> Parsed:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ETAR_PIPELINE_START_DATE", "2026-11-21T10:00:00Z")
            environment.setenv("ETAR_STREAMS", streams)
            environment.setenv("ETAR_STREAMS_FOLDERS", folders)
            environment.delenv("ETAR_PIPELINE_MAX_ACTIVE_RUNS", raising=False)
            get_settings.cache_clear()
            from airflow.dag_processing.dagbag import DagBag

            bag = DagBag(DAGS / f"{name}.py", collect_dags=True)
            get_settings.cache_clear()
            return Parsed(bag.dags.get(name), dict(bag.import_errors), dict(bag.dags))

    return parse_


@pytest.fixture
def folders(tmp_path: Path) -> str:
    """Where streams are: the project's, and in a folder of the user's ``payments`` and ``trips``, which are sound, and
    ``broken`` and ``Not a name``, which are not."""
    for name in ("payments", "trips"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stream.toml").write_text(f'[stream]\nname = "{name}"\nlike = "user_interactions"\n')
    for name in ("broken", "Not a name"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stream.toml").write_text("[stream\n")
    return f"streams:{tmp_path}"


@pytest.fixture
def parsed(request: pytest.FixtureRequest, parse: Callable[[str], Parsed]) -> Parsed:
    """The DAG that the module is about, by its name: ``test_etar_pipeline``."""
    return parse(request.path.stem.removeprefix("test_"))


@pytest.fixture
def dag(parsed: Parsed) -> Any:
    assert parsed.import_errors == {}
    return parsed.dag

"""What etar adds to Airflow's web UI, in Airflow's own words, and what it costs a task that has no use for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etar.settings import get_settings
from etar.streams import Stream
from tests.unit.dags.conftest import DAGS, Parsed

START = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
PLUGINS = DAGS.parent / "plugins"


@pytest.fixture
def plugin(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As Airflow loads it, with a dashboard that stands elsewhere."""
    from airflow import plugins_manager

    monkeypatch.setenv("ETAR_DASHBOARD_URL", "https://etar.example/dashboard/")
    get_settings.cache_clear()
    plugins, faults = plugins_manager._get_plugins()
    assert faults == {}
    (loaded,) = (each for each in plugins if each.name == "etar")
    made = type(loaded)()
    yield made
    get_settings.cache_clear()


def test_the_dashboard_and_a_runs_minute_are_pages_inside_airflow(plugin: Any) -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    views = {view["name"]: ExternalViewResponse(**view) for view in plugin.external_views}
    assert views["etar dashboard"].href == "https://etar.example/dashboard/"
    assert views["etar dashboard"].destination == "nav"
    assert (views["Minute"].destination, views["Minute"].href) == ("dag_run", "etar/runs/{DAG_ID}/{RUN_ID}")
    assert len({view.url_route for view in views.values()} - {None}) == 2, "shown inside, not as a link to leave by"


@dataclass
class Run:
    """Airflow's row of a run."""

    data_interval_start: datetime | None
    data_interval_end: datetime | None


class Database:
    """In place of a session: has this row, or none."""

    def __init__(self, row: Run | None) -> None:
        self.row = row

    def scalar(self, _: Any) -> Run | None:
        return self.row


@pytest.fixture
def ask(plugin: Any) -> Callable[..., Any]:
    """``ask(dag, run, row)``: what the person gets who looks at that run."""
    from airflow.api_fastapi.common.db.common import SessionDep
    from fastapi.testclient import TestClient

    (mounted,) = plugin.fastapi_apps
    app = mounted["app"]
    (route,) = (each for each in app.routes if each.path == "/runs/{dag_id}/{run_id}")
    (permission,) = (each.dependency for each in route.dependencies)

    def ask_(dag: str, run: str, row: Run | None) -> Any:
        app.dependency_overrides = {
            permission: lambda: None,
            SessionDep.__metadata__[0].dependency: lambda: Database(row),
        }
        return TestClient(app, follow_redirects=False).get(f"/runs/{dag}/{run}")

    return ask_


@pytest.mark.parametrize("stream", ["user_interactions", "payments"])
def test_a_run_leads_to_its_minute_of_its_stream(ask: Callable[..., Any], stream: str) -> None:
    row = Run(START, START + timedelta(minutes=1))
    answer = ask(Stream(stream).dag_id, "scheduled__2026-11-21T10%3A32%3A00%2B00%3A00", row)
    assert answer.status_code == 307
    wanted = f"https://etar.example/dashboard/{stream}-minutes?day=2026-11-21&minute=10:31"
    assert answer.headers["location"] == wanted


@pytest.mark.parametrize(
    ("dag", "row", "why"),
    [
        ("etar_pipeline", None, "Airflow has no run"),
        ("etar_reconcile", Run(START, START), "not about one minute"),
        ("somebodys_dag", Run(START, START + timedelta(minutes=1)), "not about one minute"),
        ("etar_pipeline", Run(START, START), "works on exactly one whole minute"),
        ("etar_pipeline", Run(None, None), "no data interval"),
    ],
)
def test_a_run_without_a_minute_says_so_in_words(ask: Callable[..., Any], dag: str, row: Run | None, why: str) -> None:
    answer = ask(dag, "manual__<b>", row)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert why in answer.text
    assert "<b>" not in answer.text


def test_only_who_may_see_the_run_is_led_on(plugin: Any) -> None:
    from fastapi.testclient import TestClient

    (mounted,) = plugin.fastapi_apps
    answer = TestClient(mounted["app"]).get("/runs/etar_pipeline/scheduled__2026-11-21T10:31Z")
    assert answer.status_code == 401


def test_a_minutes_task_has_a_button_whatever_became_of_it(plugin: Any, parse: Callable[..., Parsed]) -> None:
    """Made when the page is asked for, and so no task has to have lived to leave it."""
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(DagSerialization.to_dict(parse("etar_pipeline").dag))
    key = TaskInstanceKey("etar_pipeline", "minute", "manual__2026-11-21T10:31Z_2026-11-21T10:32:20+00:00", 7)
    (link,) = dag.get_task("minute").operator_extra_links
    assert type(link).__module__ == "etar.airflow_ui.links", "and not what a task has left in XCom"
    assert link.get_link(dag.get_task("minute"), ti_key=key).endswith(
        "/etar/runs/etar_pipeline/manual__2026-11-21T10%3A31Z_2026-11-21T10%3A32%3A20%2B00%3A00"
    )
    audit = DagSerialization.from_dict(DagSerialization.to_dict(parse("etar_audit").dag))
    assert audit.get_task("audit").extra_links == []


def test_a_task_that_loads_the_plugin_imports_next_to_nothing(tmp_path: Path) -> None:
    """Of a process that has what each task's has, all modules that loading the plugins adds."""
    program = (
        "import sys, json\n"
        "import airflow.sdk.execution_time.task_runner, airflow.dag_processing.dagbag\n"
        "before = set(sys.modules)\n"
        "from airflow.sdk.plugins_manager import integrate_macros_plugins\n"
        "integrate_macros_plugins()\n"
        "from airflow import plugins_manager\n"
        "plugins_manager.ensure_plugins_loaded()\n"
        "plugins_manager.get_timetables_plugins()\n"
        "ours = [name for name in sys.modules if name.startswith('etar')]\n"
        "print(json.dumps([ours, sorted(set(sys.modules) - before)]))\n"
    )
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    ours, loaded = map(set, json.loads(done.stdout.splitlines()[-1]))
    assert ours == {
        "etar",
        "etar.backfills",
        "etar.minute",
        "etar.pipeline",
        "etar.pipeline.priority",
        "etar.pipeline.timetable",
        "etar_airflow_plugin",
    }
    assert {name for name in loaded - ours if "plugins_manager" not in name} == set(), "the libraries are there anyway"

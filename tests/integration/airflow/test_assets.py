"""A DAG of somebody's that is scheduled by a stream's reports is run once for each revision."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def known_after(tmp_path: Path, *steps: dict[str, Any]) -> list[dict[str, Any]]:
    """What Airflow knows after each run of the reporting task."""
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    command = [sys.executable, str(HERE / "asset_events.py"), json.dumps(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return told


def event(revision: int) -> list[Any]:
    return ["etar://reports/payments", {"stream": "payments", "minute": "2026-11-21T10:31Z", "revision": revision}]


def test_a_consumer_is_run_once_for_each_revision_whatever_becomes_of_the_task(tmp_path: Path) -> None:
    killed, tried_again, cleared, revised = known_after(
        tmp_path,
        {"REVISION": "1", "new": True, "ENDS": "failed"},
        {"REVISION": "1"},
        {"REVISION": "1"},
        {"REVISION": "2", "new": True},
    )
    assert (killed["state"], killed["events"], killed["consumer"]) == ("failed", [], [])
    assert (tried_again["state"], tried_again["events"]) == ("success", [event(1)])
    assert tried_again["consumer"] == ["asset_triggered"]
    assert (cleared["state"], cleared["events"], cleared["consumer"]) == ("success", [event(1)], ["asset_triggered"])
    assert revised["events"] == [event(1), event(2)]
    assert revised["consumer"] == ["asset_triggered"] * 2

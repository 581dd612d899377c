"""The libraries of tasks are in the process that tasks are forked from, and nothing that a fork would break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.parts import airflow
from tests.conftest import new_stack

WORKER = Path(__file__).with_name("preloaded_worker.py")


@pytest.mark.usefixtures("airflow_home")
def test_a_worker_that_is_forked_has_the_libraries_of_tasks_and_no_step() -> None:
    with new_stack() as stack:
        variables = airflow.environment(stack)
    names = ("AIRFLOW__CORE__PLUGINS_FOLDER", "JE_ARROW_MALLOC_CONF", "OPENBLAS_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, str(WORKER)],
        env=os.environ | {name: variables[name] for name in names},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    worker = json.loads(done.stdout.splitlines()[-1])
    assert worker["lacked"] == [], "each task imports these by itself"
    assert worker["threads"] == 1, "a fork carries over one thread, and the locks of all"
    # A step that a person changes is in force with the next task.
    assert worker["own"] == [
        "etar",
        "etar.backfills",
        "etar.minute",
        "etar.pipeline",
        "etar.pipeline.priority",
        "etar.pipeline.tasks",
        "etar.pipeline.tasks.preload",
        "etar.pipeline.timetable",
    ]

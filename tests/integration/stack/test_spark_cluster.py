"""The analysis on a real Spark master and worker, who take nobody's work who does not know their secret."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from etar.minute import MinuteWindow
from stack.class_archives import ROWS, write_events
from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import Stack, spark
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part

# Above all that the first test waits for: every process of the cluster twice, the driver.
pytestmark = pytest.mark.timeout(1200)

MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with new_stack({"ETAR_STACK_SPARK": "standalone"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def report(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What an analysis found whose master was killed before it had an executor, and whose worker when it had one.

    Master and worker run as long as it is in use.
    """
    folder = tmp_path_factory.mktemp("analysis")
    write_events(folder / "events.parquet")
    with ExitStack() as running:
        with running_part("spark-master", stack) as master:
            driver = submit(stack, spark.properties_file(stack), folder / "events.parquet", folder / "report.json")
            running.callback(driver.kill)
            wait_until(lambda: len(state(stack)["activeapps"]) == 1, timeout=120, what="the driver to register")
            psutil.Process(master).kill()
        running.enter_context(running_part("spark-master", stack))
        with running_part("spark-worker", stack) as worker:
            # The folder, because the master counts an executor as running before its worker has heard of it.
            wait_until(lambda: "0" in executors(stack), timeout=120, what="the worker to begin the first executor")
            psutil.Process(worker).kill()
        running.enter_context(running_part("spark-worker", stack))
        _, log = driver.communicate(timeout=250)
        assert driver.returncode == 0, log
        yield json.loads((folder / "report.json").read_text())


def state(stack: Stack) -> Any:
    return httpx.get(f"http://127.0.0.1:{stack.settings.port('SPARK_UI')}/json/", timeout=30).raise_for_status().json()


def executors(stack: Stack) -> set[str]:
    """The numbers of the executors that the worker began, each of which has a folder in its work folder."""
    return {path.name for path in (stack.layout.data("spark") / "work").glob("app-*/*")}


def submit(stack: Stack, properties: Path, events: Path, result: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            str(VENV_BIN / "spark-submit"), "--master", spark.master(stack), "--properties-file", str(properties),
            str(REPOSITORY / "spark_apps" / "minute_report.py"),
            "--stream", "user_interactions", "--minute", str(MINUTE),
            "--source", events.as_uri(), "--result", result.as_uri(),
        ],
        env=os.environ | spark.environment("unused", "unused") | {"PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_an_analysis_outlives_its_master_and_its_worker(stack: Stack, report: dict[str, Any]) -> None:
    assert (report["rows_read"], report["total_events"]) == (ROWS, ROWS)
    wait_until(lambda: state(stack)["activeapps"] == [], timeout=30, what="the master to see it end")
    assert len(state(stack)["completedapps"]) == 1
    assert executors(stack) >= {"0", "1"}, "the first died with its worker"


def test_a_driver_with_another_secret_is_refused(stack: Stack, report: dict[str, Any], tmp_path: Path) -> None:
    write_events(tmp_path / "events.parquet")
    secret = stack.settings["ETAR_STACK_SPARK_SECRET"]
    properties = tmp_path / "spark.properties"
    properties.write_text(spark.properties_file(stack).read_text().replace(secret, "another"))
    before = state(stack)["completedapps"]
    driver = submit(stack, properties, tmp_path / "events.parquet", tmp_path / "report.json")
    try:
        assert driver.stderr is not None
        assert next((line for line in driver.stderr if "Failed to connect to master" in line), None) is not None
        assert state(stack)["activeapps"] == []
        assert state(stack)["completedapps"] == before
    finally:
        driver.kill()
        driver.communicate()

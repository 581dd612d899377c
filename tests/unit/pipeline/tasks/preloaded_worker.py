"""Starts Airflow's LocalExecutor as `airflow scheduler` does, and prints as JSON what its worker finds."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor
from airflow.jobs.job import Job


def modules_of(package: str) -> Iterator[str]:
    for each in pkgutil.iter_modules(importlib.import_module(package).__path__):
        yield f"{package}.{each.name}"


def imported_when_called(module: str) -> Iterator[str]:
    """Everything that a module imports, be it at its top or within a function."""
    file = importlib.import_module(module).__file__
    assert file
    for node in ast.walk(ast.parse(Path(file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def libraries() -> set[str]:
    """The modules so far that were installed, rather than Python's own or this repository's."""
    return {
        name for name, module in list(sys.modules.items()) if "site-packages" in str(getattr(module, "__file__", ""))
    }


def tell(pipe: Connection) -> None:
    """Import in this process what the steps of every DAG import, and send what it had and what it lacked."""
    own, had = [name for name in sys.modules if name.split(".")[0] == "etar"], libraries()
    of_tasks = [*modules_of("etar.pipeline"), *modules_of("etar.pipeline.tasks")]
    for module in [*of_tasks, *modules_of("etar.audit"), *modules_of("etar.kafka")]:
        importlib.import_module(module)
    for module in of_tasks:
        for name in imported_when_called(module):
            importlib.import_module(name)
    pipe.send({"own": sorted(own), "lacked": sorted(libraries() - had)})


def main() -> None:
    ours, workers = Pipe()

    def run_workload(*_: Any, **__: Any) -> None:
        tell(workers)

    BaseExecutor.run_workload = staticmethod(run_workload)
    Job()
    threads = len(list(Path("/proc/self/task").iterdir()))
    executor = LocalExecutor(parallelism=1)
    executor.start()
    workload: Any = SimpleNamespace(running_state=None, display_name="", key="", success_state="", failure_state="")
    executor.activity_queue.put(workload)
    told = ours.recv()
    executor.end()
    print(json.dumps(told | {"threads": threads}))


if __name__ == "__main__":
    main()

"""Parts that outlive a run of pytest, for whoever changes one thing and runs one test again and again.

``pytest --kept-parts tests/integration/…`` starts the single parts that the tests ask for and leaves them running; the
next such run finds them. ``python -m tests.kept_parts`` stops them and deletes what they stored. Until then they have
what earlier tests left: a failure that goes away without the option is a test's dependence on an empty part.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

from stack.configuration import prepare_settings, read_settings
from stack.layout import BUILD, REPOSITORY, Layout
from stack.lifecycle import is_ready, stop
from stack.parts import Stack, part_named
from stack.processes import end_left_behind
from stack.supervision import Supervisor
from stack.waiting import wait_until

FOLDER = BUILD / "kept-parts"
NAMES = ("kafka", "registry", "warehouse", "s3", "postgres", "report-api", "spark")
RUN_OUR_CODE = {"warehouse", "report-api", "spark"}
_OUR_CODE = ("stack", "plugins", "dashboard", "sql", "streams", "spark_apps")


def is_kept(stack: Stack) -> bool:
    return stack.layout.root == FOLDER


def kept_stack(environment: Mapping[str, str], folder: Path = FOLDER) -> Stack:
    """The stack of kept parts, with a supervisor that runs. ``environment``: the ports of one that is made now."""
    layout = Layout.at(folder)
    layout.create()
    wanted = {} if layout.settings_file.exists() else environment
    stack = Stack(layout, prepare_settings(layout.settings_file, wanted, datetime.now(UTC)))
    supervisor = Supervisor(stack)
    if not supervisor.is_running():
        end_left_behind(layout)
        supervisor.spawn(tuple(part_named(name, stack) for name in NAMES))
    return stack


def start_kept_part(name: str, stack: Stack, *, timeout: float) -> int:
    """The process of a kept part that answers, and runs today's code of this repository.

    Raises:
        TimeoutError: it does not; the message names its log.
    """
    part, supervisor = part_named(name, stack), Supervisor(stack)
    if name in RUN_OUR_CODE and (pid := supervisor.states()[name].pid) and _is_older_than_our_code(pid):
        supervisor.stop(name)
        wait_until(lambda: not supervisor.states()[name].pid, timeout=part.stop_seconds + 10, what=f"{name} to stop")
    supervisor.start(name)
    wait_until(lambda: is_ready(part, stack), timeout=timeout, what=f"{name} to answer ({stack.layout.log(name)})")
    return supervisor.states()[name].pid


def _is_older_than_our_code(pid: int) -> bool:
    files = (file for folder in _OUR_CODE for file in (REPOSITORY / folder).rglob("*"))
    newest = max(file.stat().st_mtime for file in files if file.suffix in (".py", ".sql"))
    return psutil.Process(pid).create_time() < newest


def main() -> None:
    layout = Layout.at(FOLDER)
    if layout.settings_file.exists():
        stop(Stack(layout, read_settings(layout.settings_file)), print)
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main()

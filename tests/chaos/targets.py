"""Which processes a fault hits."""

from __future__ import annotations

import re

import psutil

from stack.parts import Stack
from stack.processes import left_behind
from stack.supervision import Supervisor
from tests.chaos.faults import PARTS, SPARK, TASK, WORKER

_COMMANDS = {
    # Airflow's title of a process that runs a task's code; those of the executor name it instead of the task.
    TASK: re.compile(r"airflow worker -- [0-9a-f]{8}-"),
    SPARK: re.compile(r"org\.apache\.spark\.deploy\.SparkSubmit"),
}


def find(target: str, stack: Stack, producer: psutil.Process) -> psutil.Process | None:
    """The process that ``target`` means now; None while there is none."""
    if target in PARTS:
        state = Supervisor(stack).states().get(target)
        return _process(state.pid) if state and state.pid else None
    if target == WORKER:
        # The youngest, which is another one after each kill.
        return max(producer.children(), key=lambda worker: worker.create_time(), default=None)
    running = [process for process in left_behind(stack.layout) if _COMMANDS[target].search(_command(process))]
    return max(running, key=lambda process: process.create_time(), default=None)


def everything(stack: Stack) -> list[psutil.Process]:
    """All processes of the stack, its supervisor first: it would start the others again."""
    supervisor = Supervisor(stack)
    first = supervisor.pid() if supervisor.is_running() else 0
    return sorted(left_behind(stack.layout), key=lambda process: process.pid != first)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

"""Which processes a fault hits."""

from __future__ import annotations

import re
from collections.abc import Iterable

import psutil

from stack.parts import Stack
from stack.processes import left_behind
from stack.supervision import Supervisor
from tests.chaos.faults import JVM_OF_SPARK, PARTS, TASK, WORKER

_COMMANDS = {
    # Airflow's title of a process that runs a task's code; those of the executor name it instead of the task.
    TASK: re.compile(r"airflow worker -- [0-9a-f]{8}-"),
    JVM_OF_SPARK: re.compile(r"org\.apache\.spark\.deploy\.SparkSubmit"),
}


def find(target: str, stack: Stack, producer: psutil.Process) -> psutil.Process | None:
    """The process that ``target`` means now; None while there is none."""
    if target in PARTS:
        state = Supervisor(stack).states().get(target)
        return _process(state.pid) if state and state.pid else None
    if target == WORKER:
        # Which is another one after each kill.
        return _youngest(producer.children())
    return _youngest(process for process in left_behind(stack.layout) if _COMMANDS[target].search(_command(process)))


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


def _youngest(processes: Iterable[psutil.Process]) -> psutil.Process | None:
    return max(processes, key=_began, default=None)


def _began(process: psutil.Process) -> float:
    """In seconds since 1970; 0 for one that has ended since it was found."""
    try:
        return process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

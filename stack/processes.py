"""The operating system's view of a stack's processes."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from stack.layout import Layout

STACK_MARK = "ETAR_STACK_DIR"
PART_MARK = "ETAR_STACK_PART"
"""Variables in the environment of every process of a stack, and of everything such a process starts."""


def memory_mb(pid: int) -> float:
    """Proportional memory (PSS) of a process and everything below it, in MB: pages shared by forks count once.

    0 when the process is gone. A process of another user that may not be read counts nothing.
    """
    return round(_summed(pid, lambda member: member.memory_full_info().pss) / 1e6, 1)


def processor_seconds(pid: int) -> float:
    """Processor time that a process and everything below it has had, with what waited for a disk; 0 when it is gone."""
    return _summed(pid, lambda member: sum(member.cpu_times()))


def _summed(pid: int, figure: Callable[[psutil.Process], float]) -> float:
    """Over a process and everything below it; 0 when it is gone. One that gives no answer counts nothing."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for member in family:
        try:
            total += figure(member)
        except psutil.Error:
            continue
    return total


def exists(pid: int) -> bool:
    """Whether the process lives; one that ended and only waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def left_behind(layout: Layout, part: str | None = None) -> list[psutil.Process]:
    """Processes of this stack, or of one part of it, by the marks in their environment, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            marks = process.environ()
        except psutil.Error:
            continue
        if marks.get(STACK_MARK) == str(layout.root) and part in (None, marks.get(PART_MARK)):
            found.append(process)
    return found


def end_left_behind(layout: Layout, part: str | None = None, *, grace_seconds: float = 10) -> int:
    """Stop what :func:`left_behind` finds, kindly first; returns how many there were."""
    processes = left_behind(layout, part)
    for process in processes:
        _signal(process, kill=False)
    _, stubborn = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in stubborn:
        _signal(process, kill=True)
    psutil.wait_procs(stubborn, timeout=grace_seconds)
    return len(processes)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return

"""The operating system's view of a stack's processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import psutil

from stack.layout import Layout

STACK_MARK = "ETAR_STACK_DIR"
PART_MARK = "ETAR_STACK_PART"
"""Variables in the environment of every process of a stack, and of everything such a process starts."""


def memory_mb(pid: int) -> float:
    """Proportional memory (PSS) of a process and everything below it, in MB: pages shared by forks count once.

    0 when the process is gone. A process of another user that may not be read counts nothing.
    """
    return memory_mb_of_each([pid])[pid]


def memory_mb_of_each(pids: Iterable[int]) -> dict[int, float]:
    """:func:`memory_mb` of several, which looks through the machine's processes once; not at all for none."""
    pids = list(pids)
    below = _below() if pids else {}
    return {pid: round(_summed(_family(pid, below), lambda one: one.memory_full_info().pss) / 1e6, 1) for pid in pids}


def processor_seconds(pid: int) -> float:
    """Processor time that a process and everything below it has had, with what waited for a disk; 0 when it is gone."""
    return _summed(_family(pid, _below()), lambda one: sum(one.cpu_times()))


def _below() -> Mapping[int, Sequence[int]]:
    """The processes that each process has started."""
    below: dict[int, list[int]] = defaultdict(list)
    for process in psutil.process_iter(["ppid"]):
        below[process.info["ppid"]].append(process.pid)
    return below


def _family(pid: int, below: Mapping[int, Sequence[int]]) -> Iterator[int]:
    yield pid
    for child in below.get(pid, ()):
        yield from _family(child, below)


def _summed(pids: Iterable[int], figure: Callable[[psutil.Process], float]) -> float:
    """Over processes; one that is gone or gives no answer counts nothing."""
    total = 0.0
    for pid in pids:
        try:
            total += figure(psutil.Process(pid))
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

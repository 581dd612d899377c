"""The parts that faults are done to: real ones, of this package's own, each behind a link that can be cut."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import psutil
import pytest

from etar.settings import get_settings
from stack.configuration import LINK_OFFSET, PORTS
from stack.parts import Stack
from stack.processes import exists
from tests.chaos.faults import Kind
from tests.chaos.links import Links, running_links
from tests.conftest import new_stack, running_part
from tests.ports import free_block
from tests.scenarios.jobs import Job

STACK_PARTS = {
    "kafka": "KAFKA",
    "registry": "REGISTRY",
    "warehouse": "WAREHOUSE",
    "s3": "S3",
    "postgres": "POSTGRES",
    "report-api": "API",
}
"""By the short name of its port; in the order in which they are started."""
SINK = "sink"
STREAM_JOB = "stream-job"
_LINK_OFFSET = 50


class Started(Protocol):
    """A process at work. ``running``: unless it has ended by itself."""

    @property
    def pid(self) -> int: ...

    @property
    def running(self) -> bool: ...

    def kill(self) -> None: ...

    def wait_until_at_work(self) -> None: ...


@dataclass(frozen=True)
class StackPart:
    """The process of a part, which nobody starts again."""

    pid: int

    @property
    def running(self) -> bool:
        return exists(self.pid)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait_until_at_work(self) -> None:
        """It answered before this was made: what is started after it needs it."""


@contextmanager
def _started_part(name: str, stack: Stack) -> Iterator[StackPart]:
    with running_part(name, stack) as pid:
        yield StackPart(pid)


Start = Callable[[], AbstractContextManager[Started]]
"""Starts a process, yields it, and stops it as it likes to be stopped."""


@dataclass
class Program:
    """A process that can be started again."""

    start: Start
    process: Started | None = None
    _closing: ExitStack = field(default_factory=ExitStack)

    @property
    def ended_by_itself(self) -> bool:
        return self.process is not None and not self.process.running

    def begin(self) -> None:
        if self.process is None:
            self.process = self._closing.enter_context(self.start())

    def wait_until_at_work(self) -> None:
        assert self.process is not None
        self.process.wait_until_at_work()

    def end(self) -> None:
        """As its own stop does it; or what that leaves to do for one that was killed."""
        self.process = None
        self._closing.close()

    def signal(self, number: signal.Signals) -> None:
        """To the process and to all that it has started."""
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        for each in (process, *process.children(recursive=True)):
            each.send_signal(number)


@dataclass
class Parts:
    """Parts by name, among them the sinks of the checks (all called ``sink``), the long-lived jobs of their streams
    (``stream-job``) and the jobs that checks have run again and again.

    Use it from the main thread: a part ends with the thread that started it.
    """

    stack: Stack
    links: Links
    programs: defaultdict[str, list[Program]] = field(default_factory=lambda: defaultdict(list))
    jobs: list[Job] = field(default_factory=list)
    _paused: set[str] = field(default_factory=set)
    _cut: dict[str, ExitStack] = field(default_factory=dict)

    # -- what is done to them

    def start(self, *names: str) -> None:
        """Those that do not run; each answers when this returns."""
        programs = [program for name in names for program in self.programs[name]]
        for program in programs:
            program.begin()
        for program in programs:
            program.wait_until_at_work()

    def stop(self, *names: str) -> None:
        """As an operator does."""
        for name in names:
            for program in self.programs[name]:
                program.end()

    def kill(self, *names: str) -> None:
        """With SIGKILL, all at once."""
        programs = [program for name in names for program in self.programs[name]]
        for program in programs:
            if program.process:
                program.process.kill()
        for program in programs:
            program.end()
        self._paused.difference_update(names)

    def begin_jobs(self) -> None:
        """Those that wait for their next run."""
        for job in self.jobs:
            job.begin()

    def kill_jobs(self) -> None:
        for job in self.jobs:
            job.kill()

    def pause(self, *names: str) -> None:
        self._paused.update(names)
        for name in names:
            for program in self.programs[name]:
                program.signal(signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        for name in names:
            for program in self.programs[name]:
                program.signal(signal.SIGCONT)
        self._paused.difference_update(names)

    def cut(self, *names: str, kind: Kind = Kind.CUT) -> None:
        """The links that others reach these parts through."""
        for name in names:
            self._cut.setdefault(name, ExitStack()).enter_context(self.links.disturbed(name, kind))

    def mend(self, *names: str) -> None:
        for name in names:
            self._cut.pop(name).close()

    def put_right(self) -> None:
        """Everything runs and is reached; what ended by itself was to survive."""
        self.mend(*self._cut)
        self.resume(*self._paused)
        ended = [name for name, programs in self.programs.items() for each in programs if each.ended_by_itself]
        for name in ended:
            self.stop(name)
        self.start(*self.programs)
        assert not ended, "ended by themselves: " + "\n".join(f"{name}: {self._end_of_log(name)}" for name in ended)

    def _end_of_log(self, name: str) -> str:
        log = self.stack.layout.log(name)
        return log.read_text(errors="replace")[-2000:] if log.exists() else "(see its check)"

    # -- what checks ask of them

    @contextmanager
    def running(self, name: str, start: Start) -> Iterator[Program]:
        """One more program of that name, that faults are done to as well."""
        program = Program(start)
        program.begin()
        program.wait_until_at_work()
        self.programs[name].append(program)
        try:
            yield program
        finally:
            self.programs[name].remove(program)
            program.end()

    @contextmanager
    def repeated(self, work: Callable[..., object], *arguments: object) -> Iterator[Job]:
        """A job that is run again and again, as Airflow would, in a process that faults are done to."""
        with Job(work, arguments, self.stack.layout.root / "jobs.log").running() as job:
            self.jobs.append(job)
            try:
                yield job
            finally:
                self.jobs.remove(job)


@contextmanager
def running_parts() -> Iterator[Parts]:
    """All of them, started; this process's settings are theirs, through the links."""
    with ExitStack() as closing:
        first = free_block(1 + len(PORTS) + _LINK_OFFSET)
        given = {name: str(port) for port, name in enumerate(PORTS, first + 1)} | {
            LINK_OFFSET: str(_LINK_OFFSET),
            "ETAR_PIPELINE_START_DATE": (datetime.now(UTC) - timedelta(days=2)).isoformat(),
            "ETAR_SINK_RETRY_SECONDS": "0.2",
            "ETAR_DEAD_LETTERS_SEND_SECONDS": "4",
        }
        stack = closing.enter_context(new_stack(given))
        environment = closing.enter_context(pytest.MonkeyPatch.context())
        for name, value in stack.settings.starting_with("ETAR_").items():
            environment.setenv(name, value)
        get_settings.cache_clear()
        closing.callback(get_settings.cache_clear)
        links = {name: (stack.settings.link(port), stack.settings.port(port)) for name, port in STACK_PARTS.items()}
        parts = Parts(stack, closing.enter_context(running_links(links, first, stack.layout.root)))
        for name in STACK_PARTS:
            closing.enter_context(parts.running(name, partial(_started_part, name, stack)))
        yield parts

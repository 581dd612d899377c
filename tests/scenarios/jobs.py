"""What Airflow, or a person, runs again until it succeeds: here a function in a process that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from etar.settings import get_settings
from stack.waiting import wait_until

_PAUSE_SECONDS = 0.5
_LAST = 3000

# Forked from a process without threads, which has imported what the jobs need: a run begins within milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.scenarios.checks"])


@dataclass
class Job:
    """A function that is run again and again; ``arguments`` may be replaced, for the runs that begin from then on."""

    work: Callable[..., object]
    arguments: tuple[object, ...]
    log: Path
    _begun: int = 0
    _succeeded: int = 0
    """The number of the last run that did."""
    _resting: bool = False
    _process: BaseProcess | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[Job]:
        runs = threading.Thread(target=self._run)
        runs.start()
        try:
            yield self
        finally:
            self._ending.set()
            self.kill()
            runs.join()

    def kill(self) -> None:
        if process := self._process:
            process.kill()

    def finish(self) -> None:
        """As :meth:`succeed`, and then it rests until it is asked to again."""
        self.succeed()
        self._resting = True

    def succeed(self, *, timeout: float = 180) -> None:
        """Wait for a run that begins from now on to end well."""
        now, self._resting = self._begun, False
        try:
            wait_until(lambda: self._succeeded > now, timeout=timeout, what=f"{self.work.__name__} to succeed")
        except TimeoutError as error:
            said = self.log.read_text()[-_LAST:] if self.log.exists() else ""
            raise TimeoutError(f"{error}; the end of {self.log}:\n{said}") from error

    def _run(self) -> None:
        while not self._ending.is_set():
            self._begun += 1  # before its arguments are read: what succeed() waits for has the newest
            arguments = (dict(os.environ), self.log, self.work, self.arguments)
            process = _FORKS.Process(target=_in_process, args=arguments, daemon=True)
            process.start()
            self._process = process
            if self._ending.is_set():
                process.kill()
            process.join()
            if process.exitcode == 0:
                self._succeeded = self._begun
            while not self._ending.wait(_PAUSE_SECONDS) and self._resting:
                pass


def _in_process(
    environment: Mapping[str, str], log: Path, work: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    get_settings.cache_clear()
    with log.open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        work(*arguments)
    except Exception:
        print(f"{work.__name__}:\n{traceback.format_exc()}", flush=True)
        os._exit(1)

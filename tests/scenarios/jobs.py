"""What Airflow, or a person, runs again and again: here a function in a process that can be killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from stack.waiting import wait_until
from tests.forked import forked

_TRIED_AGAIN_AFTER = 0.5
"""Seconds after a run that failed or was killed."""
_RUN_AGAIN_AFTER = 3.0
"""Seconds after one that succeeded, unless somebody waits for the next: what has nothing to do takes a core's time."""
_LAST = 3000


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
    _wanted: threading.Event = field(default_factory=threading.Event)
    """A run is to begin at once."""
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
            self.begin()
            runs.join()

    def kill(self) -> None:
        if process := self._process:
            process.kill()

    def begin(self) -> None:
        """Let the next run not wait for its time."""
        self._wanted.set()

    def finish(self) -> None:
        """As :meth:`succeed`, and then it rests until it is asked to again."""
        self.succeed()
        self._resting = True

    def succeed(self, *, timeout: float = 180) -> None:
        """Wait for a run that begins from now on to end well."""
        now, self._resting = self._begun, False
        self.begin()
        try:
            wait_until(lambda: self._succeeded > now, timeout=timeout, what=f"{self.work.__name__} to succeed")
        except TimeoutError as error:
            said = self.log.read_text()[-_LAST:] if self.log.exists() else ""
            raise TimeoutError(f"{error}; the end of {self.log}:\n{said}") from error

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wanted.clear()
            self._begun += 1  # before its arguments are read: what succeed() waits for has the newest
            self._process = process = forked(self.work, *self.arguments, log=self.log)
            if self._ending.is_set():
                process.kill()
            process.join()
            well = process.exitcode == 0
            if well:
                self._succeeded = self._begun
            while not self._wanted.wait(_RUN_AGAIN_AFTER if well else _TRIED_AGAIN_AFTER) and self._resting:
                pass

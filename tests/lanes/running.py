"""Runs lanes side by side: each part in a process of its own, with its own log and, of pytest, its own junit file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from stack.layout import REPOSITORY
from tests.lanes.plan import Lane, Part, Plan

INTERRUPTED = 130
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """How a part ended. ``code`` is its exit code, None when it was not begun because the run was interrupted."""

    lane: str
    part: Part
    code: int | None
    seconds: float
    log: Path
    junit: Path | None

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def outcome(self) -> str:
        return "passed" if self.ok else "NOT BEGUN" if self.code is None else f"FAILED ({self.code})"


class Running:
    """The processes of one run, which an interrupt ends: each pytest stops its parts and prints what it knows."""

    def __init__(self, results: Path, say: Callable[[str], None]) -> None:
        self._results = results
        self._say = say
        self._interrupted = threading.Event()
        self._ended: dict[str, threading.Event] = {}
        """By the part's name."""

    def run(self, plan: Plan) -> list[Ended]:
        """Every part of the plan, also behind one that failed; lane by lane, in the order that each ran them in."""
        self._results.mkdir(parents=True, exist_ok=True)
        shared = deque(plan.shared)
        self._ended = {part.name: threading.Event() for part in plan.parts}
        with ThreadPoolExecutor(len(plan.lanes)) as pool, self._interruptible():
            ended = list(pool.map(lambda lane: list(self._run_lane(lane, shared)), plan.lanes))
        return [part for lane in ended for part in lane]

    @property
    def interrupted(self) -> bool:
        return self._interrupted.is_set()

    def _run_lane(self, lane: Lane, shared: deque[Part]) -> Iterator[Ended]:
        if lane.after is not None:
            self._ended[lane.after].wait()
        for part in lane.parts:
            yield self._run_part(lane, part)
        while (shared_part := _taken(shared)) is not None:
            yield self._run_part(lane, shared_part)

    def _run_part(self, lane: Lane, part: Part) -> Ended:
        log = self._results / f"{part.name}.log"
        junit = self._results / f"{part.name}.xml" if part.is_pytest else None
        # What an earlier run left says nothing of this one.
        for old in filter(None, (log, junit)):
            old.unlink(missing_ok=True)
        began = time.monotonic()
        with log.open("wb") as out:
            command = ["nice", "-n", str(lane.nice), *_command(part, junit)]
            try:
                code = None if self.interrupted else self._code_of(part, command, out.fileno())
            finally:
                self._ended[part.name].set()
        ended = Ended(lane.name, part, code, time.monotonic() - began, log, junit)
        self._say(f"{lane.name}: {part.name} {ended.outcome} after {ended.seconds:.0f} s; see {log}")
        return ended

    def _code_of(self, part: Part, command: Sequence[str], out: int) -> int:
        """The exit code of the part's process, which is told once if the run is interrupted meanwhile."""
        # A group of its own: a Ctrl-C at the terminal comes once, from us, and not twice.
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        while (code := process.poll()) is None:
            if self._interrupted.wait(_LOOK_SECONDS):
                _interrupt(process, part)
                return process.wait()
        return code

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        def interrupt(number: int, _: FrameType | None) -> None:
            self._say(f"{signal.Signals(number).name}: every part is told to stop")
            self._interrupted.set()

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _taken(shared: deque[Part]) -> Part | None:
    """The next that no lane has taken."""
    try:
        return shared.popleft()
    except IndexError:
        return None


def _interrupt(process: subprocess.Popen[bytes], part: Part) -> None:
    """As Ctrl-C does; but pytest alone is told, which ends what it started in the order that it has to be ended in."""
    if part.is_pytest:
        process.send_signal(signal.SIGINT)
    elif process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)


def _command(part: Part, junit: Path | None) -> list[str]:
    if junit is None:
        return list(part.command)
    return [sys.executable, "-m", "pytest", *part.paths, *part.options, f"--junitxml={junit}"]

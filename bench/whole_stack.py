"""A whole stack of any version, as a person starts it, for figures that are seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.processes import memory_mb, processor_seconds
from tests.conftest import stack_environment, temporary_folder

_READY = "One line for each minute's report"
_ENDS_WITHIN_SECONDS = 120


@dataclass(frozen=True)
class RunningStack:
    folder: Path
    up: int
    """Process id of its `etar up`, which stays in the foreground."""

    @property
    def _families(self) -> tuple[int, int]:
        return int((self.folder / "run" / "supervisord.pid").read_text()), self.up

    def processor_seconds(self) -> float:
        return sum(map(processor_seconds, self._families))

    def memory_mb(self) -> float:
        return sum(map(memory_mb, self._families))


@contextmanager
def whole_stack(version: Path, **variables: str) -> Iterator[RunningStack]:
    """Yields once every part answers.

    Args:
        version: a checkout with its environment.
        variables: settings beside ports that are free.

    Raises:
        RuntimeError: a part did not come up; the command has said which.
    """
    own = ("ETAR_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= stack_environment() | variables
    with temporary_folder() as folder:
        command = [str(version / ".venv" / "bin" / "etar"), "up", "--dir", str(folder)]
        with subprocess.Popen(command, cwd=version, env=environment, stdout=subprocess.PIPE, text=True) as up:
            try:
                said: list[str] = []
                for line in up.stdout or ():
                    said.append(line)
                    if line.startswith(_READY):
                        break
                else:
                    raise RuntimeError("".join(said))
                # What it says of each minute is read by nobody, and must not fill the pipe.
                threading.Thread(target=up.stdout.read if up.stdout else lambda: None, daemon=True).start()
                yield RunningStack(folder, up.pid)
            finally:
                if up.poll() is None:
                    up.send_signal(signal.SIGINT)
                up.wait(_ENDS_WITHIN_SECONDS)

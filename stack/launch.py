"""Become one part of the stack: ``python -m stack.launch FOLDER PART``.

The supervisor starts every part through this, so that a part gets its own variables only, dies with the supervisor,
and does not run as root where its program refuses to.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from pathlib import Path

from stack.configuration import read_settings
from stack.layout import REPOSITORY, Layout
from stack.parts import Part, Stack, part_named
from stack.processes import PART_MARK, end_left_behind
from stack.starting import note_start

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def environment_of(stack: Stack, part: Part) -> dict[str, str]:
    """The whole environment a part runs with."""
    temporary = stack.layout.temporary(part.name)
    own = {
        PART_MARK: part.name,
        "TMPDIR": str(temporary),
        # Java asks for no TMPDIR. In the environment, because a part's Java is often started by another program.
        "JAVA_TOOL_OPTIONS": f'-Djava.io.tmpdir="{temporary}"',
    }
    return stack.base_environment | part.environment(stack) | own


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True)


def _as_user(part: Part, folder: str) -> list[str]:
    # dac_override lets the part's user reach its folder however private the folders above it are; everything below
    # belongs to that user.
    return [
        "setpriv", f"--reuid={part.run_as}", f"--regid={part.run_as}", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
        sys.executable, "-m", "stack.launch", folder, part.name,
    ]  # fmt: skip


def main(folder: str, name: str) -> None:
    layout = Layout.at(Path(folder))
    stack = Stack(layout, read_settings(layout.settings_file))
    part = part_named(name, stack)
    if part.run_as is not None and os.geteuid() != part.run_as:
        command = _as_user(part, folder)
        os.execvp(command[0], command)
    os.chdir(REPOSITORY)
    # A part starts alone: what it had started before it was killed (an executor's workers, a task's JVM) would go on
    # beside what it starts now.
    end_left_behind(layout, part.name)
    _empty(layout.temporary(part.name))
    note_start(layout, part.name)
    if part.prepare:
        part.prepare(stack)
    command = part.command(stack)
    _die_with_parent()
    os.execvpe(command[0], command, environment_of(stack, part))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A progress bar is for a person who looks at a terminal, and for nobody else."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

PROGRAM = """\
import sys
from etar.progress import progress_bar
with progress_bar("sending", hidden=len(sys.argv) > 1) as told:
    told(1, 4, "1 of 4")
    print("a result")
    print("a remark", file=sys.stderr)
    told(4, None, "all of them")
print("rich" in sys.modules)
"""


def run(*words: str, terminals: int, **environment: str) -> tuple[str, str]:
    """What the program writes to stdout, a pipe, and to stderr: a terminal, or a pipe; with two, both are one."""
    ours, theirs = pty.openpty()
    base = {name: value for name, value in os.environ.items() if name != "CI"} | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        env=base | environment,
        stdout=theirs if terminals == 2 else subprocess.PIPE,
        stderr=theirs if terminals else subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        shown = "".join(_read(ours)) if terminals else ""
        stdout, stderr = process.communicate()
    os.close(ours)
    return stdout or "", shown or stderr


def _read(terminal: int) -> Iterator[str]:
    """All that is written to a terminal until nobody holds its other end."""
    with contextlib.suppress(OSError):  # which is how its end is told
        while part := os.read(terminal, 1 << 16):
            yield part.decode(errors="replace")


def test_a_terminal_gets_the_bar_and_a_pipe_what_is_printed() -> None:
    stdout, shown = run(terminals=1)
    assert stdout == "a result\nTrue\n"
    assert all(text in shown for text in ("sending", "all of them", "a remark\r\n"))


def test_what_is_printed_to_the_same_terminal_has_lines_of_its_own() -> None:
    _, shown = run(terminals=2)
    assert "a result\r\n" in shown
    assert "a remark\r\n" in shown


@pytest.mark.parametrize(
    ("words", "terminals", "environment"),
    [((), 0, {}), ((), 1, {"CI": "true"}), ((), 1, {"TERM": "dumb"}), (("--json",), 1, {})],
    ids=["a pipe", "CI", "a dumb terminal", "hidden"],
)
def test_nobody_else_gets_it_nor_pays_for_it(
    words: tuple[str, ...], terminals: int, environment: dict[str, str]
) -> None:
    stdout, shown = run(*words, terminals=terminals, **environment)
    assert stdout == "a result\nFalse\n"
    assert shown.replace("\r\n", "\n") == "a remark\n"

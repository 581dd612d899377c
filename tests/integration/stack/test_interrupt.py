"""Ctrl-C, or the signal of a service manager, while the stack still starts: everything that was started is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from itertools import takewhile

import pytest

from stack.layout import REPOSITORY, VENV_BIN, Layout
from stack.processes import left_behind
from stack.waiting import wait_until
from tests.conftest import stack_environment, temporary_folder


@pytest.mark.timeout(600)  # above the sum of what is waited for
@pytest.mark.parametrize(
    ("options", "number", "code"),
    [([], signal.SIGINT, 0), (["--detach"], signal.SIGTERM, 130)],
    ids=["Ctrl-C", "SIGTERM, detached"],
)
def test_an_interrupted_start_leaves_no_process(options: list[str], number: signal.Signals, code: int) -> None:
    with temporary_folder() as folder:
        up = subprocess.Popen(
            [str(VENV_BIN / "etar"), "up", *options, "--dir", str(folder)],
            env=os.environ | stack_environment(),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert up.stdout is not None
        try:
            layout = Layout.at(folder)
            wait_until(lambda: len(left_behind(layout)) > 4, timeout=60, what="some parts to be started")
            up.send_signal(number)
            said = list(takewhile(lambda line: line != "stopping\n", up.stdout))
            up.send_signal(number)  # of somebody impatient
            output, _ = up.communicate(timeout=240)
        finally:
            up.kill()
        assert up.returncode == code, [*said, output]
        assert "Traceback" not in output
        assert left_behind(layout) == []

"""The end of a test run: everything is stopped, pytest's summary is there, and says what had to be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from stack.waiting import wait_until

TESTS = '''
import signal, subprocess, sys, time
from pathlib import Path
import pytest
from tests.stopping import stop

STUBBORN = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: Path(sys.argv[1] + ".asked").touch())
print(flush=True)
while True:
    time.sleep(600)
"""

def part(name, seconds):
    command = [sys.executable, "-c", STUBBORN, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    Path(name).write_text(str(process.pid))
    yield
    stop(process, name, seconds)

@pytest.fixture(scope="session")
def outer():
    yield from part("outer", SECONDS)

@pytest.fixture(scope="session")
def inner(outer):
    yield from part("inner", SECONDS)

def test_something(inner):
    if SECONDS > 1:
        Path("waits").touch()
        time.sleep(600)
'''


def run(folder: Path, seconds: float) -> subprocess.Popen[str]:
    file = folder / "test_with_parts.py"
    file.write_text(TESTS.replace("SECONDS", str(seconds)))
    command = [sys.executable, "-m", "pytest", "-p", "tests.stopping", "-p", "no:cacheprovider", str(file)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def runs(file: Path) -> bool:
    return psutil.pid_exists(int(file.read_text()))


def test_what_had_to_be_killed_is_said_and_an_error(tmp_path: Path) -> None:
    with run(tmp_path, 0.1) as tests:
        output, _ = tests.communicate(timeout=120)
    assert tests.returncode == 1, output
    assert "1 passed" in output
    for name in ("outer", "inner"):
        assert f"{name} did not stop within 0.1 s of SIGTERM: killed" in output
        assert not runs(tmp_path / name)


def test_an_impatient_interrupt_still_stops_everything_and_leaves_the_summary(tmp_path: Path) -> None:
    """The first ends the test, each other one the wait for a part."""
    with run(tmp_path, 500) as tests:
        try:
            wait_until((tmp_path / "waits").exists, timeout=120, what="the test to run")
            tests.send_signal(signal.SIGINT)
            for name in ("inner", "outer"):
                wait_until((tmp_path / f"{name}.asked").exists, timeout=60, what=f"{name} to be asked to stop")
                tests.send_signal(signal.SIGINT)
            output, _ = tests.communicate(timeout=60)
        finally:
            tests.kill()
    assert tests.returncode == 2, output
    assert "KeyboardInterrupt" in output
    assert "inner was to stop, and there was no time to wait for it: killed" in output
    assert "outer was to stop" in output
    assert not any(runs(tmp_path / name) for name in ("inner", "outer"))
    assert "no tests ran in" in output

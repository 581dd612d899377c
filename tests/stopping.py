"""A pytest plugin: stop what tests started. What had to be killed is an error that the summary says.

Fixtures of the session also end after an interrupt and after the last failure that is allowed, where pytest loses its
summary to whatever they raise; so nothing is raised there.
"""

from __future__ import annotations

import signal
import subprocess

import pytest

_killed: list[str] = []
_sessions_over: list[pytest.Session] = []


def stop(process: subprocess.Popen[bytes], name: str, seconds: float, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask the process to stop and wait for its end; what does not stop within ``seconds`` is killed.

    An interrupt meanwhile kills this process, and leaves the others their turn.
    """
    if process.poll() is not None:
        return
    try:
        process.send_signal(how)
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(process, f"{name} did not stop within {seconds:g} s of {how.name}")
    except KeyboardInterrupt:
        _kill(process, f"{name} was to stop, and there was no time to wait for it")
        if not _sessions_over:
            raise


def _kill(process: subprocess.Popen[bytes], why: str) -> None:
    process.kill()
    process.wait()
    _killed.append(f"{why}: killed")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> object:
    _sessions_over.append(session)
    result = yield
    if _killed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _killed:
        terminalreporter.section("parts that had to be killed", red=True)
        for line in _killed:
            terminalreporter.write_line(line, red=True)

"""The stack after kill -9 of its parts, and at its end: stopped and deleted."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import suppress

import psutil
import pytest

from stack import lifecycle
from stack.processes import left_behind
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.chaos.targets import everything
from tests.e2e.conftest import WELL_WITHIN, Etar

# Above all that a test waits for, with the fixtures that it is the first to need: the stack, two minutes of traffic.
pytestmark = pytest.mark.timeout(1200)


def test_killed_parts_come_back_by_themselves(etar: Etar) -> None:
    killed = ("warehouse", "sink", "report-api", "kafka")
    before = pids(etar.healthy())
    for name in killed:
        psutil.Process(before[name]).send_signal(signal.SIGKILL)

    def back() -> bool:
        status = lifecycle.status(etar.stack).as_dict()
        return bool(status["healthy"]) and all(pids(status)[name] != before[name] for name in killed)

    wait_until(back, timeout=WELL_WITHIN, what=f"{', '.join(killed)} to come back", interval=0.5)


def pids(status: dict) -> dict[str, int]:
    return {part["name"]: part["pid"] for part in status["parts"]}


def test_every_process_of_the_stack_is_found_after_a_crash(etar: Etar) -> None:
    """By its marks alone: what is not found would go on beside what the next start starts."""
    supervisor = psutil.Process(Supervisor(etar.stack).pid())
    # Before the marked ones: what is started in between is no member, and what ends in between is not compared.
    family = {supervisor, *supervisor.children(recursive=True)}
    assert len(everything(etar.stack)) > 10
    missed: list[str] = []

    def all_are_found() -> bool:
        """Looked at again, as a process that is becoming another program has no environment for a moment."""
        missed[:] = described(family - set(everything(etar.stack)))
        # PostgreSQL's children write over their environment; they end when their parent does.
        return all(each.startswith("postgres") for each in missed)

    try:
        wait_until(all_are_found, timeout=30, what="every process to be found")
    except TimeoutError as error:
        raise AssertionError(f"not found by their marks: {missed}") from error


def described(members: Iterable[psutil.Process]) -> list[str]:
    """Those that still run, each by its name, number and command."""
    found = []
    for process in members:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.name()} {process.pid}: {' '.join(process.cmdline())[:200]}")
    return found


def test_down_leaves_no_process_behind(etar: Etar) -> None:
    etar.run("down")
    assert left_behind(etar.stack.layout) == []
    assert etar.json("status", check=False)["healthy"] is False


def test_clean_asks_before_it_deletes(etar: Etar) -> None:
    kept = etar.run("clean", check=False)
    assert kept.returncode == 1
    assert "Delete" in kept.stdout
    assert etar.stack.layout.settings_file.exists()
    etar.run("clean", "--yes")
    assert not etar.folder.exists()

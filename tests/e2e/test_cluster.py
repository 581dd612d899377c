"""The stack with CeleryExecutor and a Spark cluster: the same reports, and a worker that dies in the middle of a task.

One stack for all tests here: two minutes of traffic, during which a Celery worker is killed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import psutil
import pytest

from etar.minute import MinuteWindow
from stack.lifecycle import enabled_parts
from stack.processes import left_behind
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.e2e.conftest import Etar, Traffic, started_stack
from tests.e2e.inspection import LOOPBACK, airflow_database, listening, processes, shown_secrets
from tests.e2e.reports import expected_reports, wait_for_counts, wait_for_report

MINUTES = 2
RATE = 100
SHAPE = {"ETAR_STACK_EXECUTOR": "celery", "ETAR_STACK_SPARK": "standalone"}
WORKERS = {"airflow-worker-1", "airflow-worker-2"}
# Airflow's title of a process that runs a task's code.
TASK = re.compile(r"airflow worker -- ([0-9a-f-]{36})")
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"

pytestmark = [
    # Above all that the first test waits for: the stack, an executor, a worker at work, the traffic, the reports.
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="redis-server is not on PATH (Debian package redis-server)"
    ),
]


@dataclass(frozen=True)
class Killed:
    """A worker that was killed, and the task it was running: one try of one task of a minute."""

    worker: str
    pid: int
    task: UUID


@dataclass(frozen=True)
class Events(Traffic):
    """What was sent, and what happened meanwhile."""

    killed: Killed
    executor_listened_on: set[str]
    shown_while_it_ran: list[str]


@pytest.fixture(scope="module")
def etar() -> Iterator[Etar]:
    with started_stack(SHAPE) as command:
        yield command


@pytest.fixture(scope="module")
def events(etar: Etar, tmp_path_factory: pytest.TempPathFactory) -> Events:
    """Two whole minutes with duplicates and bad records. A worker is killed in the run of the first."""
    scratch = tmp_path_factory.mktemp("events")
    account_file, log_file = scratch / "account.json", scratch / "events.jsonl"
    with etar.started(
        "produce", "--rate", str(RATE), "--for", f"{MINUTES}m", "--start", "next-minute", "--seed", "20261121",
        "--duplicates", "0.02", "--malformed", "0.01", "--account", str(account_file), "--event-log", str(log_file),
    ) as producer:  # fmt: skip
        listened, shown = addresses_of_an_executor(etar), shown_secrets(etar)
        killed = kill_a_worker_at_work(etar)
        assert producer.wait(timeout=300) == 0
    sent = Traffic.read(account_file, log_file, minutes=MINUTES)
    return Events(
        **vars(sent),
        killed=killed,
        executor_listened_on=listened,
        shown_while_it_ran=shown,
    )


def addresses_of_an_executor(etar: Etar) -> set[str]:
    """Where executors that work on a minute listen. One is soon gone: they are asked once."""
    found: set[str] = set()

    def there() -> bool:
        executors = [p for p in left_behind(etar.stack.layout, "spark-worker") if EXECUTOR in command_of(p)]
        found.update(listening(executors))
        return bool(found)

    wait_until(there, timeout=240, what="an executor", interval=0.5)
    return found


def kill_a_worker_at_work(etar: Etar) -> Killed:
    """kill -9 of a worker and all it has started, as when its machine goes down, in the middle of a minute's task."""
    pids = {name: state.pid for name, state in Supervisor(etar.stack).states().items() if name in WORKERS}
    held: list[Killed] = []

    def held_one() -> bool:
        for name, pid in pids.items():
            for process in psutil.Process(pid).children(recursive=True):
                if (title := TASK.search(command_of(process))) is None:
                    continue
                task = UUID(title[1])
                with suppress(psutil.NoSuchProcess):
                    # Held first, so that it is in the middle of its work when it is killed, and not at its end.
                    process.suspend()
                    if is_running(etar, task):
                        held.append(Killed(name, pid, task))
                        return True
                    process.resume()
        return False

    wait_until(held_one, timeout=240, what="a worker that runs a task", interval=0.2)
    worker = psutil.Process(held[0].pid)
    for process in (worker, *worker.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return held[0]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def is_running(etar: Etar, task: UUID) -> bool:
    with airflow_database(etar) as connection:
        found = connection.execute(
            "SELECT 1 FROM task_instance WHERE id = %s AND state = 'running' AND dag_id = 'etar_pipeline'", [task]
        )
        return found.fetchone() is not None


def test_status_says_what_runs(etar: Etar) -> None:
    status = etar.healthy()
    names = {part["name"] for part in status["parts"]}
    assert names == {part.name for part in enabled_parts(etar.stack)}
    assert names >= WORKERS | {"redis", "spark-master", "spark-worker"}
    assert sum(part["memory_mb"] for part in status["parts"]) < 6000


def test_the_killed_worker_came_back(etar: Etar, events: Events) -> None:
    def is_back() -> bool:
        parts = {part["name"]: part for part in etar.json("status", check=False)["parts"]}
        back = parts[events.killed.worker]
        return back["state"] == "healthy" and back["pid"] != events.killed.pid

    wait_until(is_back, timeout=120, what=f"{events.killed.worker} to come back", interval=1)


def test_every_server_listens_on_loopback_only(etar: Etar, events: Events) -> None:
    addresses = listening(processes(etar))
    assert addresses
    assert addresses <= LOOPBACK
    assert events.executor_listened_on
    assert events.executor_listened_on <= LOOPBACK


def test_reports_equal_an_independent_count(etar: Etar, events: Events) -> None:
    assert events.account.ok
    assert events.account.acknowledged == RATE * 60 * MINUTES == len(events.log)
    expected = expected_reports(events.log)
    assert sorted(expected) == list(MinuteWindow.between(events.first, events.end))
    for window, counts in expected.items():
        wait_for_counts(etar, window, counts)


def test_the_task_of_the_killed_worker_ran_again(etar: Etar, events: Events) -> None:
    again = """
        SELECT now.try_number - killed.try_number, now.state
        FROM task_instance_history killed JOIN task_instance now USING (dag_id, task_id, run_id, map_index)
        WHERE killed.task_instance_id = %s
    """

    def ended() -> list[tuple[int, str]]:
        with airflow_database(etar) as connection:
            return connection.execute(again, [events.killed.task]).fetchall()

    wait_until(lambda: ended() != [] and ended()[0][1] == "success", timeout=120, what="the task to end", interval=1)
    ((more_tries, state),) = ended()
    assert more_tries >= 1
    assert state == "success"


def test_verify_proves_the_account(etar: Etar, events: Events) -> None:
    # One minute more: a bad record is counted when it arrives, and the last may arrive just after the minute's end.
    wait_for_report(etar, events.end)
    range_ = ("--from", str(events.first), "--to", str(events.end.next))
    verified = etar.exact_account(*range_, "--account", str(events.account_file))
    assert verified["ok"] is True
    assert verified["difference"] == 0
    assert sum(minute["dead_letters"] for minute in verified["minutes"]) == events.account.malformed > 0


def test_no_secret_in_the_process_list_or_the_logs(etar: Etar, events: Events) -> None:
    assert events.shown_while_it_ran == []
    assert shown_secrets(etar) == []

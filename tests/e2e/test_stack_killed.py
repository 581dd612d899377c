"""The stack after kill -9 of its parts, of all of them at once, and at its end: stopped and deleted."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from etar.clients import warehouse_client
from etar.minute import MinuteWindow
from etar.settings import WarehouseSettings
from stack import lifecycle
from stack.processes import left_behind
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.chaos.targets import everything
from tests.e2e.conftest import RATE, WELL_WITHIN, Etar, Traffic
from tests.e2e.reports import wait_for_report

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


def test_everything_killed_at_once_loses_nothing(etar: Etar, traffic: Traffic) -> None:
    """kill -9 of every process of the stack, and of the producer, in the middle of traffic and of a minute's run."""
    with etar.started("produce", "--rate", str(RATE)) as producer:
        window = wait_for_rows(etar, since=traffic.end)
        wait_until(lambda: datetime.now(UTC) >= window.end + timedelta(seconds=5), timeout=90, what="the minute's run")
        producer.kill()
        kill_everything(etar)
    etar.run("up", "--detach", timeout=600)
    end = window.next.next
    for reported in MinuteWindow.between(traffic.first, end):
        wait_for_report(etar, reported)
    # What was sent just before the crash is stored after it, and revises its minute if that was reported meanwhile.
    verified = etar.exact_account("--from", str(traffic.first), "--to", str(end))
    assert verified["difference"] == 0
    rows = {minute["minute"]: minute["parquet_rows"] for minute in verified["minutes"][-2:]}
    assert all(count > 0 for count in rows.values()), rows


def wait_for_rows(etar: Etar, *, since: MinuteWindow) -> MinuteWindow:
    """The first minute from ``since`` on that the table has rows of."""
    found: list[int] = []

    def there() -> bool:
        rows = warehouse.query(
            "SELECT toUnixTimestamp(event_minute) FROM user_interactions "
            "WHERE event_minute >= {since:DateTime('UTC')} ORDER BY event_minute LIMIT 1",
            parameters={"since": since.start},
        ).result_rows
        found.extend(minute for (minute,) in rows)
        return bool(found)

    warehouse = warehouse_client(etar.stack.settings.of(WarehouseSettings))
    wait_until(there, timeout=60, what=f"rows of {since} or later", interval=0.2)
    return MinuteWindow(datetime.fromtimestamp(found[0], UTC))


def kill_everything(etar: Etar) -> None:
    supervisor = psutil.Process(Supervisor(etar.stack).pid())
    # Before the victims: what is started in between is no member, and what ends in between is not compared.
    family = {supervisor, *supervisor.children(recursive=True)}
    victims = everything(etar.stack)
    # PostgreSQL's children write over their environment; they end when their parent does.
    unmarked = set(names_of_running(family - set(victims)))
    assert unmarked <= {"postgres"}, "every process of a stack has to be found after a crash"
    assert len(victims) > 10
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=30)


def names_of_running(members: Iterable[psutil.Process]) -> Iterator[str]:
    for process in members:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process.name()


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

"""One stack with all that can be several: two Celery workers, a Spark cluster and three brokers.

In one traffic a broker that leads partitions is killed, then the one that controls, then a worker in the middle of a
minute's task. Each shape on its own: ``tests/long/test_shapes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from etar.streams import default_stream
from stack.parts import parts_of
from stack.waiting import wait_until
from tests.e2e.cluster import (
    CELERY_AND_SPARK,
    NEEDS_REDIS,
    THREE_BROKERS,
    WORKERS,
    Brokers,
    Killed,
    addresses_of_an_executor,
    check_account,
    check_brokers_lost_nothing,
    check_reports,
    check_the_task_ran_again,
    kill_a_worker_at_work,
    traffic_during,
)
from tests.e2e.conftest import Etar, Traffic, started_stack
from tests.e2e.inspection import LOOPBACK, listening, processes, shown_secrets

# Above all that the first test waits for: the stack, the kills, the traffic, the reports.
pytestmark = [pytest.mark.timeout(2400), NEEDS_REDIS]


@dataclass(frozen=True)
class Events:
    """What was sent, and what happened meanwhile."""

    sent: Traffic
    killed: Killed
    executor_listened_on: set[str]
    shown_while_it_ran: list[str]


@pytest.fixture(scope="module")
def etar() -> Iterator[Etar]:
    """The module's own: the session's stack has one of each."""
    with started_stack(CELERY_AND_SPARK | THREE_BROKERS) as command:
        yield command


@pytest.fixture(scope="module")
def events(etar: Etar, tmp_path_factory: pytest.TempPathFactory) -> Events:
    seen: dict = {}

    def kill_two_brokers_and_a_worker() -> None:
        Brokers(etar).kill_a_leader_then_the_controller()
        seen.update(executor_listened_on=addresses_of_an_executor(etar), shown_while_it_ran=shown_secrets(etar))
        seen.update(killed=kill_a_worker_at_work(etar))

    sent = traffic_during(etar, tmp_path_factory.mktemp("events"), kill_two_brokers_and_a_worker, rate=100)
    return Events(sent=sent, **seen)


def test_status_says_what_runs(etar: Etar) -> None:
    status = etar.healthy()
    names = {part["name"] for part in status["parts"]}
    assert names == {part.name for part in parts_of(etar.stack)}
    assert names >= WORKERS | {"redis", "spark-master", "spark-worker", "kafka", "kafka-2", "kafka-3"}
    assert sum(part["memory_mb"] for part in status["parts"]) < 7000


def test_every_record_and_every_commit_is_kept_three_times(etar: Etar) -> None:
    brokers = Brokers(etar)
    everyone = {1, 2, 3}
    for topic in (default_stream().topic, "__consumer_offsets"):
        assert all(set(partition.replicas) == everyone for partition in brokers.partitions(topic)), topic


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


def test_brokers_killed_at_load_lose_nothing(etar: Etar, events: Events) -> None:
    check_brokers_lost_nothing(Brokers(etar), events.sent.account)


def test_the_task_of_the_killed_worker_ran_again(etar: Etar, events: Events) -> None:
    check_the_task_ran_again(etar, events.killed)


def test_reports_equal_an_independent_count(etar: Etar, events: Events) -> None:
    check_reports(etar, events.sent)


def test_verify_proves_the_account(etar: Etar, events: Events) -> None:
    check_account(etar, events.sent)


def test_no_secret_in_the_process_list_or_the_logs(etar: Etar, events: Events) -> None:
    assert events.shown_while_it_ran == []
    assert shown_secrets(etar) == []

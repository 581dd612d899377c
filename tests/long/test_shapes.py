"""Each shape of a stack on its own. All at once: ``tests/e2e/test_cluster.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cluster import (
    CELERY_AND_SPARK,
    NEEDS_REDIS,
    THREE_BROKERS,
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
from tests.e2e.conftest import started_stack

# Above all that a test waits for: the stack, the kills, the traffic, the reports.
pytestmark = pytest.mark.timeout(2400)

RATE = 300


@NEEDS_REDIS
def test_a_celery_worker_that_is_killed_at_work_costs_no_event(tmp_path: Path) -> None:
    killed: list[Killed] = []
    with started_stack(CELERY_AND_SPARK) as etar:

        def kill_a_worker() -> None:
            addresses_of_an_executor(etar)  # from then on a minute with events is analysed
            killed.append(kill_a_worker_at_work(etar))

        sent = traffic_during(etar, tmp_path, kill_a_worker, rate=RATE)
        check_the_task_ran_again(etar, killed[0])
        check_reports(etar, sent)
        check_account(etar, sent)


def test_brokers_killed_at_load_lose_nothing(tmp_path: Path) -> None:
    with started_stack(THREE_BROKERS) as etar:
        brokers = Brokers(etar)
        sent = traffic_during(etar, tmp_path, brokers.kill_a_leader_then_the_controller, rate=RATE)
        check_brokers_lost_nothing(brokers, sent.account)
        check_reports(etar, sent)
        check_account(etar, sent)

"""Stacks of several brokers, workers and executors: kills of each at work, and what has to be so afterwards."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, PartitionMetadata

from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.minute import MinuteWindow
from etar.settings import KafkaSettings
from etar.streams import default_stream
from producer.account import Account
from stack.parts import kafka
from stack.processes import left_behind
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.e2e.conftest import Etar, Traffic
from tests.e2e.inspection import airflow_database, listening
from tests.e2e.reports import expected_reports, wait_for_counts, wait_for_report

CELERY_AND_SPARK = {"ETAR_STACK_EXECUTOR": "celery", "ETAR_STACK_SPARK": "standalone"}
THREE_BROKERS = {"ETAR_STACK_BROKERS": "3"}
WORKERS = {"airflow-worker-1", "airflow-worker-2"}
NEEDS_REDIS = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not on PATH (Debian package redis-server)"
)

RECOVERED_WITHIN = 240
# A broker that was slow for a moment leads nothing until the controller's next look at who should lead.
LED_BY_ALL_WITHIN = 360

# Airflow's title of a process that runs a task's code.
TASK = re.compile(r"airflow worker -- ([0-9a-f-]{36})")
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def traffic_during(etar: Etar, folder: Path, faults: Callable[[], None], *, rate: int) -> Traffic:
    """What was sent, so many records a second, with duplicates and bad ones, until the faults were done."""
    account_file, log_file = folder / "account.json", folder / "events.jsonl"
    with etar.started(
        "produce", "--rate", str(rate), "--seed", "20261121", "--duplicates", "0.02", "--malformed", "0.01",
        "--account", str(account_file), "--event-log", str(log_file),
    ) as producer:  # fmt: skip
        faults()
        producer.terminate()
        assert producer.wait(120) == 0
    return Traffic.read(account_file, log_file)


class Brokers:
    """What Kafka's nodes say of themselves, and their kills."""

    def __init__(self, etar: Etar) -> None:
        self.stack = etar.stack
        self.nodes = kafka.nodes(self.stack)
        self.settings = self.stack.settings.of(KafkaSettings)
        self._admin = AdminClient({"bootstrap.servers": self.settings.bootstrap_servers, "log_level": 2})

    def partitions(self, topic: str = default_stream().topic) -> list[PartitionMetadata]:
        found = list(self._admin.list_topics(topic, timeout=30).topics[topic].partitions.values())
        if not found:
            raise UnknownTopicError(f"the broker that was asked knows no partition of {topic}")
        return found

    def controller(self) -> kafka.Node:
        """The node that leads the controllers, as the youngest of the nodes' own notes has it."""
        files = [node.data(self.stack) / "__cluster_metadata-0" / "quorum-state" for node in self.nodes]
        found: list[kafka.Node] = []

        def there() -> bool:
            youngest = max((json.loads(file.read_text()) for file in files), key=lambda note: note["leaderEpoch"])
            # -1 during an election.
            found[:] = [node for node in self.nodes if node.number == youngest["leaderId"]]
            return bool(found)

        wait_until(there, timeout=RECOVERED_WITHIN, what="a leader of the controllers", interval=1)
        return found[0]

    def leader_that_controls_nothing(self) -> kafka.Node:
        found: list[kafka.Node] = []

        def there() -> bool:
            leaders = {partition.leader for partition in self.partitions()} - {self.controller().number}
            found[:] = [node for node in self.nodes if node.number in leaders]
            return bool(found)

        wait_until(there, timeout=LED_BY_ALL_WITHIN, what="a leader beside the controller", interval=1)
        return found[0]

    def ends(self) -> dict[int, int]:
        with TopicOffsets.connect(default_stream().topic, settings=self.settings, timeout=20) as offsets:
            return offsets.end()

    def pid(self, node: kafka.Node) -> int:
        return Supervisor(self.stack).states()[node.name].pid

    def kill_a_leader_then_the_controller(self) -> None:
        """One after the other, under traffic that is in every partition."""
        enough = {partition.id: 100 for partition in self.partitions()}
        wait_until(lambda: self.is_beyond(enough), timeout=90, what="traffic in every partition")
        self.kill(self.leader_that_controls_nothing())
        self.kill(self.controller())

    def kill(self, node: kafka.Node) -> None:
        """Kill a broker, and wait until it is back: every partition takes records again, and every copy has them."""
        before, killed = self.ends(), self.pid(node)
        psutil.Process(killed).kill()
        wait_until(
            lambda: self.pid(node) not in (0, killed) and self.is_beyond(before) and self._has_all_copies(),
            timeout=RECOVERED_WITHIN,
            what=f"{node.name} to come back and every partition to go on with all its copies",
            interval=1,
        )

    def is_beyond(self, before: dict[int, int]) -> bool:
        """Whether every partition has records after these ends."""
        try:
            ends = self.ends()
        except (KafkaUnavailableError, UnknownTopicError):
            return False  # asked of a broker that is away, slow, or just back
        return all(ends[partition] > end for partition, end in before.items())

    def _has_all_copies(self) -> bool:
        try:
            partitions = self.partitions()
        except (KafkaException, UnknownTopicError):
            return False
        return all(set(partition.isrs) == {node.number for node in self.nodes} for partition in partitions)


@dataclass(frozen=True)
class Killed:
    """A worker that was killed, and the task it was running: one try of one task of a minute."""

    worker: str
    pid: int
    task: UUID


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


def check_brokers_lost_nothing(brokers: Brokers, account: Account) -> None:
    assert account.ok
    assert (account.acknowledged, account.in_doubt) == (account.generated, 0), account
    assert sum(brokers.ends().values()) == account.acknowledged


def check_the_task_ran_again(etar: Etar, killed: Killed) -> None:
    again = """
        SELECT now.try_number - killed.try_number, now.state
        FROM task_instance_history killed JOIN task_instance now USING (dag_id, task_id, run_id, map_index)
        WHERE killed.task_instance_id = %s
    """

    def ended() -> list[tuple[int, str]]:
        with airflow_database(etar) as connection:
            return connection.execute(again, [killed.task]).fetchall()

    wait_until(
        lambda: ended() != [] and ended()[0][1] == "success",
        timeout=RECOVERED_WITHIN,
        what="the task to end",
        interval=1,
    )
    ((more_tries, state),) = ended()
    assert more_tries >= 1
    assert state == "success"


def check_reports(etar: Etar, sent: Traffic) -> None:
    """They equal a count of the producer's own log."""
    assert sent.account.ok
    assert sent.account.acknowledged == sent.account.generated == len(sent.log), sent.account
    expected = expected_reports(sent.log)
    assert sorted(expected) == list(MinuteWindow.between(sent.first, sent.end)), sorted(expected)
    for window, counts in expected.items():
        wait_for_counts(etar, window, counts)


def check_account(etar: Etar, sent: Traffic) -> None:
    """`etar verify` proves it."""
    # Bad records count when they arrive: up to the minute in which the last one did.
    last = MinuteWindow.containing(sent.account.ended_at)
    wait_for_report(etar, last)
    range_ = ("--from", str(sent.first), "--to", str(last.next))
    verified = etar.exact_account(*range_, "--account", str(sent.account_file))
    assert (verified["ok"], verified["difference"]) == (True, 0)
    rows = sum(minute["parquet_rows"] or 0 for minute in verified["minutes"])
    bad = sum(minute["dead_letters"] for minute in verified["minutes"])
    assert bad == sent.account.malformed > 0
    assert rows + bad == sent.account.acknowledged

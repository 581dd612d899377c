"""A stream's job on a Spark cluster: a topic of four partitions, two workers, one of which is killed."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from etar.minute import MinuteWindow
from etar.settings import KafkaSettings, ObjectStoreSettings, ReportStoreSettings, WarehouseSettings
from stack.launch import environment_of
from stack.layout import REPOSITORY
from stack.parts import Stack, jobs, part_named, spark
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part
from tests.integration.stack.test_spark_cluster import state
from tests.integration.stream_jobs.conftest import RunningJob, encoded, sale, sales_stream
from tests.ports import free_ports
from tests.stopping import stop

PARTITIONS = 4
PARTS = ("kafka", "registry", "warehouse", "s3", "postgres", "spark-master", "spark-worker")
# Above all that it waits for: seven parts, a Spark and its executors twice.
pytestmark = pytest.mark.timeout(1200)


@contextmanager
def second_worker(stack: Stack) -> Iterator[int]:
    """Beside the stack's own; yields its process id."""
    part = part_named("spark-worker", stack)
    command = part.command(stack)
    (port,) = free_ports(1)
    command[command.index("--port") + 1] = str(port)
    command[command.index("--work-dir") + 1] += "-2"
    process = subprocess.Popen(command, env=environment_of(stack, part), cwd=REPOSITORY, start_new_session=True)
    try:
        wait_until(lambda: len(alive(stack)) == 2, timeout=120, what="the second worker to register")
        yield process.pid
    finally:
        stop(process, "spark-worker-2", seconds=30)


def alive(stack: Stack) -> list[Any]:
    return [worker for worker in state(stack)["workers"] if worker["state"] == "ALIVE"]


def on_cluster(stack: Stack) -> str:
    """What PySpark is told: an executor of one core on each worker."""
    given = {"spark.cores.max": "2", "spark.executor.cores": "1", "spark.executor.memory": "600m"}
    more = " ".join(f"--conf {name}={value}" for name, value in given.items())
    return f"--master {spark.master(stack)} --properties-file {spark.properties_file(stack)} {more} pyspark-shell"


@pytest.fixture
def job(tmp_path: Path) -> Iterator[RunningJob]:
    with ExitStack() as closing:
        stack = closing.enter_context(new_stack({"ETAR_STACK_SPARK": "standalone"}))
        for name in PARTS:
            closing.enter_context(running_part(name, stack))
        kafka, warehouse = stack.settings.of(KafkaSettings), stack.settings.of(WarehouseSettings)
        own = sales_stream(stack, kafka, warehouse, stack.settings.of(ReportStoreSettings), PARTITIONS)
        stream, store = closing.enter_context(own)
        (part,) = jobs.parts(stream)
        objects = stack.settings.of(ObjectStoreSettings)
        made = RunningJob(stack, stream, part, kafka, store, objects, tmp_path / "job.log")
        made.more = {"PYSPARK_SUBMIT_ARGS": on_cluster(stack)}
        yield made
        if made.process and made.process.poll() is None:
            stop(made.process, part.name, seconds=60)


def test_sums_are_exact_over_four_partitions_and_two_workers_one_of_which_is_killed(job: RunningJob) -> None:
    chance, window = Random(4), MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=2)).start
    expected: dict[str, list[Decimal]] = defaultdict(list)

    def send(count: int) -> None:
        for partition in range(PARTITIONS):
            events = []
            for _ in range(count):
                category, amount = chance.choice(["Home", "Fashion"]), Decimal(chance.randint(1000, 99_999)) / 100
                expected[category].append(amount)
                events.append(encoded(sale(window + timedelta(seconds=chance.randrange(60)), str(amount), category)))
            job.send(*events, partition=partition)

    def sent() -> int:
        return sum(map(len, expected.values()))

    with second_worker(job.stack) as worker:
        send(200)
        job.start()
        job.wait_until_counted(sent())
        assert sorted(each["coresused"] for each in alive(job.stack)) == [1, 1]
        send(200)
        for process in psutil.Process(worker).children(recursive=True):
            process.kill()
        psutil.Process(worker).kill()
    send(200)
    job.wait_until_counted(sent(), timeout=300)
    assert {category: value for (_, category), value in job.windows().items()} == {
        category: (sum(amounts), len(amounts)) for category, amounts in expected.items()
    }

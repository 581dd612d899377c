"""A group of two workers, each with one task of a connector, of which one goes away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from connect.registration import ConnectorFailedError
from connect.registration import register as register_connector
from connect.worker import Worker
from stack.waiting import wait_until
from tests.integration.kafka_connect.conftest import PARTITIONS, Flow, OneWorker
from tests.integration.kafka_connect.test_records import good

# Above all that the first test waits for: the parts, two workers, a connector, its records.
pytestmark = pytest.mark.timeout(1500)

# A worker that says nothing is out of the group after ten seconds, and its tasks are started anew.
MOVED_WITHIN = 120

TWO = {"tasks.max": "2"}


@pytest.fixture
def shared(flow: Flow, worker: Worker, second_worker: OneWorker) -> Flow:
    """A connector with a task on each of the workers."""
    assert len(register_connector(worker, flow.config(**TWO)).tasks) == PARTITIONS

    def one_on_each() -> bool:
        status = worker.status(flow.name)
        workers = {task.worker for task in status.tasks} if status and status.running else set()
        return len(workers) == PARTITIONS and second_worker.name in workers

    # A worker may answer before the group's leader has counted it in: both tasks begin on the other one, and one moves.
    wait_until(one_on_each, timeout=MOVED_WITHIN, what="a task on each worker", interval=0.5)
    return flow


def test_the_task_of_a_killed_worker_moves_and_every_record_is_written(
    shared: Flow, worker: Worker, second_worker: OneWorker
) -> None:
    def to_both(numbers: range) -> None:
        for partition in range(PARTITIONS):
            shared.produce([good(shared, number) for number in numbers], partition=partition)

    to_both(range(5))
    shared.settle()
    second_worker.process.kill()
    to_both(range(5, 10))

    wait_until(runs_without(worker, shared, second_worker), timeout=MOVED_WITHIN, what="its task to move", interval=0.5)
    shared.settle()
    written = {(int(row["_partition"]), int(row["_offset"])) for row in shared.written()}
    assert written == {(partition, offset) for partition in range(PARTITIONS) for offset in range(10)}


def runs_without(worker: Worker, flow: Flow, gone: OneWorker) -> Callable[[], bool]:
    def there() -> bool:
        status = worker.status(flow.name)
        return status is not None and status.running and gone.name not in {task.worker for task in status.tasks}

    return there


def test_a_change_is_judged_by_the_task_after_it_and_not_by_the_one_before(
    new_flow: Callable[[], Flow], worker: Worker, second_worker: OneWorker, tmp_path: Path
) -> None:
    """The task from before is said to run for ten seconds more, since its worker hangs."""
    flow = only_on(second_worker, [new_flow(), new_flow()], worker)
    second_worker.process.suspend()
    with pytest.raises(ConnectorFailedError, match="NoSuchFileException"):
        register_connector(worker, flow.config(file=str(tmp_path / "missing" / "records.txt")))


def only_on(one: OneWorker, flows: Sequence[Flow], worker: Worker) -> Flow:
    """Of as many connectors as there are workers, that which has one to itself."""
    for flow in flows:
        register_connector(worker, flow.config())
    found = {flow.name: worker.status(flow.name) for flow in flows}
    places = {
        name: {status.worker, *(task.worker for task in status.tasks)} for name, status in found.items() if status
    }
    there = [flow for flow in flows if places[flow.name] == {one.name}]
    assert there, places
    return there[0]

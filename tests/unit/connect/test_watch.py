"""When a failed connector is started again, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from connect.watch import LONGEST_PAUSE_SECONDS, Watch
from connect.worker import ConnectorStatus, TaskStatus, WorkerUnavailableError

SINK = "sink"


@dataclass
class Workers:
    """A cluster with one connector of two tasks, of which the second is in ``state``; ``now`` is the watch's clock."""

    state: str = "RUNNING"
    now: float = 0.0
    away: bool = False
    restarts: list[float] = field(default_factory=list)

    def names(self) -> tuple[str, ...]:
        if self.away:
            raise WorkerUnavailableError("no worker answers")
        return ("never started", SINK)

    def status(self, name: str) -> ConnectorStatus | None:
        if name != SINK:
            return None
        message = "no ping" if self.state == "FAILED" else None
        tasks = TaskStatus(0, "RUNNING", "a", None), TaskStatus(1, self.state, "b", message)
        return ConnectorStatus(SINK, "RUNNING", "a", None, tasks)

    def restart_failed(self, name: str) -> None:
        assert name == SINK
        self.restarts.append(self.now)

    def watched(self, watch: Watch, seconds: int) -> None:
        for _ in range(seconds):
            watch.look()
            self.now += 1


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def watch(workers: Workers) -> Watch:
    return Watch(workers, clock=lambda: workers.now)


def test_a_failed_task_is_started_again_less_and_less_often_and_never_given_up(
    workers: Workers, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    workers.state = "FAILED"
    workers.watched(watch, 300)
    assert workers.restarts == [0, 5, 15, 35, 75, 135, 195, 255]
    assert len(caplog.messages) == len(workers.restarts)
    assert caplog.messages[2] == "started again (3; the next time not before 20 s): task 1 of sink: no ping"


@pytest.mark.parametrize("state", ["RUNNING", "PAUSED", "UNASSIGNED", "RESTARTING"])
def test_what_has_not_failed_is_left_alone(
    workers: Workers, watch: Watch, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    workers.state = state
    workers.watched(watch, 100)
    assert not workers.restarts
    assert not caplog.messages


def test_it_runs_again_only_when_it_has_for_a_while(
    workers: Workers, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    workers.state = "FAILED"
    workers.watched(watch, 6)
    workers.state = "RUNNING"
    workers.watched(watch, 8)
    workers.state = "FAILED"  # with its first records
    workers.watched(watch, 2)
    assert workers.restarts == [0, 5, 15]
    workers.state = "RUNNING"
    workers.watched(watch, int(LONGEST_PAUSE_SECONDS))
    assert caplog.messages[-1] == "sink runs again, after 3 starts"
    workers.state = "FAILED"
    watch.look()
    assert "started again (1; " in caplog.messages[-1]


def test_workers_that_are_away_are_told_of_once(
    workers: Workers, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    workers.away = True
    workers.watched(watch, 10)
    workers.away = False
    workers.watched(watch, 10)
    assert caplog.messages == ["waiting for the workers: no worker answers", "the workers answer again"]

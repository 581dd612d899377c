"""Kafka Connect's REST interface: what `etar connect` asks and tells a worker."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

_Answer = TypeVar("_Answer")

RUNNING = "RUNNING"
FAILED = "FAILED"
STOPPED = "STOPPED"
UNASSIGNED = "UNASSIGNED"
_PAUSE_SECONDS = 0.5
_CAUSE = re.compile(r"^(?:Caused by: )?[\w.$]+(?:Exception|Error)\b.*")


class WorkerUnavailableError(ConnectionError):
    """No worker answers, or not within the time given."""


class WorkerRefusedError(Exception):
    """A worker answered that it will not; the message is its own."""


class UnknownConnectorError(LookupError):
    """No connector has this name."""


@dataclass(frozen=True)
class TaskStatus:
    """One task: its number, state, the worker it is on, and what it said when it failed."""

    number: int
    state: str
    worker: str
    message: str | None


@dataclass(frozen=True)
class ConnectorStatus:
    """A connector and its tasks as the workers see them."""

    name: str
    state: str
    worker: str
    message: str | None
    tasks: tuple[TaskStatus, ...]

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(task.number for task in self.tasks)

    @property
    def running(self) -> bool:
        return self.state == RUNNING and bool(self.tasks) and all(task.state == RUNNING for task in self.tasks)

    @property
    def stopped(self) -> bool:
        """No task works for it: a task of which a worker has let go may be listed for a moment more."""
        return self.state == STOPPED and all(task.state == UNASSIGNED for task in self.tasks)

    @property
    def failures(self) -> tuple[str, ...]:
        """What the connector and each failed task said."""
        own = [f"connector {self.name}: {self.message or 'no reason given'}"] if self.state == FAILED else []
        tasks = [
            f"task {task.number} of {self.name}: {task.message or 'no reason given'}"
            for task in self.tasks
            if task.state == FAILED
        ]
        return (*own, *tasks)


@dataclass(frozen=True)
class Problem:
    """What a worker finds wrong with one value of a configuration."""

    key: str
    messages: tuple[str, ...]


class Worker:
    """One worker of a Connect cluster; any of them answers for all."""

    def __init__(
        self,
        url: str,
        *,
        wait_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=90)  # a worker asks its connector before it answers
        self._url = url
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._rest = rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait(self) -> None:
        """Until the worker answers and belongs to its group.

        Raises:
            WorkerUnavailableError: it did not in time.
        """
        self._ask("GET", "/connectors", away_is_waited_for=True)

    def names(self) -> tuple[str, ...]:
        """The connectors there are."""
        return tuple(sorted(self._ask("GET", "/connectors").json()))

    def config(self, name: str) -> dict[str, str] | None:
        """A connector's configuration as it was given, references unresolved; None where there is no such connector."""
        answer = self._ask("GET", f"/connectors/{quote(name, safe='')}/config", missing_is_an_answer=True)
        return None if answer.status_code == 404 else dict(answer.json())

    def problems(self, config: Mapping[str, str]) -> tuple[Problem, ...]:
        """What the worker, and the connector's own class on it, find wrong with a configuration.

        Raises:
            WorkerRefusedError: it cannot even tell: the class is unknown, say.
        """
        kind = quote(config["connector.class"], safe="")
        answer = self._ask("PUT", f"/connector-plugins/{kind}/config/validate", json=config)
        found = []
        for value in (entry["value"] for entry in answer.json()["configs"]):
            if value["errors"]:
                key = str(value["name"])
                messages = [_unresolved(text, value.get("value"), config.get(key)) for text in value["errors"]]
                found.append(Problem(key, tuple(messages)))
        return tuple(found)

    def put(self, name: str, config: Mapping[str, str]) -> None:
        """Create the connector, or give it this configuration.

        Raises:
            WorkerRefusedError: the configuration is not taken.
        """
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/config", json=config)

    def status(self, name: str) -> ConnectorStatus | None:
        """None where there is no such connector, or none of its tasks was ever started."""
        answer = self._ask("GET", f"/connectors/{quote(name, safe='')}/status", missing_is_an_answer=True)
        return None if answer.status_code == 404 else _status(answer.json())

    def stop(self, name: str) -> None:
        """End the connector and all of its tasks; what they have read stays committed, and nothing is read on.

        On return no task is left whose state could be taken for that of one which is started later: a state says
        nothing of the configuration it belongs to, or of when the task was started.

        Raises:
            UnknownConnectorError: there is none of this name.
            WorkerUnavailableError: it did not stop in time.
        """
        self._turn(name, "stop")
        self._await(name, "stop", lambda status: status.stopped, steady_seconds=0.0)

    def resume(self, name: str) -> None:
        """Let a connector that was stopped start new tasks; nothing happens to one that runs.

        Raises:
            UnknownConnectorError: there is none of this name.
        """
        self._turn(name, "resume")

    def restart_failed(self, name: str) -> None:
        """Start the connector and those of its tasks again that have failed; returns before they have.

        Nothing happens where none has, or where there is no such connector.
        """
        path = f"/connectors/{quote(name, safe='')}/restart?includeTasks=true&onlyFailed=true"
        self._ask("POST", path, missing_is_an_answer=True)

    def settled(self, name: str, *, steady_seconds: float = 3.0) -> ConnectorStatus:
        """The connector's status once all of its tasks run, or once something of it has failed, for a while.

        For a while, since a task may fail with its first records. The tasks may be those from before a change, unless
        the connector was stopped for it.

        Raises:
            WorkerUnavailableError: it came to neither in time.
        """
        return self._await(
            name,
            "run",
            lambda status: bool(status.failures) or (status.running and self._task_numbers(name) == status.numbers),
            steady_seconds=steady_seconds,
        )

    def _await(
        self, name: str, what: str, reached: Callable[[ConnectorStatus], bool], *, steady_seconds: float
    ) -> ConnectorStatus:
        end = self._clock() + self._wait_seconds
        last: ConnectorStatus | None = None
        since = self._clock()
        while True:
            status = self.status(name)
            if status != last:
                last, since = status, self._clock()
            if last is not None and self._clock() - since >= steady_seconds and reached(last):
                return last
            if self._clock() > end:
                raise WorkerUnavailableError(
                    f"waited {self._wait_seconds:g} s for {name} to {what}; it is {_in_words(last)}. "
                    "A worker's log says more"
                )
            self._rest(_PAUSE_SECONDS)

    def _task_numbers(self, name: str) -> frozenset[int]:
        """The tasks that the connector is to have; those that were never started have no status."""
        tasks = self._ask("GET", f"/connectors/{quote(name, safe='')}/tasks").json()
        return frozenset(int(task["id"]["task"]) for task in tasks)

    def _turn(self, name: str, which: str) -> None:
        answer = self._ask("PUT", f"/connectors/{quote(name, safe='')}/{which}", missing_is_an_answer=True)
        if answer.status_code == 404:
            raise UnknownConnectorError(f"the workers at {self._url} have no connector {name!r}")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, str] | None = None,
        missing_is_an_answer: bool = False,
        away_is_waited_for: bool = False,
    ) -> httpx.Response:
        end = self._clock() + self._wait_seconds
        while True:
            try:
                answer = self._client.request(method, path, json=json)
            except httpx.TransportError as error:
                fault = f"no Kafka Connect worker answers at {self._url} ({error})"
                if not away_is_waited_for:
                    raise WorkerUnavailableError(fault) from error
            else:
                if answer.is_success or (answer.status_code == 404 and missing_is_an_answer):
                    return answer
                fault = _message(answer)
                # 409: the group finds itself anew; 503: a worker that has just started.
                if answer.status_code not in (409, 503) and not (answer.status_code == 404 and away_is_waited_for):
                    raise WorkerRefusedError(fault)
            if self._clock() > end:
                raise WorkerUnavailableError(f"{fault}; waited {self._wait_seconds:g} s (ETAR_CONNECT_WAIT_SECONDS)")
            self._rest(_PAUSE_SECONDS)


def _status(document: Mapping[str, Any]) -> ConnectorStatus:
    connector = document["connector"]
    return ConnectorStatus(
        name=str(document["name"]),
        state=str(connector["state"]),
        worker=str(connector["worker_id"]),
        message=_said(connector.get("trace")),
        tasks=tuple(
            TaskStatus(int(task["id"]), str(task["state"]), str(task["worker_id"]), _said(task.get("trace")))
            for task in document["tasks"]
        ),
    )


def _said(trace: str | None) -> str | None:
    """The messages of a Java stack trace, the innermost last, without its lines of code."""
    if not trace:
        return None
    lines: Sequence[str] = [line.strip() for line in trace.splitlines()]
    said = [line.removeprefix("Caused by: ") for line in lines if _CAUSE.match(line)]
    return " <- ".join(dict.fromkeys(said)) or lines[0]


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text[:500]}"


def _unresolved(text: str, resolved: object, given: str | None) -> str:
    """``text`` with what a reference stands for turned back into the reference: it may be a secret."""
    if given and isinstance(resolved, str) and resolved and resolved != given:
        return text.replace(resolved, given)
    return text


def _in_words(status: ConnectorStatus | None) -> str:
    if status is None:
        return "not known to the workers"
    tasks = ", ".join(task.state for task in status.tasks) or "none"
    return f"{status.state}, its tasks: {tasks}"

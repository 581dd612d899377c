"""Bringing the connectors of a Connect cluster to what their files say: differences first, then the change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from connect.worker import ConnectorStatus, Worker

_SECRET_KEY = re.compile(r"pass(word|phrase|wd)|secret|token|credential|api\.?key|jaas|basic\.auth", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{[^{}]+\}")
_LOGIN_IN_URL = re.compile(r"//[^/@\s]+@")


class ConnectorFailedError(Exception):
    """A connector or one of its tasks failed; the message is theirs."""


class ConfigurationRefusedError(Exception):
    """The worker or the connector's class does not take the configuration; every problem with its key."""


@dataclass(frozen=True)
class Change:
    """One value that is to be another; None is none. What may be a secret is already taken out."""

    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        removed = [] if self.before is None else [f"- {self.key}: {self.before}"]
        added = [] if self.after is None else [f"+ {self.key}: {self.after}"]
        return "\n".join([*removed, *added])


def changes(current: Mapping[str, str] | None, wanted: Mapping[str, str]) -> tuple[Change, ...]:
    """What has to change for ``current`` (None: no such connector) to be ``wanted``, by key."""
    present = current or {}
    return tuple(
        Change(key, *(None if text is None else shown(key, text) for text in (present.get(key), wanted.get(key))))
        for key in sorted(present.keys() | wanted.keys())
        if present.get(key) != wanted.get(key)
    )


def shown(key: str, value: str) -> str:
    """A value as it may be printed: a reference as it is, but never what looks like a secret itself."""
    if _SECRET_KEY.search(key) and not _REFERENCE.fullmatch(value):
        return "(not shown: a secret that is no reference)"
    return _LOGIN_IN_URL.sub("//(not shown)@", value)


def check(worker: Worker, config: Mapping[str, str]) -> None:
    """Let the worker look at a configuration without taking it.

    Raises:
        ConfigurationRefusedError: it finds problems.
        WorkerRefusedError: it does not know the class at all.
    """
    if problems := worker.problems(config):
        lines = [f"{problem.key}: {' '.join(problem.messages)}" for problem in problems]
        raise ConfigurationRefusedError(f"{config['name']} is refused: " + "\n  ".join(["", *lines]))


def register(worker: Worker, config: Mapping[str, str]) -> ConnectorStatus:
    """Create or update the connector, and wait until all of its tasks run; one that fails is started again once.

    Raises:
        ConnectorFailedError: the connector or a task fails (again).
        WorkerRefusedError: the configuration is not taken after all; the one from before runs on.
        WorkerUnavailableError: nothing ran in time.
    """
    name = config["name"]
    present = worker.config(name)
    if present is None:
        worker.put(name, config)
    elif present == config:
        worker.resume(name)  # whoever changed it last may have been killed before this
    else:
        with _stopped(worker, name):
            worker.put(name, config)
    status = worker.settled(name)
    return restart(worker, name, only_failed=True) if status.failures else status


def restart(worker: Worker, name: str, *, only_failed: bool) -> ConnectorStatus:
    """Start a connector with all of its tasks again, or only if something of it has failed; wait until it runs.

    Raises:
        ConnectorFailedError: it fails again.
        UnknownConnectorError: there is none of this name.
    """
    before = worker.status(name)
    if not only_failed or before is None or before.failures:
        with _stopped(worker, name):
            pass
    status = worker.settled(name)
    if status.failures:
        raise ConnectorFailedError("\n".join(status.failures))
    return status


@contextmanager
def _stopped(worker: Worker, name: str) -> Iterator[None]:
    """Within it the connector has no task, so that each one seen later is a new one; it resumes whatever happens."""
    try:
        worker.stop(name)
        yield
    finally:
        worker.resume(name)

"""Bringing the connectors of a Connect cluster to what their files say: differences first, then the change."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    """Create or update the connector, and wait until all of its tasks run; what has failed is started again once.

    Raises:
        ConnectorFailedError: the connector or a task fails (again).
        WorkerUnavailableError: nothing ran in time.
    """
    name = config["name"]
    if worker.config(name) != config:
        worker.put(name, config)
    status = worker.settled(name)
    return restart(worker, name, only_failed=True) if status.failures else status


def restart(worker: Worker, name: str, *, only_failed: bool) -> ConnectorStatus:
    """Start again what failed of a connector, or all of it, and wait until it runs.

    Raises:
        ConnectorFailedError: it fails again.
    """
    worker.restart(name, only_failed=only_failed)
    status = worker.settled(name)
    if status.failures:
        raise ConnectorFailedError("\n".join(status.failures))
    return status

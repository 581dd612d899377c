"""``python -m connect.watch``: starts connectors again that have failed, or a task of theirs, for as long as it runs.

A worker never does that by itself. The official sink fails for good when its warehouse is away while a task starts.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from connect.worker import ConnectorStatus, Worker, WorkerRefusedError, WorkerUnavailableError
from etar.settings import ConnectSettings, get_settings

LOOK_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
"""No end to it: an outage may take any time. What fails for another reason does so once a minute, and is told."""

_log = logging.getLogger("connect.watch")


class Cluster(Protocol):
    """What is asked of a :class:`connect.worker.Worker`."""

    def names(self) -> tuple[str, ...]: ...

    def status(self, name: str) -> ConnectorStatus | None: ...

    def restart_failed(self, name: str) -> None: ...


@dataclass
class _Trouble:
    """A connector that has failed and was started again ``starts`` times, since then at ``started``."""

    starts: int
    started: float

    @property
    def pause_seconds(self) -> float:
        """Twice as long after each start."""
        doublings = min(self.starts - 1, 10)
        return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**doublings)


class Watch:
    """What to start again, and when; it remembers how often it has tried. The clock is in seconds."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._troubles: dict[str, _Trouble] = {}
        self._away = False

    def look(self) -> None:
        """Once at every connector; a cluster that does not answer is told of once, and once more when it does."""
        try:
            for name in self._cluster.names():
                self._look_at(name)
        except (WorkerUnavailableError, WorkerRefusedError) as error:
            if not self._away:
                _log.warning("waiting for the workers: %s", error)
            self._away = True
        else:
            if self._away:
                _log.warning("the workers answer again")
            self._away = False

    def _look_at(self, name: str) -> None:
        status = self._cluster.status(name)
        trouble = self._troubles.get(name)
        if status is None:
            return
        if status.failures:
            self._start_again(status, trouble)
        elif trouble and status.running and self._clock() - trouble.started >= LONGEST_PAUSE_SECONDS:
            # Not at once: a task may fail with its first records, and is then to wait for longer than before.
            _log.warning("%s runs again, after %d starts", name, trouble.starts)
            del self._troubles[name]

    def _start_again(self, status: ConnectorStatus, trouble: _Trouble | None) -> None:
        now = self._clock()
        if trouble and now - trouble.started < trouble.pause_seconds:
            return
        found = self._troubles[status.name] = _Trouble(trouble.starts + 1 if trouble else 1, now)
        _log.warning(
            "started again (%d; the next time not before %g s): %s",
            found.starts,
            found.pause_seconds,
            "; ".join(status.failures),
        )
        self._cluster.restart_failed(status.name)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = get_settings(ConnectSettings)
    with Worker(settings.url, wait_seconds=settings.wait_seconds) as worker:
        watch = Watch(worker)
        while not stop.wait(LOOK_SECONDS):
            watch.look()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Processor time: what a step costs, in seconds of a core."""

from __future__ import annotations

import gc
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def processor_seconds() -> float:
    """What this process has had, all its threads, and the processes that it has started and waited for.

    Only the difference of two calls means anything: a process that was forked begins with 0 of its own.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def collect_seldom() -> None:
    """Let Python look for objects in a cycle less often: for a process in which many small ones live at a time, none in
    a cycle. Looking for one took a sixth of the sink's time, and a seventh of an import's."""
    gc.set_threshold(100_000, 50, 100)


class Share:
    """What one of those at work has had so far, in seconds of a core."""

    seconds = 0.0


class SharedTime:
    """Divides the processor time of something that several use at once: what it has while they are at work is theirs
    in equal parts, and what it has while nobody is, nobody's.

    Args:
        read: the processor time (s) that it has had; a value lower than the one before counts as no time.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._at_work: set[Share] = set()
        self._last = 0.0

    @contextmanager
    def shared(self) -> Iterator[Share]:
        """For the length of the block; its share is whole when it has ended."""
        share = Share()
        with self._lock:
            self._divide()
            self._at_work.add(share)
        try:
            yield share
        finally:
            with self._lock:
                self._divide()
                self._at_work.remove(share)

    def _divide(self) -> None:
        now = self._read()
        for share in self._at_work:
            share.seconds += max(0.0, now - self._last) / len(self._at_work)
        self._last = now

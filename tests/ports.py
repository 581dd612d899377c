"""Ports for what tests start: no two test processes of this machine are ever given the same one.

They come from below the range that the system hands out to clients, where an outgoing connection could take a port
before the part that it was meant for; and from blocks that a lock keeps for one process, since several run side by
side: the lanes of `make test`, the workers of pytest-xdist, `make chaos`.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

_BLOCK = 100
_BLOCKS = range(15_000, 30_000, _BLOCK)

_held: dict[int, IO[bytes]] = {}
_rest: Iterator[int] = iter(())


class NoPortsError(Exception):
    """Other processes have all the ports there are for tests."""


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; each is handed out once."""
    global _rest  # noqa: PLW0603  # a process has one store of them
    found: list[int] = []
    while len(found) < count:
        for port in _rest:
            if _are_free(port, 1):
                found.append(port)
                break
        else:
            first = free_block(0)  # each of its ports is tried when its turn comes
            _rest = iter(range(first, first + _BLOCK))
    return found


def free_block(count: int) -> int:
    """The first of a block of ports that are this process's until it ends; nothing listens on ``count`` of them now.

    Raises:
        NoPortsError: there is no such block.
    """
    if count > _BLOCK:
        raise ValueError(f"a block has {_BLOCK} ports, not {count}")
    for first in _BLOCKS:
        if first in _held or (lock := _locked(first)) is None:
            continue
        if _are_free(first, count):
            _held[first] = lock
            return first
        lock.close()
    raise NoPortsError(f"no {count} free ports in a row from {_BLOCKS.start} to {_BLOCKS.stop}")


def _locked(first: int) -> IO[bytes] | None:
    """The block's lock, which the system opens when the process ends, however it ends; None if another has it."""
    folder = Path(tempfile.gettempdir()) / f"etar-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lock = (folder / str(first)).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _are_free(first: int, count: int) -> bool:
    # What a killed test process left running still listens where its lock is gone.
    with ExitStack() as probes:
        try:
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

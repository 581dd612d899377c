"""Waiting for a part that is away: the same attempt again and again, told once at its start and once at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class StoppedWaitingError(Exception):
    """The sink was asked to stop while a part was away. What was not committed is read again at the next start."""


def persist(
    attempt: Callable[[], _Result],
    *,
    part: str,
    away: type[Exception] | tuple[type[Exception], ...],
    rest: Callable[[], object],
    stopping: Callable[[], bool],
) -> _Result:
    """The result of ``attempt``, tried until it raises none of ``away``.

    Args:
        part: who is waited for, in the log.
        rest: what to do between two attempts; it should take a while.

    Raises:
        StoppedWaitingError: ``stopping()`` became true between two attempts.
    """
    told = False
    while True:
        try:
            result = attempt()
        except away as error:
            if not told:
                _log.warning("waiting for the %s: %s", part, error)
                told = True
            rest()
            if stopping():
                raise StoppedWaitingError(f"stopped while waiting for the {part}") from error
        else:
            if told:
                _log.warning("the %s is back", part)
            return result

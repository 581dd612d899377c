"""Waiting for a part that is away, where giving up would help nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_BETWEEN_TRIES_SECONDS = 1.0


class AwayError(ConnectionError):
    """Another part cannot be reached now; the message says which and where."""


def until_there(
    attempt: Callable[[], _T], *, stopping: Callable[[], bool], pause: Callable[[float], object]
) -> _T | None:
    """The result of ``attempt`` once it no longer raises :class:`AwayError`; None when ``stopping()`` came first.

    Says what it waits for once, and again whenever the reason changes.

    Args:
        pause: called with seconds between two tries; may return early.
    """
    said = ""
    while not stopping():
        try:
            result = attempt()
        except AwayError as error:
            if str(error) != said:
                said = str(error)
                _log.warning("waiting: %s", said)
            pause(_BETWEEN_TRIES_SECONDS)
        else:
            if said:
                _log.info("there again; going on")
            return result
    return None

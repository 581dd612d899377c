"""Look-ups in the places of a stream, beside PostgreSQL: a few at once, each in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from etar.streams import Stream, StreamFaultError, UnknownStreamError, catalogue

_AT_ONCE = 2
"""Each holds a thread, and an event's look-up reads the ids of hours: posted reports must not wait for these."""

_WAIT_SECONDS = 5.0

_places = asyncio.Semaphore(_AT_ONCE)

_Answer = TypeVar("_Answer")


def stream_of(name: str) -> Stream:
    """The stream of this name, or the answer that there is none."""
    try:
        return catalogue().named(name)
    except UnknownStreamError:
        raise HTTPException(404, f"{name!a} is no stream that has a folder") from None
    except StreamFaultError as error:
        raise HTTPException(503, str(error)) from error


async def looked_up(question: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
    """The answer, once it is this one's turn.

    Raises:
        HTTPException: 503: so many are asked already, or a setting of a place is missing.
    """
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            await _places.acquire()
    except TimeoutError:
        raise HTTPException(503, f"{_AT_ONCE} look-ups are under way already; try again") from None
    try:
        return await run_in_threadpool(partial(question, *arguments, **named))
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, part["loc"])) for part in error.errors())
        raise HTTPException(503, f"the report API cannot look this up: {error.title} lacks {missing}") from error
    finally:
        _places.release()

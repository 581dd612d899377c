"""The tokens that ``etar token`` gave out, as the API knows them: by their hashes, which it reads again and again.

All that are good are read at once, so that a guess costs no query. What was read is believed for ``SEEN_SECONDS``: then
at the latest the API knows what was made, rotated or revoked, and notices a store that is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import PoolTimeout

from etar.api_tokens import SEEN_SECONDS, SELECT_GOOD, USED, ApiToken, hashed

_log = logging.getLogger(__name__)

_NOTED_EVERY = timedelta(minutes=1)


class TokenBook:
    """Knows a token by its hash. Nobody can choose a hash, so the time that it takes to find one says nothing.

    Args:
        connected: a connection to the report store, for a few seconds at most.
    """

    def __init__(
        self,
        connected: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._connected = connected
        self._clock = clock
        self._known: dict[bytes, ApiToken] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._noted: dict[int, datetime] = {}

    async def find(self, presented: str) -> ApiToken | None:
        """The token, if it is good.

        Raises:
            psycopg.Error, PoolTimeout, TimeoutError: the store does not say, so that nobody knows.
        """
        await self._read_again()
        token = self._known.get(hashed(presented))
        return token if token and token.is_good(datetime.now(UTC)) else None

    async def note_use(self, token: ApiToken) -> None:
        """Write down that a token was used, once a minute. Without the store it is not written."""
        now = datetime.now(UTC)
        noted = self._noted.get(token.id, token.last_used_at)
        if noted is not None and now - noted < _NOTED_EVERY:
            return
        self._noted[token.id] = now
        try:
            async with self._connected() as connection:
                await connection.execute(USED.encode(), {"id": token.id})
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            del self._noted[token.id]
            _log.warning("use of a token not noted", extra={"token": token.name, "error": " ".join(str(error).split())})

    async def _read_again(self) -> None:
        """One look for all who ask meanwhile; where it fails, it has failed for all of them."""
        if self._clock() - self._read_at < SEEN_SECONDS:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
            # Said to those who wait; if all of them went away, to nobody.
            self._reading.add_done_callback(lambda look: look.cancelled() or look.exception())
        # Whoever asked first may go away: the others wait for the same look.
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        began = self._clock()
        async with self._connected() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(SELECT_GOOD.encode())
            rows = await cursor.fetchall()
        self._known = {bytes(row.pop("sha256")): ApiToken.model_validate(row) for row in rows}
        self._read_at = began
        self._noted = {token.id: self._noted[token.id] for token in self._known.values() if token.id in self._noted}

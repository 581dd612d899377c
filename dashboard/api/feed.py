"""Tells whoever listens of each report and revision when it is published: one look at PostgreSQL for all listeners.

PostgreSQL wakes the feed up (``NOTIFY``, in the transaction that publishes). What is told is read from the table, so
that nothing is missed over an outage. A report may become visible after one that was published later, as
``published_at`` is when its transaction began: the feed looks back by more than such a transaction takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import AwareDatetime, BaseModel, ConfigDict

_log = logging.getLogger(__name__)

CHANNEL: Final = "etar_reports"
LOOK_BACK: Final = timedelta(seconds=10)
"""More than a request may take that publishes (``deps.DATABASE_SECONDS``)."""
AT_ONCE: Final = 1000
"""Publications of a page, and that a listener may be behind."""

_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 15.0
"""Without a wake-up: what notices that a connection has silently died."""

_PAGE = """
    SELECT stream, minute, revision, published_at FROM reports
    WHERE (published_at, stream, minute, revision)
        > (%(published_at)s, %(stream)s, %(minute)s::timestamptz, %(revision)s)
      AND (%(streams)s::text[] IS NULL OR stream = ANY(%(streams)s::text[]))
    ORDER BY published_at, stream, minute, revision LIMIT %(limit)s
"""


class Publication(BaseModel):
    """A revision of a minute's report that was published; ``GET /report`` has the report itself."""

    model_config = ConfigDict(frozen=True)

    stream: str
    minute: AwareDatetime
    revision: int
    published_at: AwareDatetime


async def published_since(
    connection: AsyncConnection[Any], since: datetime, streams: Collection[str] | None = None
) -> AsyncIterator[Publication]:
    """In their order; of these streams, or of all."""
    last = Publication(stream="", minute=datetime.min.replace(tzinfo=UTC), revision=0, published_at=since)
    wanted = list(streams) if streams is not None else None
    while True:
        async with connection.cursor(row_factory=class_row(Publication)) as cursor:
            await cursor.execute(_PAGE.encode(), {**last.model_dump(), "streams": wanted, "limit": AT_ONCE})
            page = await cursor.fetchall()
        for last in page:
            yield last
        if len(page) < AT_ONCE:
            return


class ReportFeed:
    """Looks while somebody listens.

    Args:
        connect: makes a connection of the feed's own, with ``autocommit``.
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection[Any]]]) -> None:
        self._connect = connect
        self._listeners: set[asyncio.Queue[Publication | None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._working = asyncio.Event()

    @asynccontextmanager
    async def listening(self, timeout_seconds: float) -> AsyncIterator[AsyncIterator[Publication]]:
        """What is published from now on, of all streams; it ends where the feed fails, or where ``AT_ONCE`` of them are
        not taken.

        Raises:
            TimeoutError: PostgreSQL does not answer in time.
        """
        queue: asyncio.Queue[Publication | None] = asyncio.Queue()
        self._listeners.add(queue)
        if self._looking is None or self._looking.done():
            self._working = asyncio.Event()
            self._looking = asyncio.create_task(self._look_on(self._working))
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._working.wait()
            yield _until_none(queue)
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look_on(self, working: asyncio.Event) -> None:
        since: datetime | None = None
        told: set[Publication] = set()
        away = False
        try:
            while True:
                try:
                    async with await self._connect() as connection:
                        await connection.execute(f"LISTEN {CHANNEL}".encode())
                        if since is None:
                            since = await _now(connection) - LOOK_BACK
                            told = {each async for each in published_since(connection, since)}
                        if away:
                            _log.warning("report store is back, listeners are told what they missed")
                            away = False
                        working.set()
                        while True:
                            since, told = await self._tell_since(connection, since, told)
                            async for _ in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                                pass
                except psycopg.OperationalError as error:
                    working.clear()
                    if not away:
                        _log.warning("report store away, listeners wait", extra={"error": " ".join(str(error).split())})
                        away = True
                    await asyncio.sleep(_AGAIN_SECONDS)
        except Exception:
            _log.exception("the feed of reports has failed; its listeners are let go, and may come again")
            working.set()
            for queue in self._listeners:
                queue.put_nowait(None)

    async def _tell_since(
        self, connection: AsyncConnection[Any], since: datetime, told: set[Publication]
    ) -> tuple[datetime, set[Publication]]:
        """Tell of what is not in ``told``; returns both for the next time."""
        next_since = await _now(connection) - LOOK_BACK
        found = [each async for each in published_since(connection, since)]
        for publication in found:
            if publication not in told:
                self._tell(publication)
        return next_since, {each for each in found if each.published_at > next_since}

    def _tell(self, publication: Publication) -> None:
        for queue in list(self._listeners):
            if queue.qsize() < AT_ONCE:
                queue.put_nowait(publication)
            else:
                self._listeners.discard(queue)
                queue.put_nowait(None)


async def _until_none(queue: asyncio.Queue[Publication | None]) -> AsyncIterator[Publication]:
    while (publication := await queue.get()) is not None:
        yield publication


async def _now(connection: AsyncConnection[Any]) -> datetime:
    """By PostgreSQL's clock, as ``published_at``."""
    row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None  # noqa: S101
    now: datetime = row[0]
    return now

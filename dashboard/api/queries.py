"""Every SQL statement of the report API, each with bound parameters, each as one function of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from dashboard.api.bodies import answer, stored_model
from etar.ledger import LedgerEntry, MinuteHistory, State
from etar.report import MinuteReport

Answer = dict[str, Any]
"""A report with its revision, as it is served."""

_COLUMNS = "content, revision, published_at"

# Posts of one minute go one after the other; posts of different minutes do not wait for each other. Each statement
# after the lock sees what the last holder committed (READ COMMITTED).
_LOCK_MINUTE = """
    SELECT pg_advisory_xact_lock(hashtextextended(%(stream)s, extract(epoch FROM %(minute)s::timestamptz)::bigint))
"""

# Content is compared as jsonb: the order of keys does not matter.
_CURRENT_IF_SAME = f"""
    SELECT {_COLUMNS} FROM (
        SELECT {_COLUMNS} FROM reports
        WHERE stream = %(stream)s AND minute = %(minute)s
        ORDER BY revision DESC LIMIT 1
    ) AS latest
    WHERE content = %(content)s
"""

_INSERT_NEXT = f"""
    INSERT INTO reports (stream, minute, revision, content)
    SELECT %(stream)s, %(minute)s, coalesce(max(revision), 0) + 1, %(content)s
    FROM reports WHERE stream = %(stream)s AND minute = %(minute)s
    RETURNING {_COLUMNS}
"""

_NEWEST = f"""
    SELECT {_COLUMNS} FROM reports
    WHERE stream = %(stream)s
    ORDER BY minute DESC, revision DESC LIMIT 1
"""

_OF_MINUTE = f"""
    SELECT {_COLUMNS} FROM reports
    WHERE stream = %(stream)s AND minute = %(minute)s
      AND (%(revision)s::integer IS NULL OR revision = %(revision)s)
    ORDER BY revision DESC LIMIT 1
"""

_BETWEEN = f"""
    SELECT {_COLUMNS} FROM (
        SELECT DISTINCT ON (minute) minute, {_COLUMNS} FROM reports
        WHERE stream = %(stream)s
          AND minute >= coalesce(%(start)s::timestamptz, '-infinity')
          AND minute < coalesce(%(end)s::timestamptz, 'infinity')
        ORDER BY minute DESC, revision DESC LIMIT %(limit)s
    ) AS newest
    ORDER BY minute
"""

_ENTRY = ", ".join(LedgerEntry.model_fields)

_MINUTES_BETWEEN = f"""
    SELECT {_ENTRY} FROM (
        SELECT {_ENTRY} FROM minutes
        WHERE stream = %(stream)s
          AND minute >= coalesce(%(start)s::timestamptz, '-infinity')
          AND minute < coalesce(%(end)s::timestamptz, 'infinity')
          AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s::text[]))
        ORDER BY minute DESC LIMIT %(limit)s
    ) AS newest
    ORDER BY minute
"""

_MINUTE = f"""
    SELECT {_ENTRY} FROM minutes
    WHERE stream = %(stream)s AND minute = %(minute)s
"""

_MINUTE_REVISIONS = f"""
    SELECT {_ENTRY} FROM minute_revisions
    WHERE stream = %(stream)s AND minute = %(minute)s
    ORDER BY revision
"""


# The newest minute of each stream costs one look into the index.
_NEWEST_MINUTES = """
    WITH RECURSIVE reported AS (
        (SELECT stream FROM reports ORDER BY stream LIMIT 1)
        UNION ALL
        SELECT (SELECT stream FROM reports WHERE stream > reported.stream ORDER BY stream LIMIT 1)
        FROM reported WHERE reported.stream IS NOT NULL
    )
    SELECT stream, (SELECT max(minute) FROM reports WHERE reports.stream = reported.stream) AS minute
    FROM reported WHERE stream IS NOT NULL
"""


async def publish(connection: AsyncConnection[Any], report: MinuteReport) -> tuple[Answer, bool]:
    """Keep a report, and say whether that made a new revision of its minute.

    The content that the minute already has is no new revision. Content that an *earlier* revision had is one: whoever
    posts computed it from what is there now, and the newest computation is what has to be served. Committed on return.
    """
    parameters = {
        "stream": report.stream,
        "minute": report.minute,
        "content": Jsonb(report.model_dump(mode="json")),
    }
    async with connection.transaction():
        await connection.execute(_LOCK_MINUTE, parameters)
        known = await _fetch(connection, _CURRENT_IF_SAME, parameters)
        if known:
            return known[0], False
        return (await _fetch(connection, _INSERT_NEXT, parameters))[0], True


async def newest(connection: AsyncConnection[Any], stream: str) -> Answer | None:
    """The latest revision of the newest minute, whenever it arrived."""
    found = await _fetch(connection, _NEWEST, {"stream": stream})
    return found[0] if found else None


async def of_minute(
    connection: AsyncConnection[Any], stream: str, minute: datetime, revision: int | None = None
) -> Answer | None:
    """One revision of a minute's report; the latest unless told."""
    found = await _fetch(connection, _OF_MINUTE, {"stream": stream, "minute": minute, "revision": revision})
    return found[0] if found else None


async def between(
    connection: AsyncConnection[Any], stream: str, start: datetime | None, end: datetime | None, limit: int
) -> list[Answer]:
    """Latest revisions of the newest ``limit`` minutes in ``[start, end)``, oldest first."""
    return await _fetch(connection, _BETWEEN, {"stream": stream, "start": start, "end": end, "limit": limit})


async def newest_minutes(connection: AsyncConnection[Any]) -> dict[str, datetime]:
    """By stream, the newest minute that has a report, of every stream that has one."""
    return {row["stream"]: row["minute"] for row in await _rows(connection, _NEWEST_MINUTES, {})}


async def minutes_between(
    connection: AsyncConnection[Any],
    stream: str,
    *,
    start: datetime | None,
    end: datetime | None,
    states: Sequence[State],
    limit: int,
) -> list[LedgerEntry]:
    """The ledger's newest ``limit`` minutes in ``[start, end)`` that are in one of ``states``, oldest first.

    Without ``states``: in any.
    """
    parameters = {"stream": stream, "start": start, "end": end, "states": list(states) or None, "limit": limit}
    return [LedgerEntry(**row) for row in await _rows(connection, _MINUTES_BETWEEN, parameters)]


async def minute_with_history(connection: AsyncConnection[Any], stream: str, minute: datetime) -> MinuteHistory | None:
    """What the ledger says of a minute now, and of each of its revisions; None while it has no row."""
    parameters = {"stream": stream, "minute": minute}
    async with connection.transaction():
        # One snapshot: a revision that is recorded between the two statements is in both or in neither.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = await _rows(connection, _MINUTE, parameters)
        if not found:
            return None
        revisions = await _rows(connection, _MINUTE_REVISIONS, parameters)
        return MinuteHistory.model_validate(found[0] | {"revisions": revisions})


async def check(connection: AsyncConnection[Any]) -> None:
    """Raise what any other query would raise if the database were away or its tables missing."""
    await connection.execute("SELECT FROM reports, minutes LIMIT 0")


async def _fetch(connection: AsyncConnection[Any], query: str, parameters: dict[str, Any]) -> list[Answer]:
    model = stored_model(parameters["stream"])
    return [
        answer(row["content"], model=model, revision=row["revision"], published_at=row["published_at"])
        for row in await _rows(connection, query, parameters)
    ]


async def _rows(connection: AsyncConnection[Any], query: str, parameters: dict[str, Any]) -> list[DictRow]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()

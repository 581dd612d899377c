"""Every SQL statement of the report API, each with bound parameters, each as one function of a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime, time
from functools import cache, partial
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import ProgrammingError, ReadOnlySqlTransaction
from psycopg.rows import DictRow, dict_row
from psycopg.sql import Composed
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from dashboard.api.bodies import answer, stored_model
from dashboard.api.feed import CHANNEL
from dashboard.api.metrics import METRICS
from etar.account import (
    Account,
    Audited,
    Books,
    Counted,
    Range,
    account_of,
    compared_part,
    due_before,
    verified_through,
)
from etar.alerts.board import SELECT_BOARD, SELECT_LOOK, Board, Look
from etar.job_progress import NEWEST as NEWEST_PROGRESS
from etar.job_progress import JobProgress, told
from etar.ledger import FAILED_TOLD_FOR, LedgerEntry, MinuteHistory, State
from etar.minute import MinuteWindow
from etar.pipeline.standing import Begun
from etar.report import MinuteReport
from etar.settings import PipelineSettings
from etar.stream_code import StreamCodeError
from etar.streams import Stream
from etar.windows import StreamWindows
from etar.windows import newest as newest_windows


class Answer(NamedTuple):
    """A report with its revision, as it is served: JSON."""

    minute: datetime
    revision: int
    body: bytes


_STORED = "minute, content, revision, published_at"
_COLUMNS = "minute, content::text, revision, published_at"

# Posts of one minute go one after the other; posts of different minutes do not wait for each other. Each statement
# after the lock sees what the last holder committed (READ COMMITTED).
_LOCK_MINUTE = """
    SELECT pg_advisory_xact_lock(hashtextextended(%(stream)s, extract(epoch FROM %(minute)s::timestamptz)::bigint))
"""

# Content is compared as jsonb: the order of keys does not matter.
_CURRENT_IF_SAME = f"""
    SELECT {_COLUMNS} FROM (
        SELECT {_STORED} FROM reports
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
        SELECT DISTINCT ON (minute) {_STORED} FROM reports
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

_BEGUN = ", ".join(field.name for field in fields(Begun))

_DAY = f"""
    SELECT {_BEGUN} FROM minutes
    WHERE stream = %(stream)s AND minute >= %(day)s::timestamptz AND minute < %(day)s::timestamptz + interval '24 hours'
"""

_NEWEST_BEGUN = """
    SELECT max(minute) AS minute FROM minutes WHERE stream = %(stream)s
"""

_REVISIONS = f"""
    SELECT {_COLUMNS} FROM (
        SELECT {_STORED} FROM reports
        WHERE stream = %(stream)s AND minute = %(minute)s
        ORDER BY revision DESC LIMIT %(limit)s
    ) AS newest
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
    SELECT stream, (SELECT max(minute) FROM reports WHERE reports.stream = reported.stream) AS newest_minute
    FROM reported WHERE stream IS NOT NULL
"""


# What each partition of each stream is audited through costs one look into the index, and another to find the next.
_AUDITED_THROUGH = """
    WITH RECURSIVE partitions AS (
        (SELECT stream, "partition" FROM audited_offsets ORDER BY stream, "partition" LIMIT 1)
        UNION ALL
        SELECT following.* FROM partitions, LATERAL (
            SELECT stream, "partition" FROM audited_offsets
            WHERE (stream, "partition") > (partitions.stream, partitions."partition")
            ORDER BY stream, "partition" LIMIT 1
        ) AS following
    )
    SELECT stream, min(through) AS audited_through FROM (
        SELECT stream, (
            SELECT max(minute) + interval '1 minute' FROM audited_offsets
            WHERE stream = partitions.stream AND "partition" = partitions."partition"
        ) AS through FROM partitions
    ) AS of_partitions
    GROUP BY stream
"""

_LOST = """
    SELECT stream, sum(lost)::bigint AS lost FROM audited_offsets
    WHERE lost > 0 AND lost_accepted_at IS NULL GROUP BY stream
"""

_FAILED = """
    SELECT stream, count(*) AS failed, min(minute) AS first_failed FROM minutes
    WHERE state = 'failed' AND minute >= now() - %(failed_told_for)s GROUP BY stream
"""

_STANDINGS = f"""
    SELECT stream, newest_minute, audited_through, coalesce(lost, 0) AS lost, coalesce(failed, 0) AS failed,
        first_failed
    FROM ({_NEWEST_MINUTES}) AS reported
    FULL JOIN ({_AUDITED_THROUGH}) AS audited USING (stream)
    FULL JOIN ({_LOST}) AS missing USING (stream)
    FULL JOIN ({_FAILED}) AS given_up USING (stream)
"""


# By log and partition, each costs one look into the index to find, one for its first minute and one for its last.
_AUDITED = """
    WITH RECURSIVE logs AS (SELECT logs_of(%(stream)s) AS log), partitions AS (
        SELECT log, (SELECT min("partition") FROM audited_offsets WHERE stream = log) AS number FROM logs
        UNION ALL
        SELECT log, (SELECT min("partition") FROM audited_offsets WHERE stream = log AND "partition" > number)
        FROM partitions WHERE number IS NOT NULL
    )
    SELECT number, log <> %(stream)s AS ended, first.minute AS first, first.first_offset,
        last.minute + interval '1 minute' AS through
    FROM partitions,
        LATERAL (
            SELECT minute, first_offset FROM audited_offsets
            WHERE stream = log AND "partition" = number ORDER BY minute LIMIT 1
        ) AS first,
        LATERAL (
            SELECT minute FROM audited_offsets
            WHERE stream = log AND "partition" = number ORDER BY minute DESC LIMIT 1
        ) AS last
    ORDER BY first.minute
"""

# The newest revisions of the minutes that what arrived in the range may be of.
_REVISIONS_OF_ARRIVALS = """
    SELECT DISTINCT ON (minute) received, unique_events, arrivals FROM minute_revisions
    WHERE stream = %(stream)s AND minute >= %(oldest)s AND minute <= %(newest)s
    ORDER BY minute, revision DESC
"""

_COUNTED = f"""
    WITH newest AS ({_REVISIONS_OF_ARRIVALS}), reported AS (
        SELECT arrived.key::timestamptz AS minute, counts.key::integer AS "partition",
            sum(counts.value::bigint) AS counted
        FROM newest, jsonb_each(arrivals) AS arrived, jsonb_each_text(arrived.value) AS counts
        WHERE arrived.key::timestamptz >= %(first)s AND arrived.key::timestamptz < %(end)s
        GROUP BY 1, 2
    ), closed AS (
        SELECT minute, "partition", sum(end_offset - first_offset) AS offsets, sum("rows") AS stored,
            sum(dead_letters) AS dead_letters, bool_or(too_late IS NULL AND dead_letters > 0) AS not_told_apart,
            sum(too_late) AS too_late, sum(no_record) AS no_record, sum(lost) AS lost
        FROM audited_offsets
        WHERE stream IN (SELECT logs_of(%(stream)s)) AND minute >= %(first)s AND minute < %(end)s
        GROUP BY minute, "partition"
    ), compared AS (
        SELECT minute, "partition", offsets, dead_letters, not_told_apart, too_late, no_record, lost,
            coalesce(counted, 0) AS counted,
            greatest(coalesce(stored, 0) - coalesce(counted, 0), 0) AS not_reported,
            greatest(coalesce(counted, 0) - coalesce(stored, 0), 0) AS only_reported
        FROM closed FULL JOIN reported USING (minute, "partition")
    )
    SELECT "partition" AS number, count(offsets) AS minutes, coalesce(sum(offsets), 0)::bigint AS offsets,
        coalesce(sum(dead_letters), 0)::bigint AS dead_letters,
        CASE WHEN NOT coalesce(bool_or(not_told_apart), false) THEN coalesce(sum(too_late), 0)::bigint END AS too_late,
        coalesce(sum(no_record), 0)::bigint AS no_record, coalesce(sum(lost), 0)::bigint AS lost,
        sum(counted)::bigint AS in_reports, sum(not_reported)::bigint AS not_reported,
        coalesce(sum(not_reported) FILTER (WHERE minute < %(due_before)s), 0)::bigint AS overdue,
        sum(only_reported)::bigint AS only_reported
    FROM compared GROUP BY "partition"
"""

# Which of two equal rows is the duplicate nobody notes: of each minute, the rows that came last are taken for it.
_EVENTS = f"""
    SELECT coalesce(sum(least(unique_events, before_end) - least(unique_events, before_first)), 0)::bigint AS events,
        count(*) FILTER (WHERE arrivals IS NULL AND received > 0) AS without_arrivals
    FROM ({_REVISIONS_OF_ARRIVALS}) AS newest, LATERAL (
        SELECT coalesce(sum(counts.value::bigint) FILTER (WHERE arrived.key::timestamptz < %(end)s), 0) AS before_end,
            coalesce(sum(counts.value::bigint) FILTER (WHERE arrived.key::timestamptz < %(first)s), 0) AS before_first
        FROM jsonb_each(arrivals) AS arrived, jsonb_each_text(arrived.value) AS counts
    ) AS rows_of
"""

_TOPIC_AND_REPAIRS = """
    SELECT (
        SELECT settled_offsets FROM minutes
        WHERE stream = %(stream)s AND settled_offsets IS NOT NULL ORDER BY minute DESC LIMIT 1
    ) AS settled_offsets, (SELECT max(noted_at) FROM audit_repairs WHERE stream = %(stream)s) AS repaired_at
"""


class Standing(NamedTuple):
    """What is known of a stream as a whole; ``failed`` minutes are those of :data:`FAILED_TOLD_FOR`, ``first_failed``
    is the oldest."""

    newest_minute: datetime | None = None
    audited_through: datetime | None = None
    lost: int = 0
    failed: int = 0
    first_failed: datetime | None = None


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
        inserted = await _fetch(connection, _INSERT_NEXT, parameters)
        await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return inserted[0], True


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


async def standings(connection: AsyncConnection[Any]) -> dict[str, Standing]:
    """By stream, of every stream that there is something to say of."""
    rows = await _rows(connection, _STANDINGS, {"failed_told_for": FAILED_TOLD_FOR})
    return {row.pop("stream"): Standing(**row) for row in rows}


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


async def begun_on(connection: AsyncConnection[Any], stream: str, day: date) -> tuple[list[Begun], datetime | None]:
    """What the ledger says of a UTC day's minutes, and its newest minute of any day, which is none of an older day."""
    start = datetime.combine(day, time(), UTC)
    found = [
        Begun(**row | {"state": State(row["state"])})
        for row in await _rows(connection, _DAY, {"stream": stream, "day": start})
    ]
    newest = (await _rows(connection, _NEWEST_BEGUN, {"stream": stream}))[0]["minute"]
    return found, newest


async def revisions(connection: AsyncConnection[Any], stream: str, minute: datetime, limit: int) -> list[Answer]:
    """The newest ``limit`` revisions of a minute's report, oldest first."""
    return await _fetch(connection, _REVISIONS, {"stream": stream, "minute": minute, "limit": limit})


async def windows(
    connection: AsyncConnection[Any],
    stream: Stream,
    *,
    start: datetime | None,
    end: datetime | None,
    group: str | None,
    limit: int,
) -> StreamWindows:
    """The newest ``limit`` live windows that begin in ``[start, end)``; with ``group`` only those that have it.

    Raises:
        StreamCodeError: the stream has none, or its table is not as its definition says.
    """
    declared = stream.windows
    if declared is None:
        raise StreamCodeError(f"stream {stream.name} has no live windows")
    parameters = {"start": start, "end": end, "group": group, "limit": limit}
    async with connection.transaction():
        # The table's name is anybody's: whatever it is, it is only read.
        await connection.execute("SET TRANSACTION READ ONLY")
        try:
            rows = await _rows(connection, newest_windows(declared, of_group=group is not None), parameters)
            return StreamWindows.of(stream.name, declared, rows)
        except (ProgrammingError, ReadOnlySqlTransaction, ValidationError) as error:
            raise StreamCodeError(
                f"the live windows of stream {stream.name} cannot be read: {error}; make their table with "
                "`etar bootstrap`, or mend [windows] of its stream.toml"
            ) from error


async def job_progress(connection: AsyncConnection[Any]) -> dict[str, tuple[JobProgress, float]]:
    """By job, what it last told and how many seconds ago."""
    return told(await _rows(connection, NEWEST_PROGRESS, {}))


async def alert_look(connection: AsyncConnection[Any]) -> Look | None:
    """The newest look at the alerts; None: there was none yet."""
    found = await _rows(connection, SELECT_LOOK, {})
    return Look.model_validate(found[0]) if found else None


async def alert_board(connection: AsyncConnection[Any], look: Look | None) -> Board:
    """How the alerts stand, as of this look."""
    return Board.of(await _rows(connection, SELECT_BOARD, {}), look)


async def account(
    connection: AsyncConnection[Any],
    stream: str,
    choose: Callable[[datetime | None], Range],
    *,
    now: datetime,
    pipeline: PipelineSettings,
) -> Account:
    """What arrived in a range of minutes, and what became of it.

    Args:
        choose: the range, by what is audited.
    """
    async with connection.transaction():
        # One snapshot: a minute that is closed, or reported, meanwhile is seen on both sides or on neither.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        audited = _by_partition(await _rows(connection, _AUDITED, {"stream": stream}))
        asked = choose(verified_through(audited))
        compared = compared_part(asked, verified_through(audited))
        bound = {
            "stream": stream,
            "first": compared.first.start,
            "end": compared.end.start,
            "oldest": MinuteWindow.containing(compared.first.start - pipeline.horizon).start,
            "newest": compared.end.start + pipeline.max_ahead,
            "due_before": due_before(now, pipeline),
        }
        counted = {row.pop("number"): Counted(**row) for row in await _rows(connection, _COUNTED, bound)}
        (events,) = await _rows(connection, _EVENTS, bound)
        (beside,) = await _rows(connection, _TOPIC_AND_REPAIRS, bound)
    books = Books(
        audited=audited,
        counted=counted,
        topic=frozenset(map(int, beside["settled_offsets"] or {})),
        events=events["events"],
        reports_without_arrivals=events["without_arrivals"],
        repaired_at=beside["repaired_at"],
    )
    return account_of(stream, asked, books, now=now, pipeline=pipeline)


def _by_partition(rows: Sequence[DictRow]) -> dict[int, Audited]:
    """Of each partition, over all logs that had it; ``rows`` are in their order."""
    found: dict[int, Audited] = {}
    for row in rows:
        number, each = row["number"], Audited(row["first"], row["first_offset"], row["through"], row["ended"])
        before = found.setdefault(number, each)
        ended = before.ended and each.ended
        through = max(before.through, each.through) if before.ended or not each.ended else before.through
        found[number] = replace(before, through=through, ended=ended)
    return found


async def check(connection: AsyncConnection[Any]) -> None:
    """Raise what any other query would raise if the database were away or its tables missing."""
    await connection.execute("SELECT FROM reports, minutes LIMIT 0")


async def _fetch(connection: AsyncConnection[Any], query: str, parameters: dict[str, Any]) -> list[Answer]:
    model = cache(partial(stored_model, parameters["stream"]))  # looked for once, and only if an answer is not known
    rows = await _rows(connection, query, parameters)
    return [Answer(row.pop("minute"), row["revision"], answer(model=model, **row)) for row in rows]


async def _rows(connection: AsyncConnection[Any], query: str | Composed, parameters: dict[str, Any]) -> list[DictRow]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        with METRICS.query():
            await cursor.execute(query.encode() if isinstance(query, str) else query, parameters)
            return await cursor.fetchall()

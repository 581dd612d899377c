"""The facts of reconciling, asked anew each time: no watermark, so none that could be lost or be wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from etar import dead_letters
from etar.ledger import State, between
from etar.minute import MinuteWindow
from etar.pipeline.affected import MinuteFacts, ReportCounts
from etar.streams import OF_ANY_LOG, Stream

if TYPE_CHECKING:
    import psycopg

_MINUTES_PER_QUERY = 100
"""Bound parameters travel in the request's address, whose length is limited."""

_REPORTS = """
    SELECT DISTINCT ON (minute)
        minute, revision, (content ->> 'rows_read')::bigint, (content ->> 'total_events')::bigint
    FROM reports
    WHERE stream = %(stream)s AND minute >= %(first)s AND minute < %(end)s
    ORDER BY minute, revision DESC
"""

# Without FINAL and grouped by the partition key alone, this is answered from what the parts know about themselves.
_COPIES = """
    SELECT event_minute, count() FROM {table}
    WHERE event_minute >= {{first:DateTime('UTC')}} AND event_minute < {{end:DateTime('UTC')}}
    GROUP BY event_minute
"""

_ROWS = """
    SELECT event_minute, count() FROM {table} FINAL
    WHERE event_minute IN {{minutes:Array(DateTime('UTC'))}}
    GROUP BY event_minute
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""

# Bounds of the column's own type: with whole seconds the engine may pass over what came in the last second.
_LETTERS = """
    SELECT toStartOfMinute(_timestamp) AS minute, {count} FROM {table}
    WHERE {of_any_log}
      AND _timestamp >= {{first:DateTime64(3, 'UTC')}} AND _timestamp < {{end:DateTime64(3, 'UTC')}}
      {which}
    GROUP BY minute
"""


# Kafka's time of arrival stands in for the events': of rows that are gone, the auditor's counts are all there is.
_UNREPORTED_ARRIVALS = """
    SELECT arrived.minute, sum(arrived."rows")::bigint
    FROM audited_offsets AS arrived
    LEFT JOIN minutes ON minutes.stream = %(stream)s AND minutes.minute = arrived.minute
    WHERE arrived.stream IN (SELECT logs_of(%(stream)s)) AND arrived.minute >= %(first)s AND arrived.minute < %(end)s
      AND minutes.state IS DISTINCT FROM 'reported' AND minutes.state IS DISTINCT FROM 'failed'
      AND NOT EXISTS (SELECT FROM reports WHERE reports.stream = %(stream)s AND reports.minute = arrived.minute)
    GROUP BY arrived.minute HAVING sum(arrived."rows") > 0 ORDER BY arrived.minute
"""


class Warehouse(Protocol):
    """The part of a clickhouse-connect client that finding uses."""

    def query(self, query: str, parameters: dict[str, Any]) -> Any: ...


def read_facts(
    first: MinuteWindow,
    end: MinuteWindow,
    *,
    stream: Stream,
    connection: psycopg.Connection[Any],
    warehouse: Warehouse,
) -> list[MinuteFacts]:
    """The facts of every minute of ``[first, end)``, oldest first.

    Rows are counted exactly only where it matters: a count that includes copies of a record which the table has not
    merged yet costs next to nothing, and where that is what the ledger says, so is the truth. (Rows never leave a
    minute but with the whole of it.)
    """
    # Ledger and reports first: whatever arrives while the rest is read is then late, and not too few.
    entries = {entry.window: entry for entry in between(connection, stream, first, end)}
    reports = _reports(connection, stream, first, end)
    reported = {window: entry for window, entry in entries.items() if entry.state is State.REPORTED}

    rows = _counts(warehouse, _COPIES.format(table=stream.table), first=first.start, end=end.start)
    for some in _unlike(rows, {window: entry.received for window, entry in reported.items()}):
        rows |= dict.fromkeys(some, 0)
        rows |= _counts(warehouse, _ROWS.format(table=stream.table), minutes=[window.start for window in some])

    letters = _letters(warehouse, stream, first, end)
    for some in _unlike(letters, {window: entry.dead_letters for window, entry in reported.items()}):
        letters |= dict.fromkeys(some, 0)
        letters |= _letters(warehouse, stream, first, end, exactly=some)
    return [
        MinuteFacts(
            window=window,
            entry=entries.get(window),
            report=reports.get(window),
            rows=rows.get(window, 0),
            dead_letters=letters.get(window, 0),
        )
        for window in MinuteWindow.between(first, end)
    ]


def unreported_arrivals(
    connection: psycopg.Connection[Any], stream: Stream, first: MinuteWindow, end: MinuteWindow
) -> dict[MinuteWindow, int]:
    """Minutes of ``[first, end)`` in which rows arrived, how many, and of which there is neither a report nor, in the
    ledger, that they failed."""
    bound = {"stream": stream.name, "first": first.start, "end": end.start}
    with connection.transaction():
        found = connection.execute(_UNREPORTED_ARRIVALS.encode(), bound).fetchall()
    return {MinuteWindow(minute): rows for minute, rows in found}


def _reports(
    connection: psycopg.Connection[Any], stream: Stream, first: MinuteWindow, end: MinuteWindow
) -> dict[MinuteWindow, ReportCounts]:
    bound = {"stream": stream.name, "first": first.start, "end": end.start}
    with connection.transaction():
        found = connection.execute(_REPORTS.encode(), bound).fetchall()
    return {MinuteWindow(minute): ReportCounts(*counts) for minute, *counts in found}


def _letters(
    warehouse: Warehouse,
    stream: Stream,
    first: MinuteWindow,
    end: MinuteWindow,
    *,
    exactly: Collection[MinuteWindow] | None = None,
) -> dict[MinuteWindow, int]:
    """Dead letters by the minute they arrived in: with unmerged copies of all, or each once of some minutes."""
    bound: dict[str, Any] = {"topic": stream.topic, "first": first.start, "end": end.start}
    if exactly is None:
        return _counts(warehouse, _letters_query(count="count()", which=""), **bound)
    which = "AND minute IN {minutes:Array(DateTime('UTC'))}"
    query = _letters_query(count="uniqExact(_topic, _partition, _offset)", which=which)
    return _counts(warehouse, query, minutes=[window.start for window in exactly], **bound)


def _letters_query(*, count: str, which: str) -> str:
    return _LETTERS.format(table=dead_letters.TABLE, of_any_log=OF_ANY_LOG, count=count, which=which)


def _unlike(
    counted: Mapping[MinuteWindow, int], expected: Mapping[MinuteWindow, int | None]
) -> Iterator[list[MinuteWindow]]:
    """The minutes whose counts differ, so many at a time as a query names."""
    unlike = [window for window, count in expected.items() if counted.get(window, 0) != count]
    for first in range(0, len(unlike), _MINUTES_PER_QUERY):
        yield unlike[first : first + _MINUTES_PER_QUERY]


def _counts(warehouse: Warehouse, query: str, **parameters: Any) -> dict[MinuteWindow, int]:
    found: Sequence[tuple[datetime, int]] = warehouse.query(query, parameters=parameters).result_rows
    return {MinuteWindow(minute.replace(tzinfo=minute.tzinfo or UTC)): count for minute, count in found}

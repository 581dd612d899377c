"""What PostgreSQL says: the ledger, the auditor's marks and repairs, what became of dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

from etar import ledger
from etar.audit.placement import Repair
from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.settings import ReportStoreSettings
from etar.streams import Stream, Windows
from etar.verify.facts import ClosedOffsets, Offset, PlaceUnavailableError
from etar.verify.windows import GroupInPlaces, GroupRow, exact

if TYPE_CHECKING:
    from psycopg.sql import Composed


class Books:
    """What is kept about one stream's records in PostgreSQL. A context manager.

    Every method, and entering, raises:
        PlaceUnavailableError: the database is away, or answers with an error.
    """

    def __init__(self, settings: ReportStoreSettings, stream: Stream) -> None:
        self._settings = settings
        self._stream = stream

    def __enter__(self) -> Self:
        import psycopg

        try:
            self._connection = report_store_connection(self._settings)
        except psycopg.Error as error:
            raise self._unavailable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ledger(self, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, ledger.LedgerEntry]:
        """The ledger's rows of ``[first, end)``."""
        import psycopg

        try:
            return {entry.window: entry for entry in ledger.between(self._connection, self._stream, first, end)}
        except psycopg.Error as error:
            raise self._unavailable(error) from error

    def most_reported(self, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, int]:
        """The most rows that a revision counted, of each minute of ``[first, end)`` that was reported."""
        found = self._query(
            "SELECT minute, max(received) FROM minute_revisions "
            "WHERE stream = %(stream)s AND minute >= %(first)s AND minute < %(end)s GROUP BY minute",
            first=first.start,
            end=end.start,
        )
        return {MinuteWindow(minute): rows or 0 for minute, rows in found}

    def records_reported(self, windows: Iterable[MinuteWindow]) -> dict[MinuteWindow, dict[int, Span]]:
        """By minute and partition, the offsets from the first to the last record that was ever extracted."""
        found = self._query(
            "SELECT minute, key::integer, min((value ->> 'first')::bigint), max((value ->> 'last')::bigint) + 1 FROM "
            "(SELECT stream, minute, offsets FROM minutes UNION ALL SELECT stream, minute, offsets "
            "FROM minute_revisions) AS extracts, jsonb_each(offsets) "
            "WHERE stream = %(stream)s AND minute = ANY(%(minutes)s) GROUP BY minute, key",
            minutes=[window.start for window in windows],
        )
        spans: dict[MinuteWindow, dict[int, Span]] = {}
        for minute, partition, low, high in found:
            spans.setdefault(MinuteWindow(minute), {})[partition] = Span(low, high)
        return spans

    def rows_removed(self) -> dict[int, list[Span]]:
        """Offsets of rows that the auditor took out of the table, by partition; they may overlap. Those of former logs
        are among them, as their minutes are reported still."""
        found = self._query(
            'SELECT "partition", first_offset, end_offset FROM audit_repairs '
            "WHERE stream IN (SELECT logs_of(%(stream)s)) AND repair = %(repair)s",
            repair=Repair.ROW_REMOVED.value,
        )
        removed: dict[int, list[Span]] = {}
        for partition, low, high in found:
            removed.setdefault(partition, []).append(Span(low, high))
        return removed

    def closed(
        self, first: MinuteWindow, end: MinuteWindow, *, letters_from: MinuteWindow
    ) -> dict[int, list[ClosedOffsets]]:
        """What the auditor has closed of the arrival minutes ``[first, end)``, by partition.

        Args:
            letters_from: dead letters that arrived before may have left for their age, and count as none.
        """
        found = self._query(
            'SELECT "partition", first_offset, end_offset, '
            "CASE WHEN minute >= %(letters_from)s THEN dead_letters ELSE 0 END, no_record, lost FROM audited_offsets "
            "WHERE stream = %(stream)s AND minute >= %(first)s AND minute < %(end)s",
            first=first.start,
            end=end.start,
            letters_from=letters_from.start,
        )
        closed: dict[int, list[ClosedOffsets]] = {}
        for partition, low, high, *counts in found:
            closed.setdefault(partition, []).append(ClosedOffsets(Span(low, high), *counts))
        return closed

    def audited_topic(self) -> str | None:
        """Kafka's id of the topic that the audit's marks are of; None before the first audit."""
        found = self._query("SELECT topic_id FROM audited_topics WHERE stream = %(stream)s")
        return str(found[0][0]) if found else None

    def audited_through(self) -> datetime | None:
        """Everything that arrived before this instant is closed; None before the first audit."""
        ((last,),) = self._query(
            "SELECT min(last) FROM (SELECT max(minute) AS last FROM audited_offsets WHERE stream = %(stream)s "
            'GROUP BY "partition") AS of_partitions'
        )
        return MinuteWindow(last).end if last else None

    def replays(self, partition: int, span: Span) -> int:
        """How many of the records are replays of dead letters."""
        ((count,),) = self._query(
            'SELECT count(DISTINCT "offset") FROM replayed_records WHERE topic = %(topic)s '
            'AND "partition" = %(partition)s AND "offset" >= %(first)s AND "offset" < %(end)s',
            partition=partition,
            first=span.first,
            end=span.end,
        )
        return int(count)

    def unsettled_replays(self, partition: int, span: Span) -> list[Offset]:
        """Letters whose replay was interrupted, so that its record, if there is one, may be among these."""
        found = self._query(
            "SELECT of_partition, of_offset FROM dead_letter_replays WHERE sent_to = %(topic)s "
            "AND of_partition = %(partition)s AND search_from < %(end)s AND sent_at IS NULL AND withdrawn_at IS NULL "
            "ORDER BY of_offset",
            partition=partition,
            end=span.end,
        )
        return [(of_partition, of_offset) for of_partition, of_offset in found]

    def letters_not_open(self, offsets: Mapping[int, Span]) -> dict[str, list[Offset]]:
        """Dead letters among these records that a person has replayed or discarded, by that state."""
        found: dict[str, list[Offset]] = {}
        for partition, span in offsets.items():
            rows = self._query(
                'SELECT state, "offset" FROM dead_letter_states WHERE topic = %(topic)s '
                'AND "partition" = %(partition)s AND "offset" >= %(first)s AND "offset" < %(end)s',
                partition=partition,
                first=span.first,
                end=span.end,
            )
            for state, offset in rows:
                found.setdefault(state, []).append((partition, offset))
        return found

    def windows(self, declared: Windows, first: MinuteWindow, end: MinuteWindow) -> list[GroupInPlaces]:
        """The live windows that begin in ``[first, end)``, and the newest reports of these minutes, as both were at one
        instant; sorted by window. A minute with neither is left out."""
        from psycopg.sql import SQL, Identifier, Literal

        columns = [name for value in declared.values for name in (value.column, value.streamed)]
        said = SQL(", ").join(SQL("content -> {}").format(Literal(value.report)) for value in declared.values)
        query = SQL("""
            WITH reported AS (
                SELECT DISTINCT ON (minute) minute, revision AS reported, jsonb_build_array({said}) AS said
                FROM reports WHERE stream = %(stream)s AND minute >= %(first)s AND minute < %(end)s
                ORDER BY minute, revision DESC
            ), windows AS (
                SELECT window_start, window_end = window_start + interval '1 minute' AS a_minute, {by}::text AS named,
                    final, revision, {columns}
                FROM {table} WHERE window_start >= %(first)s AND window_start < %(end)s
            )
            SELECT coalesce(window_start, minute), a_minute, named, final, revision, reported, said, {columns}
            FROM windows FULL JOIN reported ON window_start = minute
            ORDER BY 1, named
        """).format(
            said=said,
            by=Identifier(declared.by),
            columns=SQL(", ").join(map(Identifier, columns)),
            table=Identifier(declared.table),
        )
        rows = self._query(query, first=first.start, end=end.start)
        return [group for _, of_window in groupby(rows, key=itemgetter(0)) for group in _groups(declared, of_window)]

    def _query(self, query: str | Composed, **bound: Any) -> Sequence[Sequence[Any]]:
        import psycopg

        names = {"stream": self._stream.name, "topic": self._stream.topic}
        try:
            asked = query.encode() if isinstance(query, str) else query
            return self._connection.execute(asked, names | bound).fetchall()
        except psycopg.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> PlaceUnavailableError:
        where = f"{self._settings.host}:{self._settings.port}"
        return PlaceUnavailableError(f"the report store at {where} does not answer: {error}")


def _groups(declared: Windows, of_window: Iterable[Sequence[Any]]) -> Iterator[GroupInPlaces]:
    """Of one window: the groups that the table has, and those that only the report names."""
    rows = list(of_window)
    start, _, _, _, _, reported, said = rows[0][:7]
    in_table = {row[2]: _row(declared, row) for row in rows if row[2] is not None}
    of_report = {
        value.column: each if isinstance(each, dict) else {}
        for value, each in zip(declared.values, said or [None] * len(declared.values), strict=True)
    }
    for group in sorted({*in_table, *chain.from_iterable(of_report.values())}):
        numbers = {column: exact(each.get(group)) for column, each in of_report.items()}
        yield GroupInPlaces(start, group, in_table.get(group), reported, numbers)


def _row(declared: Windows, row: Sequence[Any]) -> GroupRow:
    _, a_minute, _, final, revision, _, _, *numbers = row
    return GroupRow(
        now={value.column: now for value, now in zip(declared.values, numbers[::2], strict=True)},
        streamed={value.column: streamed for value, streamed in zip(declared.values, numbers[1::2], strict=True)},
        final=final,
        revision=revision,
        ends_after_a_minute=a_minute,
    )

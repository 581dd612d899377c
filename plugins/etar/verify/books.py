"""What PostgreSQL says: the ledger, the auditor's marks and repairs, what became of dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from etar import ledger
from etar.audit.placement import Repair
from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from etar.verify.facts import ClosedOffsets, Offset, PlaceUnavailableError


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

    def _query(self, query: str, **bound: Any) -> Sequence[Sequence[Any]]:
        import psycopg

        names = {"stream": self._stream.name, "topic": self._stream.topic}
        try:
            return self._connection.execute(query.encode(), names | bound).fetchall()
        except psycopg.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> PlaceUnavailableError:
        where = f"{self._settings.host}:{self._settings.port}"
        return PlaceUnavailableError(f"the report store at {where} does not answer: {error}")

"""What PostgreSQL says: of a minute, and of a record what the auditor and people did about it. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from etar import ledger
from etar.clients import report_store_connection
from etar.dead_letters.journal import Journal
from etar.dead_letters.letters import LetterId, State
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from etar.trace.facts import ClosedPiece, MinuteBooks, RecordBooks, RecordId, ReplaySent

if TYPE_CHECKING:
    import psycopg


class Books:
    """Of one stream. A context manager; connects on first use. Every method raises:

    psycopg.Error: no answer.
    """

    def __init__(self, settings: ReportStoreSettings, stream: Stream) -> None:
        self._settings = settings
        self._stream = stream
        self._connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def minute(self, window: MinuteWindow) -> MinuteBooks:
        """The minute's row of the ledger, its history, and when each revision of its report was published."""
        connection = self._connected()
        # The history first: a revision that is published meanwhile is then in neither, or without its history.
        revisions = ledger.revisions(connection, self._stream, window)
        entries = ledger.between(connection, self._stream, window, window.next)
        published = self._query(
            "SELECT revision, published_at FROM reports WHERE stream = %(stream)s AND minute = %(minute)s",
            minute=window.start,
        )
        return MinuteBooks(entries[0] if entries else None, revisions, dict(published))

    def record(self, record: RecordId) -> RecordBooks:
        """What was done about one record."""
        place = {"partition": record.partition, "offset": record.offset}
        # Marks are kept under the stream's name, and those of a log that has ended under the log's.
        audited = self._stream.name if record.log == self._stream.topic else record.log
        closed = self._query(
            'SELECT minute, first_offset, end_offset, "rows", dead_letters, no_record, lost, closed_at '
            'FROM audited_offsets WHERE stream = %(audited)s AND "partition" = %(partition)s '
            "AND first_offset <= %(offset)s AND end_offset > %(offset)s",
            audited=audited,
            **place,
        )
        ((last,),) = self._query(
            'SELECT max(minute) FROM audited_offsets WHERE stream = %(audited)s AND "partition" = %(partition)s',
            audited=audited,
            partition=record.partition,
        )
        repairs = self._query(
            'SELECT repair, reason, noted_at FROM audit_repairs WHERE stream = %(audited)s AND "partition" = '
            "%(partition)s AND first_offset <= %(offset)s AND end_offset > %(offset)s ORDER BY noted_at",
            audited=audited,
            **place,
        )
        sent_as = self._query(
            "SELECT topic, of_partition, of_offset FROM dead_letter_replays WHERE sent_to = %(log)s "
            "AND of_partition = %(partition)s AND sent_offset = %(offset)s",
            log=record.log,
            **place,
        )
        letter = LetterId(record.partition, record.offset)
        journal = Journal(self._connected(), record.log)
        return RecordBooks(
            closed=_piece(closed[0]) if closed else None,
            mark=MinuteWindow(last).next if last else None,
            repairs=[(str(repair), str(reason), at) for repair, reason, at in repairs],
            state=journal.states([letter]).get(letter, State.OPEN),
            changes=journal.history(letter),
            replays=[
                ReplaySent(
                    record,
                    None if sent.offset is None else RecordId(sent.log, record.partition, sent.offset),
                    sent.begun_at,
                    sent.sent_at,
                    sent.withdrawn_at,
                )
                for sent in journal.replays(letter)
            ],
            replay_of=RecordId(*sent_as[0]) if sent_as else None,
        )

    def _query(self, query: str, **bound: Any) -> list[tuple[Any, ...]]:
        return self._connected().execute(query.encode(), {"stream": self._stream.name} | bound).fetchall()

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            connection = report_store_connection(self._settings, reading=True)
            connection.autocommit = True
            self._connection = connection
        return self._connection


def _piece(row: Sequence[Any]) -> ClosedPiece:
    minute, first, end, rows, letters, no_record, lost, closed_at = row
    return ClosedPiece(MinuteWindow(minute), Span(first, end), rows, letters, no_record, lost, closed_at)

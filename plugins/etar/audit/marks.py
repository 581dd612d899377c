"""The auditor's own books in PostgreSQL: its marks, what it repaired, and the lock that keeps audits apart."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from etar.audit.pieces import Mark, Piece
from etar.audit.placement import Repair
from etar.errors import TransientError
from etar.minute import MinuteWindow
from etar.offsets import Span, runs
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg

_AUTHOR = "etar audit"

LOSS_ACCEPTED = "accepted"
"""The reason of a loss's note once a person has taken note of it and its minute was opened again."""


class AuditBusyError(TransientError):
    """Another audit of the stream is at work."""


@dataclass(frozen=True)
class Closed:
    """One partition and arrival minute, every one of its ``offsets`` accounted for; ``too_late`` are dead letters."""

    partition: int
    minute: MinuteWindow
    offsets: Span
    rows: int
    dead_letters: int
    no_record: int
    lost: int
    too_late: int = 0


def not_the_audited_topic(topic: str, *, audited: str | None, found: str) -> str:
    """What to say of a topic that was made anew under the same name."""
    return (
        f"the topic {topic!r} is not the one that was audited: Kafka knew that as {audited}, and this one is "
        f"{found}. It was made anew, or Kafka is another one: its offsets are not those of the records that are stored"
    )


class Marks:
    """Of one stream. Every change is committed before its method returns, over the connection that holds the lock: a
    connection that is lost takes the lock with it, and nothing more can be written by whoever believed to hold it."""

    def __init__(self, connection: psycopg.Connection[Any], stream: Stream) -> None:
        connection.autocommit = True
        self._connection = connection
        self._stream = stream

    @contextmanager
    def held(self, wait_seconds: float) -> Iterator[None]:
        """While inside, no other audit of the stream runs; waits for one that does.

        Raises:
            AuditBusyError: it took longer than ``wait_seconds``.
        """
        import psycopg

        lock = f"etar audit of {self._stream.name}"
        try:
            with self._connection.transaction():
                self._connection.execute(f"SET LOCAL lock_timeout = {int(wait_seconds * 1000)}")
                self._connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (lock,))
        except psycopg.errors.LockNotAvailable as error:
            raise AuditBusyError(
                f"another audit of {self._stream.name} has been at work for {wait_seconds:g} s; see its run of "
                "etar_audit in Airflow, or wait for it"
            ) from error
        try:
            yield
        finally:
            with suppress(psycopg.Error):  # a connection that is lost has lost the lock, too
                self._connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (lock,))

    def topic_id(self, found: str) -> str:
        """The topic that the marks are of; the one that was ``found``, from now on, where nobody has said so far."""
        self._connection.execute(
            "INSERT INTO audited_topics (stream, topic_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (self._stream.name, found),
        )
        rows = self._connection.execute(
            "SELECT topic_id FROM audited_topics WHERE stream = %s", (self._stream.name,)
        ).fetchall()
        return str(rows[0][0])

    def latest(self, partitions: Sequence[int]) -> dict[int, Mark]:
        """The mark of each partition that has one."""
        rows = self._connection.execute(
            'SELECT asked."partition", last.minute, last.end_offset FROM unnest(%s::integer[]) AS asked("partition"), '
            "LATERAL (SELECT minute, end_offset FROM audited_offsets WHERE stream = %s "
            'AND audited_offsets."partition" = asked."partition" ORDER BY minute DESC LIMIT 1) AS last',
            (list(partitions), self._stream.name),
        ).fetchall()
        return {partition: Mark(MinuteWindow(minute).next, end) for partition, minute, end in rows}

    def close(self, closed: Iterable[Closed]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                'INSERT INTO audited_offsets (stream, "partition", minute, first_offset, end_offset, "rows", '
                "dead_letters, no_record, lost, too_late) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                [
                    (
                        self._stream.name,
                        each.partition,
                        each.minute.start,
                        *each.offsets,
                        each.rows,
                        each.dead_letters,
                        each.no_record,
                        each.lost,
                        each.too_late,
                    )
                    for each in closed
                ],
            )

    def note(self, partition: int, repair: Repair, offsets: Mapping[int, str]) -> None:
        """Write down a repair of these offsets, of each once, however often it is made.

        Args:
            offsets: the letter's reason for each, or an empty text.
        """
        with self._connection.transaction():
            self._note(partition, repair, offsets)

    def note_gone_letters(
        self, partition: int, repair: Repair, letters: Mapping[int, str], *, recounted: Mapping[MinuteWindow, int]
    ) -> None:
        """Write down that these letters go, as their records are rows: here, and once in each letter's own history.

        Args:
            letters: the reason under which each was filed.
            recounted: dead letters that are left in minutes which are closed already.
        """
        from psycopg.types.json import Jsonb

        with self._connection.transaction():
            self._note(partition, repair, letters)
            self._connection.execute(
                'INSERT INTO dead_letter_changes (topic, "partition", "offset", action, changed_by, command, detail) '
                "SELECT %(topic)s, %(partition)s, letter.at, 'rescued', %(author)s, %(author)s, "
                "jsonb_build_object('reason', letter.reason) "
                "FROM jsonb_to_recordset(%(letters)s) AS letter(at bigint, reason text) "
                "WHERE NOT EXISTS (SELECT FROM dead_letter_changes AS earlier WHERE earlier.topic = %(topic)s "
                'AND earlier."partition" = %(partition)s AND earlier."offset" = letter.at '
                "AND earlier.action = 'rescued')",
                {
                    "topic": self._stream.topic,
                    "partition": partition,
                    "author": _AUTHOR,
                    "letters": Jsonb([{"at": offset, "reason": reason} for offset, reason in letters.items()]),
                },
            )
            for minute, left in recounted.items():
                self._connection.execute(
                    'UPDATE audited_offsets SET "rows" = "rows" + dead_letters - %(left)s, dead_letters = %(left)s, '
                    "too_late = CASE WHEN too_late > %(left)s THEN %(left)s ELSE too_late END "
                    'WHERE stream = %(stream)s AND "partition" = %(partition)s AND minute = %(minute)s',
                    {"left": left, "stream": self._stream.name, "partition": partition, "minute": minute.start},
                )

    def closed_around(self, partition: int, offsets: Iterable[int], *, since: datetime) -> list[Piece]:
        """The minutes that are closed, arrived ``since``, and hold any of ``offsets``."""
        rows = self._connection.execute(
            "SELECT minute, first_offset, end_offset FROM audited_offsets "
            'WHERE stream = %s AND "partition" = %s AND minute >= %s AND EXISTS (SELECT FROM unnest(%s::bigint[]) '
            "AS asked(at) WHERE at >= first_offset AND at < end_offset) ORDER BY minute",
            (self._stream.name, partition, since, list(offsets)),
        ).fetchall()
        return [Piece(partition, MinuteWindow(minute), Span(first, end)) for minute, first, end in rows]

    def lost(self) -> dict[tuple[str, int], list[Span]]:
        """Lost records that no person has taken note of, also of former logs, by log and partition."""
        rows = self._connection.execute(
            'SELECT repair.stream, repair."partition", repair.first_offset, repair.end_offset '
            "FROM audit_repairs AS repair JOIN audited_offsets AS closed ON closed.stream = repair.stream "
            'AND closed."partition" = repair."partition" AND repair.first_offset >= closed.first_offset '
            "AND repair.first_offset < closed.end_offset "
            "WHERE closed.stream IN (SELECT logs_of(%s)) AND closed.lost > 0 AND closed.lost_accepted_at IS NULL "
            "AND repair.repair = %s AND repair.reason <> %s "
            'ORDER BY repair.stream, repair."partition", repair.first_offset',
            (self._stream.name, Repair.LOST.value, LOSS_ACCEPTED),
        ).fetchall()
        found: dict[tuple[str, int], list[Span]] = {}
        for log, partition, first, end in rows:
            found.setdefault((log, partition), []).append(Span(first, end))
        return found

    def accept_lost(self) -> None:
        """A person has taken note of the losses known so far."""
        self._connection.execute(
            "UPDATE audited_offsets SET lost_accepted_at = now() "
            "WHERE stream IN (SELECT logs_of(%s)) AND lost > 0 AND lost_accepted_at IS NULL",
            (self._stream.name,),
        )

    def _note(self, partition: int, repair: Repair, offsets: Mapping[int, str]) -> None:
        # A pass that was cut off may have noted these in other runs, or under the reason that a letter had before.
        noted = self._noted(partition, repair, offsets)
        by_reason: dict[str, list[int]] = {}
        for offset, reason in offsets.items():
            if offset not in noted:
                by_reason.setdefault(reason, []).append(offset)
        with self._connection.cursor() as cursor:
            cursor.executemany(
                'INSERT INTO audit_repairs (stream, "partition", first_offset, end_offset, repair, reason) '
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [
                    (self._stream.name, partition, run.first, run.end, repair.value, reason)
                    for reason, those in by_reason.items()
                    for run in runs(those)
                ],
            )

    def _noted(self, partition: int, repair: Repair, offsets: Iterable[int]) -> frozenset[int]:
        """Those of ``offsets`` of which this repair is noted, under whatever reason."""
        ordered = sorted(offsets)
        if not ordered:
            return frozenset()
        rows = self._connection.execute(
            "SELECT first_offset, end_offset FROM audit_repairs "
            'WHERE stream = %s AND "partition" = %s AND repair = %s AND first_offset <= %s AND end_offset > %s',
            (self._stream.name, partition, repair.value, ordered[-1], ordered[0]),
        ).fetchall()
        return frozenset(
            offset for first, end in rows for offset in ordered[bisect_left(ordered, first) : bisect_left(ordered, end)]
        )

"""What was done about dead letters: states, fixes and replays, in PostgreSQL, each change with who made it and how."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from etar.dead_letters.letters import LetterId, State

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True)
class Author:
    """Who makes a change, and by which command."""

    name: str
    command: str

    @classmethod
    def of_this_process(cls, command: str) -> Author:
        """The operating system's user, whatever the environment says."""
        user = os.getuid()
        try:
            return cls(pwd.getpwuid(user).pw_name, command)
        except KeyError:
            return cls(f"uid {user}", command)


@dataclass(frozen=True)
class Change:
    """One line of a letter's history."""

    changed_at: datetime
    changed_by: str
    action: str
    command: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class BegunReplay:
    """One time that a letter's record was sent, or was about to be. ``offset``: in ``log``, in the letter's own
    partition; None while it is not known whether it is there."""

    log: str
    offset: int | None
    begun_at: datetime
    sent_at: datetime | None
    withdrawn_at: datetime | None


@dataclass(frozen=True)
class Replay:
    """A record that is to be sent, or was. ``search_from``: end of its partition before it was sent."""

    id: UUID
    of: LetterId
    key: bytes | None
    value: bytes | None
    search_from: int
    begun_at: datetime


class Journal:
    """States, fixes and replays of one topic's dead letters. Every change is committed before its method returns."""

    def __init__(self, connection: psycopg.Connection[Any], topic: str, *, sent_to: str | None = None) -> None:
        """``topic``: or the former log whose letters they are, with the topic that replays are ``sent_to``."""
        # Reads leave no transaction open behind them, and each write opens its own.
        connection.autocommit = True
        self._connection = connection
        self._topic = topic
        self._sent_to = sent_to or topic

    @contextmanager
    def held(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """While inside, nobody else changes this topic's letters; ``on_wait`` is called if somebody does right now."""
        lock = (f"etar dead letters of {self._topic}",)
        row = self._connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", lock).fetchone()
        if row != (True,):
            on_wait()
            self._connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", lock)
        try:
            yield
        finally:
            with suppress(Exception):  # a connection that is lost has lost the lock, too
                self._connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", lock)

    def now(self) -> datetime:
        """The clock that :attr:`Replay.begun_at` is of."""
        ((instant,),) = self._connection.execute("SELECT clock_timestamp()").fetchall()
        return instant  # type: ignore[no-any-return]

    def states(self, ids: Sequence[LetterId]) -> dict[LetterId, State]:
        """Of the letters among ``ids`` that are not open."""
        rows = self._connection.execute(
            'SELECT "partition", "offset", state FROM dead_letter_states '
            'JOIN unnest(%s::integer[], %s::bigint[]) AS asked("partition", "offset") USING ("partition", "offset") '
            "WHERE topic = %s",
            (*_columns(ids), self._topic),
        ).fetchall()
        return {LetterId(partition, offset): State(state) for partition, offset, state in rows}

    def fixes(self, ids: Sequence[LetterId]) -> dict[LetterId, bytes]:
        """The latest fixed value of those among ``ids`` that have one."""
        rows = self._connection.execute(
            'SELECT DISTINCT ON ("partition", "offset") "partition", "offset", value FROM dead_letter_changes '
            'JOIN unnest(%s::integer[], %s::bigint[]) AS asked("partition", "offset") USING ("partition", "offset") '
            'WHERE topic = %s AND value IS NOT NULL ORDER BY "partition", "offset", id DESC',
            (*_columns(ids), self._topic),
        ).fetchall()
        return {LetterId(partition, offset): value for partition, offset, value in rows}

    def replayed(self, ids: Sequence[LetterId]) -> dict[LetterId, tuple[bytes | None, datetime]]:
        """What was last sent of those among ``ids`` that were replayed, and when."""
        rows = self._connection.execute(
            "SELECT DISTINCT ON (of_partition, of_offset) of_partition, of_offset, value, begun_at "
            "FROM dead_letter_replays JOIN unnest(%s::integer[], %s::bigint[]) AS asked(of_partition, of_offset) "
            "USING (of_partition, of_offset) WHERE topic = %s AND withdrawn_at IS NULL "
            "ORDER BY of_partition, of_offset, begun_at DESC",
            (*_columns(ids), self._topic),
        ).fetchall()
        return {LetterId(partition, offset): (value, at) for partition, offset, value, at in rows}

    def history(self, letter: LetterId) -> list[Change]:
        """Every change of one letter, the oldest first."""
        rows = self._connection.execute(
            "SELECT changed_at, changed_by, action, command, detail FROM dead_letter_changes "
            'WHERE topic = %s AND "partition" = %s AND "offset" = %s ORDER BY id',
            (self._topic, *letter),
        ).fetchall()
        return [Change(*row) for row in rows]

    def replays(self, letter: LetterId) -> list[BegunReplay]:
        """Every replay of one letter, the oldest first."""
        rows = self._connection.execute(
            "SELECT sent_to, sent_offset, begun_at, sent_at, withdrawn_at FROM dead_letter_replays "
            "WHERE topic = %s AND of_partition = %s AND of_offset = %s ORDER BY begun_at",
            (self._topic, *letter),
        ).fetchall()
        return [BegunReplay(*row) for row in rows]

    def fixed(self, values: Mapping[LetterId, bytes], author: Author, detail: Mapping[str, Any]) -> None:
        """Keep these values; a replay sends them instead of the original bytes."""
        self._change([(letter, detail, value) for letter, value in values.items()], author, "fixed", None)

    def discarded(self, ids: Sequence[LetterId], author: Author, reason: str) -> None:
        self._change([(letter, {"reason": reason}, None) for letter in ids], author, "discarded", State.DISCARDED)

    def restored(self, ids: Sequence[LetterId], author: Author, reason: str) -> None:
        """Discarded letters are open again."""
        self._change([(letter, {"reason": reason}, None) for letter in ids], author, "restored", State.OPEN)

    def begin_replays(self, replays: Sequence[Replay], author: Author) -> None:
        """Note what is about to be sent. From here on the letters count as replayed."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO dead_letter_replays "
                "(replay_id, topic, sent_to, of_partition, of_offset, key, value, search_from, begun_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [(r.id, self._topic, self._sent_to, *r.of, r.key, r.value, r.search_from, r.begun_at) for r in replays],
            )
            changes = [(replay.of, {"replay_id": str(replay.id)}, None) for replay in replays]
            self._change(changes, author, "replayed", State.REPLAYED)

    def renew_replays(self, replays: Sequence[Replay]) -> None:
        """Note that replays which never reached Kafka are about to be sent again."""
        self._update("search_from = %s, begun_at = %s", [(r.search_from, r.begun_at, r.id) for r in replays])

    def complete_replays(self, places: Mapping[UUID, tuple[int, datetime]]) -> None:
        """Note where the replays came to stand: ``{id: (offset, append time)}``."""
        self._update("sent_offset = %s, sent_at = %s", [(*place, replay) for replay, place in places.items()])

    def withdraw_replays(self, refused: Sequence[tuple[Replay, str]], author: Author) -> None:
        """Note that Kafka refused these records: their letters are open again, unless an earlier replay arrived."""
        arrived = self._replayed([replay.of for replay, _ in refused])
        with self._connection.transaction():
            self._update("withdrawn_at = clock_timestamp()", [(replay.id,) for replay, _ in refused])
            changes: dict[State, list[tuple[LetterId, Mapping[str, Any], None]]] = {State.OPEN: [], State.REPLAYED: []}
            for replay, why in refused:
                state = State.REPLAYED if replay.of in arrived else State.OPEN
                changes[state].append((replay.of, {"replay_id": str(replay.id), "why": why}, None))
            for state, those in changes.items():
                self._change(those, author, "replay_withdrawn", state)

    def _replayed(self, ids: Sequence[LetterId]) -> set[LetterId]:
        """Those of the letters that have a replay in Kafka."""
        rows = self._connection.execute(
            "SELECT DISTINCT of_partition, of_offset FROM dead_letter_replays "
            "JOIN unnest(%s::integer[], %s::bigint[]) AS asked (of_partition, of_offset) "
            "USING (of_partition, of_offset) WHERE topic = %s AND sent_at IS NOT NULL",
            (*_columns(ids), self._topic),
        ).fetchall()
        return {LetterId(*row) for row in rows}

    def replays_in_doubt(self) -> list[Replay]:
        """Those that were begun and neither completed nor withdrawn: a command was killed, or Kafka did not answer."""
        rows = self._connection.execute(
            "SELECT replay_id, of_partition, of_offset, key, value, search_from, begun_at FROM dead_letter_replays "
            "WHERE topic = %s AND sent_at IS NULL AND withdrawn_at IS NULL ORDER BY begun_at, of_partition, of_offset",
            (self._topic,),
        ).fetchall()
        return [Replay(row[0], LetterId(row[1], row[2]), *row[3:]) for row in rows]

    def _update(self, assignments: str, parameters: Sequence[tuple[Any, ...]]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(f"UPDATE dead_letter_replays SET {assignments} WHERE replay_id = %s", parameters)

    def _change(
        self,
        changes: Sequence[tuple[LetterId, Mapping[str, Any], bytes | None]],
        author: Author,
        action: str,
        state: State | None,
    ) -> None:
        from psycopg.types.json import Jsonb

        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO dead_letter_changes "
                '(topic, "partition", "offset", action, state, changed_by, command, detail, value) '
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (self._topic, *letter, action, state, author.name, author.command, Jsonb(dict(detail)), value)
                    for letter, detail, value in changes
                ],
            )


def _columns(ids: Sequence[LetterId]) -> tuple[list[int], list[int]]:
    return [letter.partition for letter in ids], [letter.offset for letter in ids]

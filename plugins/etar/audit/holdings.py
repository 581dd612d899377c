"""What table and dead letters hold of a topic's offsets, and what the auditor takes out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep
from typing import Any, NamedTuple

from etar import dead_letters
from etar.audit.pieces import Piece
from etar.clients import WarehouseUnavailableError, WarehouseUser
from etar.dead_letters import Reason
from etar.offsets import Span
from etar.records.framing import IN_HEADER
from etar.records.intake import REFUSED_TOGETHER
from etar.settings import WarehouseSettings
from etar.streams import Stream

_TIMEOUT_SECONDS = 120
_POLL_SECONDS = 0.2
_OFFSETS_PER_STATEMENT = 5_000


class Counts(NamedTuple):
    """Distinct offsets of a piece in the table, among the dead letters, and in both."""

    rows: int
    letters: int
    both: int

    def complete(self, piece: Piece) -> bool:
        """Whether each offset of the piece is in one of the places."""
        return self.rows + self.letters - self.both == piece.offsets.size

    def in_doubt(self, piece: Piece) -> bool:
        """Whether an offset is in no place, or in both: counts do not say which."""
        return not self.complete(piece) or self.both > 0


@dataclass(frozen=True)
class Letter:
    """A dead letter without its bytes. ``untold``: refused together with others, so it may be a good row."""

    partition: int
    offset: int
    reason: str
    untold: bool


class Holdings(WarehouseUser):
    """Connects on first use. A context manager. Every method raises:

    WarehouseUnavailableError: no answer, or not a whole one.
    """

    def __init__(self, settings: WarehouseSettings, stream: Stream) -> None:
        super().__init__(
            settings,
            autogenerate_session_id=False,
            connect_timeout=5,
            send_receive_timeout=_TIMEOUT_SECONDS,
            client_name="etar-audit",
        )
        self._stream = stream

    def counts(self, pieces: Sequence[Piece]) -> dict[Piece, Counts]:
        """Of every piece, in one query: with a part or more for each minute of a day, a query costs the table as much
        as its answer (0.3 s with 6,000 parts), however few offsets it asks for."""
        if not pieces:
            return {}
        found = self._query(
            f"SELECT _partition, {_piece_of(pieces)} AS piece, "
            "countIf(in_table), countIf(in_letters), countIf(in_table AND in_letters) FROM ("
            "SELECT _partition, _offset, max(place = 1) AS in_table, max(place = 2) AS in_letters FROM ("
            f"SELECT _partition, _offset, 1 AS place FROM {self._stream.table} WHERE {_in(pieces)} UNION ALL "
            f"SELECT _partition, _offset, 2 AS place FROM {dead_letters.TABLE} WHERE {_in(pieces)}) "
            "GROUP BY _partition, _offset) GROUP BY _partition, piece"
        )
        by_start = {(partition, start): Counts(*counted) for partition, start, *counted in found}
        return {piece: by_start.get((piece.partition, piece.offsets.first), Counts(0, 0, 0)) for piece in pieces}

    def row_offsets(self, pieces: Sequence[Piece]) -> dict[Piece, frozenset[int]]:
        """Offsets of each piece that are in the table; in one query, as :meth:`counts`."""
        found = self._query(
            f"SELECT _partition, {_piece_of(pieces)} AS piece, groupUniqArray(_offset) FROM {self._stream.table} "
            f"WHERE {_in(pieces)} GROUP BY _partition, piece"
        )
        by_start = {(partition, start): frozenset(offsets) for partition, start, offsets in found}
        return {piece: by_start.get((piece.partition, piece.offsets.first), frozenset()) for piece in pieces}

    def rows_among(self, partition: int, offsets: Iterable[int]) -> frozenset[int]:
        """Those of ``offsets`` that are in the table."""
        return frozenset(
            offset
            for chunk in _chunks(offsets)
            for (offset,) in self._query(
                f"SELECT DISTINCT _offset FROM {self._stream.table} WHERE {_at(partition, chunk)}"
            )
        )

    def letters(self, piece: Piece) -> list[Letter]:
        """The dead letters of a piece."""
        return self._letters(_in([piece]))

    def unknown_schema_ids(self, since: datetime, *, most: int, draw: int) -> list[int]:
        """Schema ids of letters appended ``since`` that the registry did not know. Of more than ``most``, another
        choice for each ``draw``."""
        found = self._query(
            f"SELECT {_SCHEMA_ID} AS id FROM {dead_letters.TABLE} WHERE {_UNKNOWN_SCHEMA} "
            f"GROUP BY id ORDER BY cityHash64(id, {draw}) LIMIT {most}",
            since=since,
        )
        return [identifier for (identifier,) in found]

    def letters_of_schemas(self, since: datetime, ids: Sequence[int], *, most: int, draw: int) -> list[Letter]:
        """Letters appended ``since`` under schemas that the registry did not know. Of more than ``most``, another
        choice for each ``draw``."""
        return self._letters(
            f"{_UNKNOWN_SCHEMA} AND {_SCHEMA_ID} IN ({_list(ids)})",
            f"ORDER BY cityHash64(_partition, _offset, {draw}) LIMIT {most}",
            since=since,
        )

    def unreadable_kinds(self, since: datetime, *, most: int, draw: int) -> dict[int, Letter]:
        """One letter of each kind of those appended ``since`` whose schema could not be read, or that name an unknown
        one in a header: by what their detail says, as a number. Of more than ``most``, another choice for each
        ``draw``, as it is another letter."""
        found = self._query(
            f"SELECT cityHash64(detail) AS kind, argMin((_partition, _offset, reason), cityHash64(_offset, {draw})) "
            f"FROM {dead_letters.TABLE} FINAL WHERE {_UNREADABLE} "
            f"GROUP BY kind ORDER BY cityHash64(kind, {draw}) LIMIT {most}",
            since=since,
            in_header=IN_HEADER,
        )
        return {kind: Letter(partition, offset, reason, untold=False) for kind, (partition, offset, reason) in found}

    def letters_of_kinds(self, since: datetime, kinds: Sequence[int], *, most: int, draw: int) -> list[Letter]:
        """Letters appended ``since`` of these kinds. Of more than ``most``, another choice for each ``draw``."""
        return self._letters(
            f"{_UNREADABLE} AND cityHash64(detail) IN ({_list(kinds)})",
            f"ORDER BY cityHash64(_partition, _offset, {draw}) LIMIT {most}",
            since=since,
            in_header=IN_HEADER,
        )

    def remove_letters(self, partition: int, offsets: Iterable[int]) -> None:
        """On return they are gone, for readers and on disk."""
        for chunk in _chunks(offsets):
            self._command(f"DELETE FROM {dead_letters.TABLE} WHERE {_at(partition, chunk)}")

    def remove_rows(self, partition: int, offsets: Iterable[int]) -> None:
        """On return this has been asked for, and survives a restart of the warehouse; :meth:`removed` says when it is
        done. The engine goes through every part of the table for it, which takes seconds to minutes."""
        for chunk in _chunks(offsets):
            self._command(
                f"DELETE FROM {self._stream.table} WHERE {_at(partition, chunk)} SETTINGS lightweight_deletes_sync = 0"
            )

    def removed(self, wait_seconds: float = 0.0) -> bool:
        """Whether all rows that were to be removed are, by now or after at most ``wait_seconds``."""
        deadline = monotonic() + wait_seconds
        while True:
            ((unfinished,),) = self._query(
                "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = {table:String} "
                "AND NOT is_done",
                table=self._stream.table,
            )
            if not unfinished or monotonic() >= deadline:
                return not unfinished
            sleep(_POLL_SECONDS)

    def _letters(self, where: str, order: str = "", **parameters: Any) -> list[Letter]:
        found = self._query(
            f"SELECT _partition, _offset, reason, startsWith(detail, '{REFUSED_TOGETHER}') "
            f"FROM {dead_letters.TABLE} FINAL WHERE {where} {order}",
            **parameters,
        )
        return [
            Letter(partition, offset, reason, reason == Reason.INSERT_REFUSED.value and bool(together))
            for partition, offset, reason, together in found
        ]

    def _query(self, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            bound = {"topic": self._stream.topic, **parameters}
            rows: Sequence[Sequence[Any]] = self._connected().query(query, parameters=bound).result_rows
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error
        return rows

    def _command(self, statement: str) -> None:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            self._connected().command(statement, parameters={"topic": self._stream.topic})
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error


_SCHEMA_ID = "reinterpretAsUInt32(reverse(substring(value, 2, 4)))"
_SINCE = "_topic = {topic:String} AND _timestamp >= {since:DateTime('UTC')}"
_UNKNOWN_SCHEMA = f"{_SINCE} AND reason = '{Reason.UNKNOWN_SCHEMA_ID.value}'"
_UNREADABLE = (
    f"{_SINCE} AND (reason = '{Reason.UNSUPPORTED_SCHEMA.value}' "
    f"OR reason = '{Reason.UNKNOWN_SCHEMA_ID.value}' AND position(detail, {{in_header:String}}) > 0)"
)


def _piece_of(pieces: Sequence[Piece]) -> str:
    """An expression for the first offset of the piece that a row or letter belongs to."""
    first_offsets: dict[int, list[int]] = {}
    for piece in pieces:
        first_offsets.setdefault(piece.partition, []).append(piece.offsets.first)
    belongs_to = ", ".join(
        f"_partition = {partition}, roundDown(_offset, CAST({sorted(offsets)}, 'Array(Int64)'))"
        for partition, offsets in first_offsets.items()
    )
    return f"multiIf({belongs_to}, -1)"


def _in(pieces: Sequence[Piece]) -> str:
    """Predicate of all the pieces' offsets; neighbouring pieces are one range of it."""
    spans: dict[int, list[Span]] = {}
    for piece in sorted(pieces, key=lambda each: (each.partition, each.offsets.first)):
        found = spans.setdefault(piece.partition, [])
        if found and found[-1].end == piece.offsets.first:
            found[-1] = Span(found[-1].first, piece.offsets.end)
        else:
            found.append(piece.offsets)
    ranges = " OR ".join(
        f"(_partition = {partition} AND _offset >= {span.first} AND _offset < {span.end})"
        for partition, found in spans.items()
        for span in found
    )
    return f"_topic = {{topic:String}} AND ({ranges})"


def _at(partition: int, offsets: Sequence[int]) -> str:
    return f"_topic = {{topic:String}} AND _partition = {partition} AND _offset IN ({_list(offsets)})"


def _chunks(offsets: Iterable[int]) -> list[list[int]]:
    ordered = sorted(offsets)
    return [ordered[at : at + _OFFSETS_PER_STATEMENT] for at in range(0, len(ordered), _OFFSETS_PER_STATEMENT)]


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))

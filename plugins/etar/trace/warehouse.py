"""What the warehouse says: rows of an event or a record, dead letters that name an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from etar import dead_letters
from etar.clients import OF_ANOTHER_TYPE, WarehouseUnavailableError, WarehouseUser
from etar.instants import from_milliseconds
from etar.minute import MinuteWindow
from etar.settings import WarehouseSettings
from etar.streams import OF_ANY_LOG, Stream
from etar.trace.facts import FoundRow, RecordId
from etar.trace.question import UnfitQuestionError

MOST = 100
"""Records that are traced at once: an event that was sent more often than this is not told in full."""

_TIMEOUT_SECONDS = 60
_UNFIT = OF_ANOTHER_TYPE | {
    26,  # CANNOT_PARSE_QUOTED_STRING
    457,  # BAD_QUERY_PARAMETER
}


class Rows(WarehouseUser):
    """Of one stream. A context manager; connects on first use. Every method raises:

    WarehouseUnavailableError: no answer.
    """

    def __init__(self, settings: WarehouseSettings, stream: Stream) -> None:
        super().__init__(
            settings,
            autogenerate_session_id=False,
            connect_timeout=5,
            send_receive_timeout=_TIMEOUT_SECONDS,
            client_name="etar-trace",
        )
        self._stream = stream

    def of_event(self, identity: Sequence[str], since: datetime, until: datetime) -> list[FoundRow]:
        """The event's rows in the minutes of ``[since, until)``, each record once, by the time Kafka took them; one
        more than :data:`MOST` at most. The ids of all these minutes are read: no key helps.

        Raises:
            UnfitQuestionError: a value is none of its column's type.
        """
        types = self._types()
        same, bound = [], {}
        for number, (column, value) in enumerate(zip(self._stream.identity, identity, strict=True)):
            if column not in types:
                raise UnfitQuestionError(f"the table {self._stream.table} has no column {column!r}")
            same.append(f"`{column}` = {{id{number}:{types[column]}}}")
            bound[f"id{number}"] = value
        try:
            return self._rows(
                "event_minute >= {since:DateTime('UTC')} AND event_minute < {until:DateTime('UTC')} "
                f"AND {OF_ANY_LOG} AND {' AND '.join(same)}",
                since=since,
                until=until,
                **bound,
            )
        except UnfitQuestionError as error:
            of = ", ".join(f"{column} ({types[column]})" for column in self._stream.identity)
            raise UnfitQuestionError(
                f"an event of {self._stream.name} is named by {of}; {', '.join(map(repr, identity))} is none: {error}"
            ) from error

    def of_record(self, record: RecordId) -> FoundRow | None:
        """The record's row, by the table's key, of any minute."""
        found = self._rows(
            "_topic = {log:String} AND _partition = {partition:Int32} AND _offset = {offset:Int64}",
            log=record.log,
            partition=record.partition,
            offset=record.offset,
        )
        return found[0] if found else None

    def in_spans(self, window: MinuteWindow, spans: Sequence[tuple[int, int, int]]) -> list[int]:
        """How many rows of the minute there are in each partition from a first to a last offset, both included, of any
        log: what a revision's extract had, unless rows were stored between these offsets since."""
        if not spans:
            return []
        partitions, firsts, lasts = zip(*spans, strict=True)
        ((counts,),) = self._query(
            "SELECT sumForEach(arrayMap((p, first, last) -> toUInt64(_partition = p AND _offset >= first AND "
            "_offset <= last), {partitions:Array(Int32)}, {firsts:Array(Int64)}, {lasts:Array(Int64)})) "
            f"FROM {self._stream.table} FINAL WHERE {window.predicate}",
            **window.parameters,
            partitions=list(partitions),
            firsts=list(firsts),
            lasts=list(lasts),
        )
        return list(counts) or [0] * len(spans)

    def letters_naming(self, identity: Sequence[str], since: datetime, until: datetime) -> list[RecordId]:
        """Dead letters that Kafka took in ``[since, until)``, of any log, whose bytes hold each of the values, as text
        or as the formats write it; the newest first, one more than :data:`MOST` at most."""
        holds, bound = [], {}
        for number, value in enumerate(identity):
            either = []
            for form, needle in enumerate(needles(value)):
                name = f"n{number}_{form}"
                either.append(f"position(ifNull(value, ''), unhex({{{name}:String}})) > 0")
                bound[name] = needle.hex()
            if either:
                holds.append(f"({' OR '.join(either)})")
        if not holds:
            return []
        found = self._query(
            f"SELECT _topic, _partition, _offset FROM {dead_letters.TABLE} FINAL WHERE {OF_ANY_LOG} "
            "AND _timestamp >= {since:DateTime64(3, 'UTC')} AND _timestamp < {until:DateTime64(3, 'UTC')} "
            f"AND {' AND '.join(holds)} ORDER BY _timestamp DESC, _partition, _offset LIMIT {MOST + 1}",
            since=since,
            until=until,
            **bound,
        )
        return [RecordId(str(log), int(partition), int(offset)) for log, partition, offset in found]

    def _types(self) -> Mapping[str, str]:
        return {name: kind for name, kind, *_ in self._query(f"DESCRIBE TABLE {self._stream.table}")}

    def _rows(self, where: str, **bound: Any) -> list[FoundRow]:
        identity = "".join(f", toString(`{column}`)" for column in self._stream.identity)
        rows = self._query(
            "SELECT _topic, _partition, _offset, toUnixTimestamp64Milli(_timestamp), "
            f"toUnixTimestamp64Milli(`{self._stream.time}`), toUnixTimestamp(event_minute){identity} "
            f"FROM {self._stream.table} WHERE {where} "
            f"ORDER BY _timestamp, _topic, _partition, _offset LIMIT 1 BY _topic, _partition, _offset LIMIT {MOST + 1}",
            **bound,
        )
        return [
            FoundRow(
                id=RecordId(str(log), int(partition), int(offset)),
                appended_at=from_milliseconds(appended),
                event_at=from_milliseconds(event),
                minute=MinuteWindow(datetime.fromtimestamp(minute, UTC)),
                identity=tuple("" if value is None else str(value) for value in named),
            )
            for log, partition, offset, appended, event, minute, *named in rows
        ]

    def _query(self, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

        try:
            bound = {"topic": self._stream.topic, **parameters}
            rows: Sequence[Sequence[Any]] = self._connected().query(query, parameters=bound).result_rows
        except DatabaseError as error:
            if getattr(error, "code", None) in _UNFIT:
                raise UnfitQuestionError(" ".join(str(error).split())[:300]) from error
            raise WarehouseUnavailableError.at(self._settings, error) from error
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error
        return rows


def needles(value: str) -> list[bytes]:
    """What the bytes of a record hold that has this value in a field: text as it is, a UUID's text in small and
    capital letters and its sixteen bytes, a whole number as Avro writes it."""
    found = [value.encode("utf-8", "surrogatepass")]
    with suppress(ValueError):
        identifier = UUID(value)
        found += [str(identifier).encode(), str(identifier).upper().encode(), identifier.bytes]
    with suppress(ValueError):
        found.append(_zigzag(int(value)))
    return [each for each in dict.fromkeys(found) if each]


def _zigzag(number: int) -> bytes:
    """A long of Avro."""
    left = (number << 1) ^ (number >> 63)
    if not 0 <= left < 1 << 64:
        return b""
    written = bytearray()
    while left > 0x7F:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    written.append(left)
    return bytes(written)

"""Reads what each place says of the same records: reports, Parquet objects, table, dead letters, and the books in
PostgreSQL. Nothing is compared here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter, ValidationError

from etar import dead_letters, ledger
from etar.audit.placement import Repair
from etar.clients import object_store_client, report_store_connection, trusted_certificates, warehouse_client
from etar.minute import MINUTE, MinuteWindow
from etar.reconciliation import Coverage, Span, StoredObject, without
from etar.report import PublishedReport
from etar.settings import ObjectStoreSettings, ReportReadSettings, ReportStoreSettings, WarehouseSettings
from etar.streams import OF_ANY_LOG, Stream

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from mypy_boto3_s3 import S3Client

Offset = tuple[int, int]
"""A record: (partition, offset)."""

_SAMPLE = 20
_REPORTS_PER_ANSWER = 1440
_MINUTES_PER_QUERY = 15
"""Distinct events are counted in sets of their ids: a quarter of an hour of them fits into memory at any rate."""

_LETTERS_PER_QUERY = 5000
_KEPT = "event_minute >= {oldest:DateTime('UTC')}"
_FOOTER_BYTES = 64 * 1024
_PARQUET_TAIL = 8  # footer length (4 bytes) and "PAR1"
_REPORTS = TypeAdapter(list[PublishedReport])


class PlaceUnavailableError(ConnectionError):
    """A place does not answer, or not with what it should."""


def read_reports(
    settings: ReportReadSettings, stream: Stream, first: MinuteWindow, end: MinuteWindow
) -> dict[MinuteWindow, PublishedReport]:
    """The reports of ``[first, end)`` in their newest revision.

    Raises:
        PlaceUnavailableError: the report API is away, or answers something else.
    """
    import httpx

    headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
    found: dict[MinuteWindow, PublishedReport] = {}
    with httpx.Client(base_url=settings.url, headers=headers, timeout=30, verify=trusted_certificates()) as client:
        for start, stop in _pages(first, end):
            query = {"stream": stream.name, "from": start.isoformat(), "to": stop.isoformat()}
            try:
                answer = client.get("/reports", params={**query, "limit": _REPORTS_PER_ANSWER}).raise_for_status()
                reports = _REPORTS.validate_json(answer.content)
            except (httpx.HTTPError, ValidationError) as error:
                raise PlaceUnavailableError(f"the report API at {settings.url} gives no reports: {error}") from error
            found |= {report.window: report for report in reports}
    return found


def _pages(first: MinuteWindow, end: MinuteWindow) -> Iterator[tuple[datetime, datetime]]:
    start = first.start
    while start < end.start:
        stop = min(start + _REPORTS_PER_ANSWER * MINUTE, end.start)
        yield start, stop
        start = stop


def parquet_objects(
    settings: ObjectStoreSettings, stream: Stream, windows: Sequence[MinuteWindow]
) -> dict[MinuteWindow, StoredObject]:
    """Each minute's Parquet object, by its end alone; minutes without an object are left out.

    Raises:
        PlaceUnavailableError: the object store is away or refuses, or an object is not Parquet.
    """
    client = object_store_client(settings)
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = pool.map(lambda window: _stored_object(client, settings.bucket, stream.extract_key(window)), windows)
        return {window: stored for window, stored in zip(windows, found, strict=True) if stored is not None}


def _stored_object(client: S3Client, bucket: str, key: str) -> StoredObject | None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        tail = _Tail.read(client, bucket, key, _FOOTER_BYTES)
        if tail is None:
            return None
        needed = int.from_bytes(tail.content[-_PARQUET_TAIL:-4], "little") + _PARQUET_TAIL
        if needed > len(tail.content):
            tail = _Tail.read(client, bucket, key, needed) or tail
        rows = int(pq.read_metadata(pa.BufferReader(tail.content)).num_rows)
        return StoredObject(rows, tail.object_size, tail.object_etag)
    except (BotoCoreError, ClientError) as error:
        raise PlaceUnavailableError(f"the object store does not give s3://{bucket}/{key}: {error}") from error
    except pa.ArrowInvalid as error:
        raise PlaceUnavailableError(f"s3://{bucket}/{key} is not whole Parquet: {error}") from error


@dataclass(frozen=True)
class _Tail:
    """The last bytes of an object, and what the answer says of the whole."""

    content: bytes
    object_size: int
    object_etag: str

    @classmethod
    def read(cls, client: S3Client, bucket: str, key: str, size: int) -> Self | None:
        from botocore.exceptions import ClientError

        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{size}")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise
        content = answer["Body"].read()
        # "bytes 100-199/200"; a store may answer a range that covers the whole object with the object.
        _, _, whole = answer.get("ContentRange", "").rpartition("/")
        return cls(content, int(whole) if whole.isdigit() else len(content), answer["ETag"].strip('"'))


@dataclass(frozen=True)
class ClosedOffsets:
    """Offsets that one partition took in one minute, closed by the auditor: ``no_record`` of them hold no record,
    ``lost`` ones were in no place any more, and ``dead_letters`` are letters still; the others are or were rows."""

    offsets: Span
    dead_letters: int = 0
    no_record: int = 0
    lost: int = 0


@dataclass(frozen=True)
class _Stored:
    """Distinct offsets in the table, in the dead letters, and in both."""

    rows: int = 0
    letters: int = 0
    both: int = 0

    def __add__(self, other: _Stored) -> _Stored:
        return _Stored(self.rows + other.rows, self.letters + other.letters, self.both + other.both)

    @property
    def offsets(self) -> int:
        return self.rows + self.letters - self.both


@dataclass(frozen=True)
class MinuteCounts:
    """Rows of one minute, each record once, and distinct events.

    Args:
        fresh: rows that arrived since a given instant.
        owned, owned_events: rows whose records are of given offsets, and their events.
        established: events of rows that are not fresh, or owned.
    """

    rows: int = 0
    unique: int = 0
    fresh: int = 0
    owned: int = 0
    owned_events: int = 0
    established: int = 0


class Table:
    """Counts of one stream's rows and dead letters in the warehouse. A context manager.

    Rows of minutes before ``oldest`` count as gone: the table is dropping them.

    Every method raises:
        PlaceUnavailableError: the warehouse is away, or answers with an error.
    """

    def __init__(self, settings: WarehouseSettings, stream: Stream, *, oldest: MinuteWindow) -> None:
        self._settings = settings
        self._stream = stream
        self._oldest = oldest
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def minutes(
        self, windows: Sequence[MinuteWindow], *, fresh_from: datetime, owned: Mapping[int, Span]
    ) -> dict[MinuteWindow, MinuteCounts]:
        """Counts by event time; minutes without rows are left out. ``owned``: offsets by partition, of the topic as it
        is now; the others count rows of its former logs as well."""
        is_owned = f"(_topic = {{topic:String}} AND {_any_of(owned)})"
        found: dict[MinuteWindow, MinuteCounts] = {}
        for at in range(0, len(windows), _MINUTES_PER_QUERY):
            asked = windows[at : at + _MINUTES_PER_QUERY]
            rows = self._query(
                f"SELECT event_minute, count(), uniqExact(event_id), countIf(is_fresh), countIf({is_owned}), "
                f"uniqExactIf(event_id, {is_owned}), uniqExactIf(event_id, NOT is_fresh OR {is_owned}) "
                "FROM (SELECT event_minute, event_id, _topic, _partition, _offset, "
                "_timestamp >= {fresh_from:DateTime('UTC')} AS is_fresh "
                f"FROM {self._stream.table} FINAL "
                "WHERE event_minute >= {first:DateTime('UTC')} AND event_minute <= {last:DateTime('UTC')} "
                "AND has({minutes:Array(DateTime('UTC'))}, event_minute)) "
                "GROUP BY event_minute SETTINGS do_not_merge_across_partitions_select_final = 1",
                first=min(asked).start,
                last=max(asked).start,
                minutes=[window.start for window in asked],
                fresh_from=fresh_from,
            )
            found |= {_window(minute): MinuteCounts(rows, unique, *rest) for minute, rows, unique, *rest in rows}
        return found

    def minutes_of(self, offsets: Mapping[int, Span]) -> list[MinuteWindow]:
        """Minutes that the rows of these records are in."""
        found = self._query(
            f"SELECT DISTINCT event_minute FROM {self._stream.table} WHERE {_KEPT} "
            f"AND _topic = {{topic:String}} AND {_any_of(offsets)}"
        )
        return sorted(_window(minute) for (minute,) in found)

    def dead_letters(self, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, int]:
        """Dead letters, also of former logs, by the minute in which the broker took the record."""
        # Bounds of the column's own type: with whole seconds the engine may pass over what came in the last second.
        found = self._query(
            "SELECT toStartOfMinute(_timestamp) AS minute, uniqExact(_topic, _partition, _offset) "
            f"FROM {dead_letters.TABLE} WHERE {OF_ANY_LOG} AND _timestamp >= {{first:DateTime64(3, 'UTC')}} "
            "AND _timestamp < {end:DateTime64(3, 'UTC')} GROUP BY minute",
            first=first.start,
            end=end.start,
        )
        return {_window(minute): letters for minute, letters in found}

    def letters_by_reason(self, offsets: Mapping[int, Span], *, only: Iterable[Offset] | None = None) -> dict[str, int]:
        """Dead letters of these records that are no rows as well; ``only`` those named, if it is given."""
        here = f"_topic = {{topic:String}} AND {_any_of(offsets)}"
        found: dict[str, int] = {}
        for condition in ["AND true"] if only is None else _named(only):
            letters = f"FROM {dead_letters.TABLE} FINAL WHERE {here} {condition}"
            counted = self._query(
                f"SELECT reason, count() {letters} AND (_partition, _offset) NOT IN (SELECT _partition, _offset FROM "
                f"{self._stream.table} WHERE {here} AND {_KEPT} AND (_partition, _offset) IN "
                f"(SELECT _partition, _offset {letters})) GROUP BY reason"
            )
            for reason, count in counted:
                found[reason] = found.get(reason, 0) + count
        return found

    def coverage(self, partition: int, span: Span, *, closed: Sequence[ClosedOffsets], young_from: int) -> Coverage:
        """Where the offsets of ``span`` are.

        Args:
            closed: what the auditor has closed, of this partition.
            young_from: offset from which on no row can have left the table for its age.
        """
        inside = [each for each in closed if each.offsets.clipped(span) == each.offsets]
        old = [each for each in inside if each.offsets.end <= young_from]
        old_offsets = [each.offsets for each in closed if each.offsets.end <= young_from]
        alive = without(span, old_offsets)
        dropped = without(span, alive)
        held = self._stored(partition, [*alive, *dropped])
        stored = sum((held[part] for part in alive), _Stored())
        left_over = sum((held[part] for part in dropped), _Stored())
        # Rows may have left for their age; letters are kept longer, and have to be there.
        lacking = self._lacking_letters(partition, old)
        unstored = sum(each.no_record + each.lost for each in old) + sum(lacking.values())
        coverage = Coverage(
            span=span,
            in_table=stored.rows + left_over.rows,
            in_dead_letters=stored.letters + left_over.letters,
            in_both=stored.both + left_over.both,
            closed=max(0, sum(part.size for part in dropped) - left_over.offsets - unstored),
            no_record=sum(each.no_record for each in inside),
            lost=sum(each.lost for each in inside),
            unaudited=sum(part.size for part in without(Span(span.first, min(span.end, young_from)), old_offsets)),
            both_sample=self._both(partition, span) if stored.both or left_over.both else (),
        )
        if not coverage.missing:
            return coverage
        missing = sorted([*((each.first, each.end - 1) for each in lacking), *self._gaps(partition, alive)])
        return replace(coverage, missing_ranges=tuple(missing[:_SAMPLE]))

    def _lacking_letters(self, partition: int, closed: Sequence[ClosedOffsets]) -> dict[Span, int]:
        """How many dead letters of closed offsets are gone, by those offsets; without those that lack none."""
        if not any(each.dead_letters for each in closed):
            return {}
        firsts = sorted({each.offsets.first for each in closed})
        _, in_letters, both = self._selects()
        found = self._query(
            f"SELECT roundDown(_offset, CAST({firsts}, 'Array(Int64)')) AS first, uniqExact(_offset) "
            f"FROM ({in_letters}) WHERE _offset NOT IN ({both}) GROUP BY first",
            **self._bound(partition, Span(firsts[0], max(each.offsets.end for each in closed))),
        )
        letters = {int(first): count for first, count in found}
        gone = {each.offsets: each.dead_letters - letters.get(each.offsets.first, 0) for each in closed}
        return {offsets: count for offsets, count in gone.items() if count > 0}

    def _stored(self, partition: int, parts: Sequence[Span]) -> dict[Span, _Stored]:
        """Of each part. The table is gone through once, which costs as much as it has parts of its own."""
        if not parts:
            return {}
        in_table, in_letters, _ = self._selects()
        bound = self._bound(partition, Span(min(part.first for part in parts), max(part.end for part in parts)))
        first = f"roundDown(_offset, CAST({sorted(part.first for part in parts)}, 'Array(Int64)')) AS first"
        inside = " OR ".join(f"_offset >= {part.first} AND _offset < {part.end}" for part in parts)
        rows = self._query(
            f"SELECT {first}, uniqExact(_offset), uniqExactIf(_offset, _offset IN ({in_letters})) "
            f"FROM ({in_table} AND ({inside})) GROUP BY first",
            **bound,
        )
        letters = self._query(
            f"SELECT {first}, uniqExact(_offset) FROM ({in_letters} AND ({inside})) GROUP BY first", **bound
        )
        found = dict.fromkeys((part.first for part in parts), _Stored())
        for start, count, both in rows:
            found[start] += _Stored(rows=count, both=both)
        for start, count in letters:
            found[start] += _Stored(letters=count)
        return {part: found[part.first] for part in parts}

    def _gaps(self, partition: int, parts: Iterable[Span]) -> tuple[tuple[int, int], ...]:
        in_table, in_letters, _ = self._selects()
        gaps: list[tuple[int, int]] = []
        for part in parts:
            found = self._query(
                "SELECT previous + 1, offset - 1 FROM (SELECT _offset AS offset, "
                "lagInFrame(_offset, 1, {first:Int64} - 1) OVER (ORDER BY _offset ROWS BETWEEN UNBOUNDED PRECEDING "
                f"AND CURRENT ROW) AS previous FROM (SELECT DISTINCT _offset FROM ({in_table} UNION ALL {in_letters} "
                "UNION ALL SELECT {end:Int64}))) WHERE offset > previous + 1 "
                f"ORDER BY offset LIMIT {_SAMPLE}",
                **self._bound(partition, part),
            )
            gaps += [(int(low), int(high)) for low, high in found]
        return tuple(gaps[:_SAMPLE])

    def _both(self, partition: int, span: Span) -> tuple[int, ...]:
        _, _, both = self._selects()
        found = self._query(
            f"SELECT DISTINCT _offset FROM ({both}) ORDER BY _offset LIMIT {_SAMPLE}", **self._bound(partition, span)
        )
        return tuple(offset for (offset,) in found)

    def _selects(self) -> tuple[str, str, str]:
        """SELECTs of offsets, with the parameters of :meth:`_bound`: in the table, in the dead letters, in both."""
        here = (
            "_topic = {topic:String} AND _partition = {partition:Int32} "
            "AND _offset >= {first:Int64} AND _offset < {end:Int64}"
        )
        in_table = f"SELECT _offset FROM {self._stream.table} WHERE {here} AND {_KEPT}"
        in_letters = f"SELECT _offset FROM {dead_letters.TABLE} WHERE {here}"
        return in_table, in_letters, f"{in_table} AND _offset IN ({in_letters})"

    def _bound(self, partition: int, span: Span) -> dict[str, int]:
        return {"partition": partition, "first": span.first, "end": span.end}

    def _query(self, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        settings = self._settings
        bound = {"topic": self._stream.topic, "oldest": self._oldest.start} | parameters
        try:
            if self._client is None:
                self._client = warehouse_client(settings)
            rows: Sequence[Sequence[Any]] = self._client.query(query, parameters=bound).result_rows
        except (ClickHouseError, OSError) as error:
            where = f"{settings.host}:{settings.port}"
            raise PlaceUnavailableError(f"the warehouse at {where} does not answer: {error}") from error
        return rows


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


def _any_of(offsets: Mapping[int, Span]) -> str:
    """Whether a record is one of these, in the warehouse's SQL."""
    either = [
        f"(_partition = {int(partition)} AND _offset >= {int(span.first)} AND _offset < {int(span.end)})"
        for partition, span in offsets.items()
        if span.size
    ]
    return f"({' OR '.join(either)})" if either else "false"


def _named(records: Iterable[Offset]) -> Iterator[str]:
    """Conditions that together hold for these records and no others; each is short enough for one query."""
    left = iter(records)
    while some := ", ".join(f"({int(p)}, {int(o)})" for p, o in islice(left, _LETTERS_PER_QUERY)):
        yield f"AND (_partition, _offset) IN ({some})"


def _window(minute: datetime) -> MinuteWindow:
    return MinuteWindow(minute if minute.tzinfo else minute.replace(tzinfo=UTC))

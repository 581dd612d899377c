"""Extract: one minute's rows out of the warehouse, as one Parquet object that readers see whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import IO, Any, Protocol

from etar import dead_letters
from etar.errors import PermanentError, TransientError
from etar.extracts import Extract, OffsetSpan
from etar.instants import MILLISECOND, from_milliseconds
from etar.minute import MINUTE, MinuteWindow
from etar.streams import OF_ANY_LOG, Stream

# FINAL reads a record that the sink delivered twice once; with all of a record's copies in one partition, it need not
# merge across them. The order makes the object a function of its rows, however the table's parts happen to lie.
_QUERY = """\
SELECT
    {columns}
FROM {table} FINAL
WHERE {predicate}
ORDER BY _topic, _partition, _offset"""

# UUIDs travel as their 16 bytes: the Parquet type UUID is one that Spark does not read.
_AS_PARQUET = {
    **dict.fromkeys(("UUID", "Nullable(UUID)"), "UUIDToNum({name})"),
    **dict.fromkeys(("Array(UUID)", "Array(Nullable(UUID))"), "arrayMap(each -> UUIDToNum(each), {name})"),
}

_DEAD_LETTERS = f"""\
SELECT uniqExact(_topic, _partition, _offset) FROM {dead_letters.TABLE}
WHERE {OF_ANY_LOG}
  AND _timestamp >= {{start:DateTime64(3, 'UTC')}} AND _timestamp < {{end:DateTime64(3, 'UTC')}}"""

_SETTINGS: Mapping[str, str | int] = {
    "output_format_parquet_compression_method": "zstd",
    # zstd finds what repeats within a page, so offsets and ids get large ones. References to a dictionary, in bits, do
    # not compress: only few values, such as types, get one. Bytes, both.
    "output_format_parquet_data_page_size": 8 * 1024 * 1024,
    "output_format_parquet_max_dictionary_size": 64 * 1024,
    # They take a third of the engine's time and a tenth of the bytes, and nobody looks up single values.
    "output_format_parquet_write_bloom_filter": 0,
    "do_not_merge_across_partitions_select_final": 1,
}

_PLACE = ("_partition", "_offset", "_timestamp")
"""Where a row stood in Kafka, and since when: what an extract has of every stream."""

_COPY_BYTES = 1024 * 1024
_MINUTE_MS = MINUTE // MILLISECOND


class TruncatedExtractError(TransientError):
    """The warehouse's answer ended before it was whole; nothing was stored."""


class ExpiredMinuteError(PermanentError):
    """The minute is past the retention: the table has dropped its rows, or may do so while they are read."""


class Warehouse(Protocol):
    """The part of a clickhouse-connect client that extracting uses."""

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]: ...

    def command(self, cmd: str, parameters: dict[str, Any]) -> Any: ...

    def query(self, query: str) -> Any: ...


class ObjectStore(Protocol):
    """The part of a boto3 S3 client that extracting uses (by keyword, as boto3 wants it)."""

    def put_object(self, *, Bucket: str, Key: str, Body: IO[bytes], ContentType: str) -> Mapping[str, Any]: ...

    def delete_object(self, *, Bucket: str, Key: str) -> object: ...


def extract_minute(
    window: MinuteWindow,
    *,
    stream: Stream,
    warehouse: Warehouse,
    store: ObjectStore,
    bucket: str,
    grace: timedelta,
    retention: timedelta,
    now: Callable[[], datetime],
) -> Extract:
    """Store the minute's rows under ``stream.extract_key(window)``; without rows, see that there is no such object.

    Rows pass through a file on disk, so memory does not grow with the minute. The object appears in one PUT after the
    file has proved whole: a failure at any point leaves what was there before. One PUT takes 5 GiB, some eighty
    million rows.

    Columns: those of the table that are stored as they came, by their names and in their order, but for ``_topic``. Of
    a stream that says which its report reads (``Stream.report_columns``): those, what tells one event from another, and
    ``_partition``, ``_offset`` and ``_timestamp`` (UTC milliseconds), which are the record's. UUIDs are 16 bytes, times
    UTC in the column's own precision.

    Raises:
        ExpiredMinuteError: the minute began ``retention`` ago or earlier.
        TruncatedExtractError: the answer was cut short.
    """
    key = stream.extract_key(window)
    etag: str | None = None
    with tempfile.TemporaryFile() as spool:
        answer = warehouse.raw_stream(
            _QUERY.format(columns=_columns(stream, warehouse), table=stream.table, predicate=window.predicate),
            parameters=window.parameters,
            settings=dict(_SETTINGS),
            fmt="Parquet",
        )
        _copy(answer, spool, window)
        size = spool.tell()
        letters = warehouse.command(
            _DEAD_LETTERS, parameters={"topic": stream.topic, "start": window.start, "end": window.end}
        )
        # Asked after the read: had the table dropped parts while they were read, this is the only way to know. A
        # report of the few rows left, or of none, would replace a true one.
        require_kept(window, stream=stream, retention=retention, now=now())
        offsets, arrivals, late = _contents(spool, window, late_from=window.end + grace)
        if offsets:
            spool.seek(0)
            # Not multipart: killed half-way, a single PUT leaves nothing behind, where parts would stay for ever.
            stored = store.put_object(Bucket=bucket, Key=key, Body=spool, ContentType="application/vnd.apache.parquet")
            etag = stored["ETag"].strip('"')
        else:
            store.delete_object(Bucket=bucket, Key=key)
    return Extract(
        minute=str(window),
        rows=sum(span.rows for span in offsets.values()),
        late_events=late,
        dead_letters=letters,
        offsets=offsets,
        arrivals=arrivals,
        source=f"s3a://{bucket}/{key}" if offsets else None,
        result=f"s3a://{bucket}/{stream.result_key(window)}",
        object_key=key if offsets else None,
        object_size=size if offsets else None,
        object_etag=etag,
    )


def require_kept(window: MinuteWindow, *, stream: Stream, retention: timedelta, now: datetime) -> None:
    """See that the table still has the whole minute.

    Raises:
        ExpiredMinuteError: the minute began ``retention`` ago or earlier.
    """
    if window.start + retention <= now:
        raise ExpiredMinuteError(
            f"minute {window} began {retention} ago or earlier: its rows have left the table {stream.table}, or are "
            "about to, and its report stays as it is"
        )


def _columns(stream: Stream, warehouse: Warehouse) -> str:
    return selected(stream, warehouse.query(f"DESCRIBE TABLE {stream.table}").result_rows)


def selected(stream: Stream, described: Iterable[Sequence[str]]) -> str:
    """What is selected of a stream's table, as SQL.

    Args:
        described: name, type and default kind of each column first, as ``DESCRIBE TABLE`` gives them.
    """
    wanted = stream.report_columns
    needed = {*_PLACE, *stream.identity, *(wanted or ())}
    return ",\n    ".join(
        f"{_AS_PARQUET[kind].format(name=f'`{name}`')} AS `{name}`" if kind in _AS_PARQUET else f"`{name}`"
        for name, kind in extractable(described)
        if wanted is None or name in needed
    )


def extractable(described: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    """Name and type of the columns that an extract may have: what a table says of itself, so that a new column needs
    no code."""
    return [
        (name, kind)
        for name, kind, default, *_ in described
        # Of an event itself: not what the table makes of other columns.
        if name != "_topic" and default in ("", "DEFAULT")
    ]


def _copy(answer: IO[bytes], spool: IO[bytes], window: MinuteWindow) -> None:
    from urllib3.exceptions import HTTPError

    try:
        with answer:
            shutil.copyfileobj(answer, spool, _COPY_BYTES)
    except HTTPError as error:
        raise TruncatedExtractError(
            f"the warehouse's answer for minute {window} broke off after {spool.tell()} bytes: {error}. "
            "Nothing was stored"
        ) from error


def _contents(
    spool: IO[bytes], window: MinuteWindow, *, late_from: datetime
) -> tuple[dict[int, OffsetSpan], dict[str, dict[int, int]], int]:
    """The records in the file by partition, their number by minute of arrival and partition, and how many of them were
    appended at ``late_from`` or later.

    The Parquet footer is written last: a file that has one is whole. Rows are read batch by batch.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    size = spool.tell()
    spool.seek(0)
    spans: dict[int, OffsetSpan] = {}
    arrivals: dict[str, dict[int, int]] = {}
    late = 0
    try:
        file = pq.ParquetFile(spool)
        for batch in file.iter_batches(columns=list(_PLACE)):
            late += pc.sum(pc.greater_equal(batch["_timestamp"], pa.scalar(late_from))).as_py() or 0
            # As numbers: of a time with its zone, the calendar would be asked for each.
            appended_ms = batch["_timestamp"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
            per_partition = (
                pa.Table.from_batches([batch])
                .append_column("_arrived", pc.divide(appended_ms, _MINUTE_MS))
                .group_by(["_partition", "_arrived"])
                .aggregate([("_offset", "min"), ("_offset", "max"), ("_offset", "count")])
            )
            for each in per_partition.to_pylist():
                partition, rows = each["_partition"], each["_offset_count"]
                found = OffsetSpan(first=each["_offset_min"], last=each["_offset_max"], rows=rows)
                spans[partition] = spans[partition].joined(found) if partition in spans else found
                arrived = str(MinuteWindow(from_milliseconds(each["_arrived"] * _MINUTE_MS)))
                counts = arrivals.setdefault(arrived, {})
                counts[partition] = counts.get(partition, 0) + rows
    except (pa.ArrowInvalid, OSError) as error:
        raise TruncatedExtractError(
            f"the warehouse's answer for minute {window} is not a whole Parquet file ({size} bytes received; {error}). "
            "Nothing was stored"
        ) from error
    return dict(sorted(spans.items())), arrivals, late

"""Extract: one minute's rows out of the warehouse, as one Parquet object that readers see whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import IO, Any, Protocol

from etar.minute import MinuteWindow
from etar.pipeline.errors import PermanentError, TransientError
from etar.streams import Stream

# FINAL reads a record that the sink delivered twice once; with all of a record's copies in one partition, it need not
# merge across them. UUIDs travel as their 16 bytes: the Parquet type UUID is one that Spark does not read. The order
# makes the object a function of its rows, however the table's parts happen to lie.
_QUERY = """\
SELECT
    UUIDToNum(event_id) AS event_id,
    UUIDToNum(user_id) AS user_id,
    UUIDToNum(session_id) AS session_id,
    event_type,
    status,
    event_time,
    product_id,
    amount,
    error_code,
    device,
    country,
    _partition,
    _offset
FROM {table} FINAL
WHERE {predicate}
ORDER BY _topic, _partition, _offset"""

_SETTINGS: Mapping[str, str | int] = {
    "output_format_parquet_compression_method": "zstd",
    "do_not_merge_across_partitions_select_final": 1,
}

_COPY_BYTES = 1024 * 1024


class TruncatedExtractError(TransientError):
    """The warehouse's answer ended before it was whole; nothing was stored."""


class ExpiredMinuteError(PermanentError):
    """The minute is past the horizon: the table has dropped its rows, or may do so while they are read."""


class Warehouse(Protocol):
    """The part of a clickhouse-connect client that extracting uses."""

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]: ...


class ObjectStore(Protocol):
    """The part of a boto3 S3 client that extracting uses (by keyword, as boto3 wants it)."""

    def put_object(self, *, Bucket: str, Key: str, Body: IO[bytes], ContentType: str) -> object: ...

    def delete_object(self, *, Bucket: str, Key: str) -> object: ...


@dataclass(frozen=True)
class Extract:
    """What one extraction left, and where its analysis goes: the few strings that the next tasks need.

    ``source`` is the s3a URI of the Parquet object, ``None`` for a minute without rows; ``rows`` counts its rows.
    """

    minute: str
    rows: int
    source: str | None
    result: str

    def as_xcom(self) -> dict[str, str | int | None]:
        return asdict(self)


def extract_minute(
    window: MinuteWindow,
    *,
    stream: Stream,
    warehouse: Warehouse,
    store: ObjectStore,
    bucket: str,
    horizon: timedelta,
    now: Callable[[], datetime],
) -> Extract:
    """Store the minute's rows under ``stream.extract_key(window)``; without rows, see that there is no such object.

    Rows pass through a file on disk, so memory does not grow with the minute. The object appears in one PUT after the
    file has proved whole: a failure at any point leaves what was there before. One PUT takes 5 GiB, some eighty
    million rows.

    Columns: ``event_id``, ``user_id``, ``session_id`` as 16 bytes; ``event_time`` in UTC milliseconds; ``amount`` in
    minor units; ``_partition`` and ``_offset`` of the record; the others as text.

    Raises:
        ExpiredMinuteError: the minute began ``horizon`` ago or earlier.
        TruncatedExtractError: the answer was cut short.
    """
    key = stream.extract_key(window)
    with tempfile.TemporaryFile() as spool:
        answer = warehouse.raw_stream(
            _QUERY.format(table=stream.table, predicate=window.predicate),
            parameters=window.parameters,
            settings=dict(_SETTINGS),
            fmt="Parquet",
        )
        _copy(answer, spool, window)
        # Asked after the read: had the table dropped parts while they were read, this is the only way to know. A
        # report of the few rows left, or of none, would replace a true one.
        if window.start + horizon <= now():
            raise ExpiredMinuteError(
                f"minute {window} is more than {horizon} old: its rows have left the table {stream.table}, and its "
                "report stays as it is"
            )
        rows = _rows_in(spool, window)
        if rows:
            spool.seek(0)
            # Not multipart: killed half-way, a single PUT leaves nothing behind, where parts would stay for ever.
            store.put_object(Bucket=bucket, Key=key, Body=spool, ContentType="application/vnd.apache.parquet")
        else:
            store.delete_object(Bucket=bucket, Key=key)
    return Extract(
        minute=str(window),
        rows=rows,
        source=f"s3a://{bucket}/{key}" if rows else None,
        result=f"s3a://{bucket}/{stream.result_key(window)}",
    )


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


def _rows_in(spool: IO[bytes], window: MinuteWindow) -> int:
    """Row count from the Parquet footer, which is written last: a file that has one is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = spool.tell()
    spool.seek(0)
    try:
        return int(pq.read_metadata(spool).num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise TruncatedExtractError(
            f"the warehouse's answer for minute {window} is not a whole Parquet file ({size} bytes received; {error}). "
            "Nothing was stored"
        ) from error

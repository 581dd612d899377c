"""Rows that a minute was reported from, and that the table has lost since: looked for before it is reported again.

A report is true once it is made; a new one from a table that lost rows would be made to agree with the damage, and hide
it. The minute's extract says which records were its rows. The auditor makes dead letters of some; without that reason,
none leaves a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from etar import dead_letters
from etar.errors import TransientError
from etar.extracts import OffsetSpan
from etar.ledger import revisions
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.streams import OF_ANY_LOG, Stream

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

_PLACE = ["_partition", "_offset"]
_RECORD = [*_PLACE, "_timestamp"]
"""With when the broker took it: two logs of a topic give out the same offsets."""

_EVER = datetime.fromtimestamp(0, UTC)


class LostRowsError(TransientError):
    """The table has lost rows that the minute was reported from; the auditor has been asked to put them back."""


class Warehouse(Protocol):
    """The part of a clickhouse-connect client that is used here."""

    def query(self, query: str, parameters: dict[str, Any]) -> Any: ...

    def raw_stream(self, query: str, parameters: dict[str, Any], *, fmt: str) -> Any: ...


class ObjectStore(Protocol):
    """The part of a boto3 S3 client that is used here (by keyword, as boto3 wants it)."""

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...


def lost_rows(
    window: MinuteWindow,
    *,
    stream: Stream,
    connection: psycopg.Connection[Any],
    warehouse: Warehouse,
    store: Callable[[], ObjectStore],
    bucket: str,
) -> dict[int, list[int]]:
    """Records of the minute's newest extract that are neither rows nor dead letters any more: ``{partition: offsets}``,
    ascending. None are known of a minute that was never reported, or whose extract is gone as well.

    Args:
        connection: to the ledger.
        store: makes the client; called only when the table has too few rows.
    """
    known = [each.offsets for each in revisions(connection, stream, window) if each.offsets]
    if not known:
        return {}
    rows, logs = _rows(window, known[-1], stream, warehouse)
    # Rows of one log may stand in for those of another in what is counted.
    if len(logs) < 2 and not _fewer(known[-1], rows):
        return {}
    extracted = _extracted(store(), bucket, stream.extract_key(window))
    if extracted is None:
        return {}
    lost = extracted.join(_held(window, extracted, stream, warehouse), keys=_RECORD, join_type="left anti")
    found: dict[int, list[int]] = {}
    for record in lost.sort_by([(name, "ascending") for name in _PLACE]).to_pylist():
        found.setdefault(record["_partition"], []).append(record["_offset"])
    return found


def have_put_back(
    lost: Mapping[int, list[int]],
    *,
    stream: Stream,
    connection: psycopg.Connection[Any],
    low: Mapping[int, int],
    wait_seconds: float = 30.0,
) -> None:
    """Open the audit again from the first of these records on whose closed minute Kafka holds whole. What it no longer
    has stays as it is: nobody can put it back, and an audit would take rows beside it that have expired for lost.

    Args:
        connection: put into autocommit mode.
        low: first offset that Kafka still holds, by partition.

    Raises:
        AuditBusyError: another audit took longer than ``wait_seconds``.
    """
    from etar.audit.marks import Marks
    from etar.audit.reopening import reopen

    marks = Marks(connection, stream)
    suspect_from: dict[int, int] = {}
    for partition, offsets in lost.items():
        # Where the audit is open already, or never looked, there is nothing to take back.
        closed = marks.closed_around(partition, offsets, since=_EVER)
        if whole := next((minute for minute in closed if minute.offsets.first >= low[partition]), None):
            suspect_from[partition] = whole.offsets.first
    if suspect_from:
        reopen(connection, stream, suspect_from, wait_seconds=wait_seconds)


def _fewer(extracted: Mapping[int, OffsetSpan], rows: Mapping[int, int]) -> bool:
    return any(rows.get(partition, 0) < records.rows for partition, records in extracted.items())


def _rows(
    window: MinuteWindow, extracted: Mapping[int, OffsetSpan], stream: Stream, warehouse: Warehouse
) -> tuple[dict[int, int], frozenset[str]]:
    """How many rows the minute has among these offsets, by partition, and of which logs: late ones have higher offsets,
    as a rule, and do not stand in for lost ones."""
    within = _within((partition, records.span) for partition, records in extracted.items())
    counted = warehouse.query(
        f"SELECT _partition, count(), groupUniqArray(_topic) FROM {stream.table} FINAL "
        f"WHERE {window.predicate} AND ({within}) GROUP BY _partition",
        parameters=window.parameters,
    )
    counts = {partition: rows for partition, rows, _ in counted.result_rows}
    return counts, frozenset(log for _, _, logs in counted.result_rows for log in logs)


def _extracted(store: ObjectStore, bucket: str, key: str) -> pa.Table | None:
    from botocore.exceptions import ClientError

    try:
        body = store.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return _places(body.read())


def _held(window: MinuteWindow, extracted: pa.Table, stream: Stream, warehouse: Warehouse) -> pa.Table:
    """Places in Kafka of the minute's rows, and of dead letters from among the extract's offsets."""
    place = ", ".join(_RECORD)
    bounds = extracted.group_by("_partition").aggregate([("_offset", "min"), ("_offset", "max")]).to_pylist()
    within = _within((each["_partition"], Span(each["_offset_min"], each["_offset_max"] + 1)) for each in bounds)
    answer = warehouse.raw_stream(
        f"SELECT {place} FROM {stream.table} WHERE {window.predicate} UNION ALL "
        f"SELECT {place} FROM {dead_letters.TABLE} WHERE {OF_ANY_LOG} AND ({within})",
        parameters={**window.parameters, "topic": stream.topic},
        fmt="Parquet",
    )
    with answer:
        return _places(answer.read())


def _places(parquet: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(parquet), columns=_RECORD)


def _within(spans: Iterable[tuple[int, Span]]) -> str:
    """Predicate of offsets, by partition."""
    return " OR ".join(
        f"(_partition = {partition} AND _offset >= {span.first} AND _offset < {span.end})" for partition, span in spans
    )

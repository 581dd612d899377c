"""Extraction on the real warehouse and the real object store: which rows, which bytes, and nothing when it fails."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import IO, Any
from uuid import UUID, uuid4, uuid5

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import warehouse_client
from etar.extracts import Extract, OffsetSpan
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.extract import TruncatedExtractError, Warehouse, extract_minute
from etar.pipeline.tasks import connections
from etar.settings import ObjectStoreSettings, WarehouseSettings
from etar.streams import Stream, default_stream
from stack.parts import Stack
from tests.conftest import running_part
from tests.integration.pipeline.world import STEPS, LedgerReader, Run

NAMESPACE = UUID("00000000-0000-4000-8000-000000000001")
GRACE = timedelta(seconds=2)
TICK = timedelta(milliseconds=1)
COLUMNS = (
    "event_id", "user_id", "session_id", "event_type", "status", "event_time", "product_id", "amount", "error_code",
    "device", "country", "_topic", "_partition", "_offset", "_timestamp",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("empty_minute")


def row(
    number: int,
    at: datetime,
    *,
    arrived: datetime | None = None,
    partition: int = 0,
    product: str | None = None,
    amount: int | None = None,
) -> list[Any]:
    """The record at offset ``number`` of a partition, taken by the broker now unless told."""
    event, user, session = (uuid5(NAMESPACE, f"{kind} {number}") for kind in ("event", "user", "session"))
    return [
        event, user, session, "view", "success", at, product, amount, None, "mobile", "DE",
        "user_interactions", partition, number, arrived or datetime.now(UTC),
    ]  # fmt: skip


def insert(client: Client, rows: Iterable[list[Any]]) -> None:
    client.insert(default_stream().table, list(rows), column_names=COLUMNS)


def insert_many(client: Client, window: MinuteWindow, count: int) -> None:
    """Rows made inside the warehouse; offsets ``0 … count - 1``, none of its columns compressible to nothing."""
    client.command(
        f"INSERT INTO {default_stream().table} ({', '.join(COLUMNS)}) "
        "SELECT generateUUIDv4(1), generateUUIDv4(2), generateUUIDv4(3), 'view', 'success', "
        "{start:DateTime64(3, 'UTC')} + toIntervalMillisecond(number % 60000), NULL, number, NULL, 'mobile', 'DE', "
        f"'user_interactions', 0, number, now64(3) FROM numbers({count})",
        parameters={"start": window.start},
    )


ALL_COLUMNS = replace(default_stream(), report_columns=None)


def extract(
    window: MinuteWindow,
    warehouse: Warehouse,
    s3: Any,
    store: ObjectStoreSettings,
    stream: Stream = ALL_COLUMNS,
) -> Extract:
    return extract_minute(
        window,
        stream=stream,
        warehouse=warehouse,
        store=s3,
        bucket=store.bucket,
        grace=GRACE,
        retention=timedelta(hours=26),
        now=lambda: datetime.now(UTC),
    )


def stored(s3: Any, store: ObjectStoreSettings, window: MinuteWindow) -> bytes | None:
    try:
        return bytes(s3.get_object(Bucket=store.bucket, Key=default_stream().extract_key(window))["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None


def table(content: bytes | None) -> pa.Table:
    assert content is not None
    return pq.read_table(io.BytesIO(content))


def test_the_minute_has_its_start_and_not_its_end(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    rows = {
        "before": row(1, window.start - TICK),
        "at the start": row(2, window.start),
        "inside": row(3, window.start + MINUTE / 2),
        "just before the end": row(4, window.end - TICK),
        "at the end": row(5, window.end),
        "after": row(6, window.end + MINUTE),
    }
    insert(client, rows.values())
    extracted = extract(window, client, s3, object_store)
    assert extracted.rows == 3
    assert table(stored(s3, object_store, window))["_offset"].to_pylist() == [2, 3, 4]


def test_values_arrive_as_the_docstring_says(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    at = window.start + timedelta(milliseconds=123)
    arrived = window.end + timedelta(milliseconds=7)
    insert(
        client,
        [row(7, at, arrived=arrived, partition=3, product="P-1", amount=1999), row(8, at, partition=3)],
    )
    extract(window, client, s3, object_store)
    first, second = table(stored(s3, object_store, window)).to_pylist()
    assert first == {
        "event_id": uuid5(NAMESPACE, "event 7").bytes,
        "user_id": uuid5(NAMESPACE, "user 7").bytes,
        "session_id": uuid5(NAMESPACE, "session 7").bytes,
        "event_type": "view",
        "status": "success",
        "event_time": at,
        "product_id": "P-1",
        "amount": 1999,
        "error_code": None,
        "device": "mobile",
        "country": "DE",
        "_partition": 3,
        "_offset": 7,
        "_timestamp": arrived,
    }
    assert (second["product_id"], second["amount"]) == (None, None)


def test_the_first_streams_extract_has_what_its_report_reads_and_where_each_row_stood(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    arrived = window.end + timedelta(milliseconds=7)
    insert(client, [row(7, window.start, arrived=arrived, partition=3, product="P-1", amount=1999)])
    extract(window, client, s3, object_store, default_stream())
    assert table(stored(s3, object_store, window)).to_pylist() == [
        {
            "event_id": uuid5(NAMESPACE, "event 7").bytes,
            "user_id": uuid5(NAMESPACE, "user 7").bytes,
            "event_type": "view",
            "status": "success",
            "_partition": 3,
            "_offset": 7,
            "_timestamp": arrived,
        }
    ]


def test_a_record_delivered_twice_is_one_row_before_and_after_the_table_merges(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    records = [row(number, window.start + number * TICK, partition=number % 3) for number in range(30)]
    # Three deliveries, cut differently as a replay cuts them: four parts, and most rows in two of them.
    for first, last in ((0, 20), (10, 30), (5, 15), (29, 30)):
        insert(client, records[first:last])
    extracted = extract(window, client, s3, object_store)
    before = stored(s3, object_store, window)
    assert extracted.rows == 30
    places = table(before).select(["_partition", "_offset"]).to_pylist()
    assert places == sorted(({"_partition": n % 3, "_offset": n} for n in range(30)), key=lambda p: tuple(p.values()))

    client.command(f"OPTIMIZE TABLE {default_stream().table} FINAL")
    assert extract(window, client, s3, object_store) == extracted
    assert stored(s3, object_store, window) == before


def test_three_runs_leave_the_same_bytes(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    insert_many(client, window, 200_000)
    written = set()
    for _ in range(3):
        assert extract(window, client, s3, object_store).rows == 200_000
        written.add(stored(s3, object_store, window))
    assert len(written) == 1


def test_an_empty_minute_has_no_object_even_where_one_was(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    s3.put_object(Bucket=object_store.bucket, Key=default_stream().extract_key(window), Body=b"stale")
    extracted = extract(window, client, s3, object_store)
    assert (extracted.rows, extracted.source) == (0, None)
    assert stored(s3, object_store, window) is None
    assert extract(window, client, s3, object_store) == extracted


def test_another_streams_columns_arrive_as_its_table_has_them(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    """Whatever kinds of columns they are, UUIDs apart, and without a word of code: no number is less exact."""
    stream = Stream(f"extract_{uuid4().hex[:12]}")
    client.command(
        f"CREATE TABLE {stream.table} (ride UUID, guest Nullable(UUID), stops Array(UUID), `from` Enum8('a' = 1), "
        "picked_up DateTime('UTC'), day Date, fare Decimal(18, 6), tags Map(String, Int32), rate Float64 DEFAULT 0.5, "
        "_topic LowCardinality(String), _partition Int32, _offset Int64, _timestamp DateTime64(3, 'UTC'), "
        "event_minute DateTime('UTC') MATERIALIZED toStartOfMinute(picked_up)) ENGINE = ReplacingMergeTree "
        "PARTITION BY event_minute ORDER BY (_topic, _partition, _offset)"
    )
    ride, stop = uuid4(), uuid4()
    at = f"toDateTime('{window.start:%Y-%m-%d %H:%M:%S}', 'UTC')"
    client.command(
        f"INSERT INTO {stream.table} (ride, stops, `from`, picked_up, day, fare, tags, _topic, _partition, _offset, "
        f"_timestamp) SELECT '{ride}', ['{stop}'], 'a', {at} + 1, toDate({at}), toDecimal64('123456789.000001', 6), "
        f"map('x', 7), '{stream.topic}', 0, 5, {at}"
    )
    extracted = extract_minute(
        window,
        stream=stream,
        warehouse=client,
        store=s3,
        bucket=object_store.bucket,
        grace=GRACE,
        retention=timedelta(hours=26),
        now=lambda: datetime.now(UTC),
    )
    body = s3.get_object(Bucket=object_store.bucket, Key=stream.extract_key(window))["Body"].read()
    client.command(f"DROP TABLE {stream.table} SYNC")
    assert (extracted.rows, extracted.offsets[0].first) == (1, 5)
    assert table(body).to_pylist() == [
        {
            "ride": ride.bytes,
            "guest": None,
            "stops": [stop.bytes],
            "from": b"a",
            "picked_up": window.start + timedelta(seconds=1),
            "day": window.start.date(),
            "fare": Decimal("123456789.000001"),
            "tags": [("x", 7)],
            "rate": 0.5,
            "_partition": 0,
            "_offset": 5,
            "_timestamp": window.start,
        }
    ]


class Sabotaged:
    """The real client, with something done to its query or its answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        answer: IO[bytes] = self.client.raw_stream(query, parameters=parameters, settings=settings, fmt=fmt)
        return answer

    def command(self, cmd: str, parameters: dict[str, Any]) -> Any:
        return self.client.command(cmd, parameters=parameters)

    def query(self, query: str) -> Any:
        return self.client.query(query)


class FailsHalfWay(Sabotaged):
    """Its query throws at a late row, when the first bytes have long been sent."""

    def __init__(self, client: Client, at_offset: int) -> None:
        super().__init__(client)
        self.at_offset = at_offset

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        throwing = f"SELECT * REPLACE (_offset + throwIf(_offset = {self.at_offset}) AS _offset) FROM ({query})"
        small = settings | {"output_format_parquet_row_group_size": 20_000, "max_block_size": 10_000}
        answer = super().raw_stream(throwing, parameters, small, fmt)
        assert answer.read(4) == b"PAR1", "the query failed before its first bytes: not the case under test"
        return answer


class KilledHalfWay(Sabotaged):
    """Its server is killed once the first bytes have been read."""

    def __init__(self, client: Client, pid: int) -> None:
        super().__init__(client)
        self.pid = pid

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        answer = super().raw_stream(query, parameters, settings, fmt)
        read = answer.read

        def read_then_kill(size: int = -1) -> bytes:
            chunk = read(min(size, 65_536))
            os.kill(self.pid, signal.SIGKILL)
            answer.read = read  # type: ignore[method-assign]
            return chunk

        answer.read = read_then_kill  # type: ignore[method-assign]
        return answer


def test_a_query_that_fails_half_way_leaves_what_was_there(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    insert_many(client, window, 400_000)
    for before in (None, b"of an earlier run"):
        if before:
            s3.put_object(Bucket=object_store.bucket, Key=default_stream().extract_key(window), Body=before)
        with pytest.raises(TruncatedExtractError, match="broke off after"):
            extract(window, FailsHalfWay(client, 390_000), s3, object_store)
        assert stored(s3, object_store, window) == before


def test_a_warehouse_killed_half_way_leaves_no_object_and_the_next_run_is_whole(
    window: MinuteWindow, s3: Any, object_store: ObjectStoreSettings, own_stack: Stack
) -> None:
    settings = own_stack.settings.of(WarehouseSettings)
    with running_part("warehouse", own_stack) as pid:
        client = warehouse_client(settings)
        insert_many(client, window, 1_000_000)
        with pytest.raises(TruncatedExtractError, match="broke off after"):
            extract(window, KilledHalfWay(client, pid), s3, object_store)
        assert stored(s3, object_store, window) is None
    with running_part("warehouse", own_stack):
        assert extract(window, warehouse_client(settings), s3, object_store).rows == 1_000_000
        assert table(stored(s3, object_store, window)).num_rows == 1_000_000


def test_late_and_bad_records_are_counted_by_their_arrival(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    deadline = window.end + GRACE
    arrivals = [window.start, deadline - TICK, deadline, deadline + TICK, datetime.now(UTC)]
    insert(client, [row(n, window.start, arrived=arrived) for n, arrived in enumerate(arrivals)])
    bad = [window.start - TICK, window.start, window.end - TICK, window.end]
    letters = [["user_interactions", 0, 10 + n, at, "not_avro", ""] for n, at in enumerate(bad)]
    elsewhere = [["another_topic", 0, 11, window.start, "not_avro", ""]]
    columns = ["_topic", "_partition", "_offset", "_timestamp", "reason", "detail"]
    for delivered in (letters + elsewhere, letters):  # a record that the sink delivered twice is one bad record
        client.insert("dead_letters", delivered, column_names=columns)

    extracted = extract(window, client, s3, object_store)

    assert (extracted.rows, extracted.late_events, extracted.dead_letters) == (5, 3, 2)
    assert extracted.offsets == {0: OffsetSpan(first=0, last=4, rows=5)}


def test_size_and_etag_are_those_of_the_stored_object(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings
) -> None:
    insert_many(client, window, 50_000)
    extracted = extract(window, client, s3, object_store)
    head = s3.head_object(Bucket=object_store.bucket, Key=extracted.object_key)
    assert (head["ContentLength"], head["ETag"]) == (extracted.object_size, f'"{extracted.object_etag}"')


@pytest.mark.usefixtures("s3_connection", "warehouse_connection", "ledger_connection", "policy")
def test_the_task_finds_its_way_through_airflows_connections(
    window: MinuteWindow, client: Client, s3: Any, object_store: ObjectStoreSettings, ledger: LedgerReader
) -> None:
    insert(client, [row(1, window.start), row(2, window.end)])
    extracted = STEPS.extract(Run(window), connections.object_store())
    key = default_stream().extract_key(window)
    assert (extracted.minute, extracted.rows, extracted.source, extracted.result) == (
        str(window),
        1,
        f"s3a://{object_store.bucket}/{key}",
        f"s3a://{object_store.bucket}/{default_stream().result_key(window)}",
    )
    assert table(stored(s3, object_store, window))["_offset"].to_pylist() == [1]
    entry = ledger.entry(window)
    assert entry is not None
    assert (entry.state, entry.run_id, entry.received, entry.object_key) == (
        "extracted",
        "etar_pipeline/scheduled__of-a-test",
        1,
        key,
    )

"""Extraction from canned answers: only a whole Parquet file becomes an object. Real rows: tests/integration."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from urllib3.exceptions import ProtocolError

from etar.errors import PermanentError, TransientError
from etar.extracts import Extract
from etar.minute import MinuteWindow
from etar.pipeline.extract import ExpiredMinuteError, TruncatedExtractError, extract_minute
from etar.streams import Stream, default_stream

WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))
KEY = "extracts/user_interactions/2026-11-21_10-31.parquet"
GRACE = timedelta(seconds=2)
RETENTION = timedelta(hours=26)


class CannedWarehouse:
    def __init__(self, answer: IO[bytes]) -> None:
        self.answer = answer
        self.dead_letters = 0
        self.asked: dict[str, Any] = {}
        self.described: list[tuple[str, ...]] = [
            ("event_id", "UUID", ""),
            ("_topic", "String", ""),
            ("_offset", "Int64", ""),
        ]

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        self.asked = {"query": query, "parameters": parameters, "settings": settings, "fmt": fmt}
        return self.answer

    def query(self, query: str) -> SimpleNamespace:
        assert query == "DESCRIBE TABLE user_interactions"
        return SimpleNamespace(result_rows=self.described)

    def command(self, _: str, parameters: dict[str, Any]) -> int:
        assert parameters == {"topic": "user_interactions", "start": WINDOW.start, "end": WINDOW.end}
        return self.dead_letters


class CutOff(io.RawIOBase):
    """A response whose connection breaks after some bytes."""

    def __init__(self, content: bytes) -> None:
        self._chunks: Iterator[bytes] = iter([content])

    def read(self, _size: int = -1) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise ProtocolError("connection broken")


class Objects(dict[str, bytes]):
    def put_object(self, *, Bucket: str, Key: str, Body: IO[bytes], ContentType: str) -> dict[str, str]:
        assert (Bucket, ContentType) == ("etar", "application/vnd.apache.parquet")
        self[Key] = Body.read()
        return {"ETag": '"the-etag"'}

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        assert Bucket == "etar"
        self.pop(Key, None)


def parquet(rows: int, *, partitions: int = 1, appended: Sequence[datetime] = ()) -> bytes:
    """Records of ``partitions`` in turn, at the minute's end unless ``appended`` says when."""
    columns = {
        "_partition": pa.array([number % partitions for number in range(rows)], pa.int32()),
        "_offset": pa.array([100 + number for number in range(rows)], pa.int64()),
        "_timestamp": pa.array(appended or [WINDOW.end] * rows, pa.timestamp("ms", "UTC")),
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def run(
    answer: IO[bytes], objects: Objects, *, age: timedelta = timedelta(minutes=2), dead_letters: int = 0
) -> Extract:
    warehouse = CannedWarehouse(answer)
    warehouse.dead_letters = dead_letters
    return extract(warehouse, objects, age=age)


ALL_COLUMNS = replace(default_stream(), report_columns=None)


def extract(
    warehouse: CannedWarehouse,
    objects: Objects,
    *,
    stream: Stream = ALL_COLUMNS,
    age: timedelta = timedelta(minutes=2),
) -> Extract:
    return extract_minute(
        WINDOW,
        stream=stream,
        warehouse=warehouse,
        store=objects,
        bucket="etar",
        grace=GRACE,
        retention=RETENTION,
        now=lambda: WINDOW.start + age,
    )


def test_a_whole_answer_becomes_the_object_byte_for_byte() -> None:
    objects = Objects()
    extracted = run(io.BytesIO(parquet(3)), objects, dead_letters=7)
    assert objects == {KEY: parquet(3)}
    assert extracted.as_xcom() == {
        "minute": "2026-11-21T10:31Z",
        "rows": 3,
        "late_events": 0,
        "dead_letters": 7,
        "offsets": {"0": {"first": 100, "last": 102, "rows": 3}},
        "source": f"s3a://etar/{KEY}",
        "result": "s3a://etar/results/user_interactions/2026-11-21_10-31.json",
        "object_key": KEY,
        "object_size": len(parquet(3)),
        "object_etag": "the-etag",
    }


def test_what_travels_between_tasks_comes_back_as_it_was() -> None:
    extracted = run(io.BytesIO(parquet(5, partitions=2)), Objects())
    assert Extract.model_validate_json(json.dumps(extracted.as_xcom())) == extracted.model_copy(
        update={"arrivals": None}
    )


@pytest.mark.parametrize("rows", [1, 7, 65_536, 65_537, 200_003])
def test_each_partition_has_its_first_and_last_offset(rows: int) -> None:
    extracted = run(io.BytesIO(parquet(rows, partitions=3)), Objects())
    of_partition = {p: [100 + n for n in range(p, rows, 3)] for p in range(3)}
    assert extracted.rows == rows
    assert {p: span.model_dump() for p, span in extracted.offsets.items()} == {
        p: {"first": offsets[0], "last": offsets[-1], "rows": len(offsets)}
        for p, offsets in of_partition.items()
        if offsets
    }


def test_late_is_what_arrived_at_the_end_of_the_grace_or_later() -> None:
    tick = timedelta(milliseconds=1)
    deadline = WINDOW.end + GRACE
    on_time = [WINDOW.start, WINDOW.end - tick, WINDOW.end, deadline - tick]
    late = [deadline, deadline + tick, deadline + timedelta(hours=20)]
    appended = [*late[:1], *on_time, *late[1:]]
    assert run(io.BytesIO(parquet(len(appended), appended=appended)), Objects()).late_events == len(late)


def test_rows_are_counted_by_minute_of_arrival_and_partition() -> None:
    tick = timedelta(milliseconds=1)
    appended = [WINDOW.end - tick, WINDOW.end, WINDOW.end + tick, WINDOW.next.end, WINDOW.next.end - tick]
    extracted = run(io.BytesIO(parquet(5, partitions=2, appended=appended)), Objects())
    assert extracted.arrivals == {
        "2026-11-21T10:31Z": {0: 1},
        "2026-11-21T10:32Z": {0: 2, 1: 1},
        "2026-11-21T10:33Z": {1: 1},
    }
    assert run(io.BytesIO(parquet(0)), Objects()).arrivals == {}


@pytest.mark.parametrize("rows", [65_537, 200_003])
def test_arrivals_are_counted_over_all_batches(rows: int) -> None:
    extracted = run(io.BytesIO(parquet(rows, partitions=3)), Objects())
    assert extracted.arrivals == {"2026-11-21T10:32Z": {p: span.rows for p, span in extracted.offsets.items()}}


def test_the_window_alone_makes_the_predicate() -> None:
    warehouse = CannedWarehouse(io.BytesIO(parquet(1)))
    extract(warehouse, Objects())
    assert f"WHERE {WINDOW.predicate}\n" in warehouse.asked["query"]
    assert "FROM user_interactions FINAL" in warehouse.asked["query"]
    assert warehouse.asked["parameters"] == WINDOW.parameters
    assert warehouse.asked["fmt"] == "Parquet"


def test_an_empty_minute_leaves_no_object_and_takes_a_stale_one_away() -> None:
    objects = Objects({KEY: b"of an earlier run", "other": b"kept"})
    extracted = run(io.BytesIO(parquet(0)), objects)
    assert objects == {"other": b"kept"}
    assert (extracted.rows, extracted.late_events, extracted.offsets) == (0, 0, {})
    assert (extracted.source, extracted.object_key, extracted.object_size, extracted.object_etag) == (None,) * 4


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(parquet(1000)[:-1], id="one byte short"),
        pytest.param(parquet(1000)[:500], id="cut half-way"),
        pytest.param(parquet(1000) + b"Code: 241. DB::Exception: Memory limit", id="an error after the file"),
        pytest.param(b"Code: 60. DB::Exception: Table does not exist", id="only an error"),
    ],
)
def test_an_answer_that_is_not_whole_leaves_what_was_there(answer: bytes) -> None:
    objects = Objects({KEY: b"of an earlier run"})
    with pytest.raises(TruncatedExtractError, match=rf"2026-11-21T10:31Z .*\({len(answer)} bytes") as failed:
        run(io.BytesIO(answer), objects)
    assert isinstance(failed.value, TransientError)
    assert objects == {KEY: b"of an earlier run"}


def test_a_broken_connection_leaves_no_object() -> None:
    objects = Objects()
    with pytest.raises(TruncatedExtractError, match="broke off after 500 bytes: connection broken"):
        run(CutOff(parquet(1000)[:500]), objects)  # type: ignore[arg-type]
    assert objects == {}


@pytest.mark.parametrize(
    ("age", "expired"),
    [
        (RETENTION - timedelta(microseconds=1), False),
        (RETENTION, True),
        (RETENTION + timedelta(seconds=1), True),
    ],
)
@pytest.mark.parametrize("rows", [0, 3])
def test_a_minute_past_the_horizon_never_replaces_what_is_known_of_it(age: timedelta, expired: bool, rows: int) -> None:
    objects = Objects({KEY: b"of an earlier run"})
    if expired:
        with pytest.raises(ExpiredMinuteError, match="its report stays as it is") as refused:
            run(io.BytesIO(parquet(rows)), objects, age=age)
        assert isinstance(refused.value, PermanentError)
        assert objects == {KEY: b"of an earlier run"}
    else:
        assert run(io.BytesIO(parquet(rows)), objects, age=age).rows == rows


def selected_by(warehouse: CannedWarehouse) -> list[str]:
    columns = warehouse.asked["query"].partition("FROM")[0].split(",\n")
    return [" ".join(each.removeprefix("SELECT\n").split()) for each in columns]


@pytest.mark.parametrize(("reads", "more"), [(("fare", "status"), ["`fare`", "`status`"]), ((), [])])
def test_of_a_report_that_reads_some_columns_those_are_selected_and_what_tells_rows_apart(
    reads: tuple[str, ...], more: list[str]
) -> None:
    warehouse = CannedWarehouse(io.BytesIO(parquet(1)))
    warehouse.described = [
        (name, "UUID" if name == "event_id" else "String", "")
        for name in ("event_id", "fare", "guest", "status", "_topic", "_partition", "_offset", "_timestamp")
    ]
    extract(warehouse, Objects(), stream=replace(default_stream(), report_columns=reads))
    place = ["`_partition`", "`_offset`", "`_timestamp`"]
    assert selected_by(warehouse) == ["UUIDToNum(`event_id`) AS `event_id`", *more, *place]


def test_what_is_selected_is_what_the_table_says_of_itself() -> None:
    warehouse = CannedWarehouse(io.BytesIO(parquet(1)))
    warehouse.described = [
        ("ride", "UUID", "", "", "", "", ""),
        ("guest", "Nullable(UUID)", "", "", "", "", ""),
        ("stops", "Array(UUID)", "", "", "", "", ""),
        ("fare", "Decimal(12, 2)", "DEFAULT", "0", "", "", ""),
        ("from", "LowCardinality(String)", "", "", "", "", ""),
        ("_topic", "LowCardinality(String)", "", "", "", "", ""),
        ("_offset", "Int64", "", "", "", "", ""),
        ("event_minute", "DateTime('UTC')", "MATERIALIZED", "…", "", "", ""),
        ("day", "Date", "ALIAS", "…", "", "", ""),
        ("given", "String", "EPHEMERAL", "", "", "", ""),
    ]
    extract(warehouse, Objects())
    assert selected_by(warehouse) == [
        "UUIDToNum(`ride`) AS `ride`",
        "UUIDToNum(`guest`) AS `guest`",
        "arrayMap(each -> UUIDToNum(each), `stops`) AS `stops`",
        "`fare`",
        "`from`",
        "`_offset`",
    ]

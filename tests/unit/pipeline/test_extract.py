"""Extraction from canned answers: only a whole Parquet file becomes an object. Real rows: tests/integration."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from urllib3.exceptions import ProtocolError

from etar.minute import MinuteWindow
from etar.pipeline.errors import PermanentError, TransientError
from etar.pipeline.extract import ExpiredMinuteError, Extract, TruncatedExtractError, extract_minute
from etar.streams import USER_INTERACTIONS

WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))
KEY = "extracts/user_interactions/2026-11-21_10-31.parquet"
HORIZON = timedelta(hours=24)


class CannedWarehouse:
    def __init__(self, answer: IO[bytes]) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        self.asked = {"query": query, "parameters": parameters, "settings": settings, "fmt": fmt}
        return self.answer


class CutOff(io.RawIOBase):
    """A response whose connection breaks after some bytes."""

    def __init__(self, content: bytes) -> None:
        self._chunks: Iterator[bytes] = iter([content])

    def read(self, _size: int = -1) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise ProtocolError("connection broken")


class Objects(dict[str, bytes]):
    def put_object(self, *, Bucket: str, Key: str, Body: IO[bytes], ContentType: str) -> None:
        assert (Bucket, ContentType) == ("etar", "application/vnd.apache.parquet")
        self[Key] = Body.read()

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        assert Bucket == "etar"
        self.pop(Key, None)


def parquet(rows: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"_offset": pa.array(range(rows), pa.int64())}), out)
    return out.getvalue()


def run(answer: IO[bytes], objects: Objects, *, age: timedelta = timedelta(minutes=2)) -> Extract:
    return extract_minute(
        WINDOW,
        stream=USER_INTERACTIONS,
        warehouse=CannedWarehouse(answer),
        store=objects,
        bucket="etar",
        horizon=HORIZON,
        now=lambda: WINDOW.start + age,
    )


def test_a_whole_answer_becomes_the_object_byte_for_byte() -> None:
    objects = Objects()
    extracted = run(io.BytesIO(parquet(3)), objects)
    assert objects == {KEY: parquet(3)}
    assert extracted.as_xcom() == {
        "minute": "2026-11-21T10:31Z",
        "rows": 3,
        "source": f"s3a://etar/{KEY}",
        "result": "s3a://etar/results/user_interactions/2026-11-21_10-31.json",
    }


def test_the_window_alone_makes_the_predicate() -> None:
    warehouse = CannedWarehouse(io.BytesIO(parquet(1)))
    extract_minute(
        WINDOW,
        stream=USER_INTERACTIONS,
        warehouse=warehouse,
        store=Objects(),
        bucket="etar",
        horizon=HORIZON,
        now=lambda: WINDOW.end,
    )
    assert f"WHERE {WINDOW.predicate}\n" in warehouse.asked["query"]
    assert "FROM user_interactions FINAL" in warehouse.asked["query"]
    assert warehouse.asked["parameters"] == WINDOW.parameters
    assert warehouse.asked["fmt"] == "Parquet"


def test_an_empty_minute_leaves_no_object_and_takes_a_stale_one_away() -> None:
    objects = Objects({KEY: b"of an earlier run", "other": b"kept"})
    extracted = run(io.BytesIO(parquet(0)), objects)
    assert objects == {"other": b"kept"}
    assert (extracted.rows, extracted.source) == (0, None)


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
        (HORIZON - timedelta(microseconds=1), False),
        (HORIZON, True),
        (HORIZON + timedelta(seconds=1), True),
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

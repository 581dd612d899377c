"""Many records and many rows: what is taken of them is what a list of them would give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from etar.dead_letters import Reason
from etar.event_times import EventTimeBounds
from etar.records.avro_codec import AvroCodec, compile_reader
from etar.records.batch import Batch, Rows
from etar.records.codec import Reader
from etar.records.decode import Decoder
from etar.records.framing import SchemaId
from etar.records.record import Record, Unreadable
from etar.records.warehouse import rows_to_arrow
from tests.unit.records.events import APPENDED_MS, LAYOUT, SCHEMA_ID, SCHEMA_TEXT, encode, event, record

DECODER = Decoder(LAYOUT, EventTimeBounds(behind_ms=86_400_000, ahead_ms=300_000))
READERS: dict[SchemaId, Reader | Unreadable] = {SCHEMA_ID: compile_reader(SCHEMA_TEXT, LAYOUT)}
LONGEST = (1 << 63) - 1
"""A number of ten bytes, which is read by itself."""


def rows_of(amounts: list[int]) -> Rows:
    records = [record(encode(event(offset, amount=each)), offset=offset) for offset, each in enumerate(amounts)]
    batch = Batch.of(records)
    rows, letters = DECODER.decode_all(batch, AvroCodec().bodies(batch), READERS)
    assert isinstance(rows, Rows)
    assert not letters
    return rows


def test_rows_are_in_the_order_of_their_records_however_each_was_read() -> None:
    rows = rows_of([1, LONGEST, 3, LONGEST, 5])
    assert [row.record.offset for row in rows] == [0, 1, 2, 3, 4]
    assert rows.table["_offset"].to_pylist() == [0, 1, 2, 3, 4]
    assert rows.table["amount"].to_pylist() == [1, LONGEST, 3, LONGEST, 5]
    assert rows[-1].record.offset == 4
    with pytest.raises(IndexError):
        rows[5]


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("end", range(7))
def test_a_part_of_the_rows_is_that_part_as_a_table_and_as_objects(first: int, end: int) -> None:
    rows = rows_of([1, LONGEST, 3, LONGEST, 5])
    part = rows[first:end]
    assert list(part) == list(rows)[first:end]
    if part:
        assert rows_to_arrow(LAYOUT, part).to_pylist() == rows_to_arrow(LAYOUT, list(rows)[first:end]).to_pylist()
    assert rows[first::2] == list(rows)[first::2]


def message(offset: int, **more: Any) -> Any:
    told = {"topic": "t", "partition": 1, "offset": offset, "timestamp": (1, APPENDED_MS), "key": b"k", "value": b"v",
            "headers": None} | more  # fmt: skip
    return SimpleNamespace(**{name: lambda value=value: value for name, value in told.items()})


def test_a_batch_of_messages_is_their_records() -> None:
    messages = [message(5), message(7, value=None), message(9, headers=[("a", b"b")])]
    batch = Batch.of_messages(messages, "t")
    records = [Record("t", 1, 5, APPENDED_MS, b"k", b"v"), Record("t", 1, 7, APPENDED_MS, b"k", None),
               Record("t", 1, 9, APPENDED_MS, b"k", b"v", [("a", b"b")])]  # fmt: skip
    assert list(batch) == records
    assert batch[1:] == records[1:]
    for columns in (batch, Batch.of(records)):
        assert list(columns.topics) == ["t"] * 3
        assert list(columns.headed) == [False, False, True]
        assert list(zip(columns.partitions, columns.offsets, columns.appended_ms, columns.values, strict=True)) == [
            (each.partition, each.offset, each.appended_ms, each.value) for each in records
        ]


def test_records_with_headers_are_read_by_themselves() -> None:
    good = encode(event())
    named = [("__value_schema_id", b"\0\0\0\0\x09")]
    batch = Batch.of([record(good), record(good, offset=43)._replace(headers=named)])
    bodies = AvroCodec().bodies(batch)
    assert bodies is not None
    assert list(bodies.identifiers) == [SCHEMA_ID, 0]
    rows, (letter,) = DECODER.decode_all(batch, bodies, READERS | {9: READERS[SCHEMA_ID]})
    assert [row.record.offset for row in rows] == [42]
    assert letter.reason in (Reason.NOT_AVRO, Reason.TRAILING_BYTES, Reason.TRUNCATED)

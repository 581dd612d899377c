"""Whole columns at once and whole blocks at once give what one by one gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etar.rows.columns import Column, plain_values, python_values
from etar.rows.conversion import Row
from etar.rows.values import RowError, Values
from producer.input_file import Reject, read_pieces
from streams.user_interactions.event import EVENT_TYPES, STATUSES
from streams.user_interactions.input import OneByOne, RowConverter
from streams.user_interactions.input_cells import FIELDS, LAYOUT

HEADER = b"\0\0\0\0\1"
USER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
ROWS = 5

UUIDS = st.sampled_from([USER, USER.upper(), "{" + USER + "}", USER[:-1] + "g", USER.replace("-", "0"), "nobody"])
ZONES = st.sampled_from(["", "Z", "+00:00", "+01", "-0800", " UTC", " gmt", "+5", "+24:00", "z"])
INSTANTS = st.datetimes(datetime(1960, 1, 1), datetime(2060, 1, 1))  # noqa: DTZ001  the zone is written behind it
DIGITS = st.sampled_from(["", ".", ".2", ".25", ".250", ",250", ".250999", ".250999999", "0", ".-1"])
TIMES = st.one_of(
    st.builds(
        lambda at, between, digits, zone: f"{at:%Y-%m-%d}{between}{at:%H:%M:%S}{digits}{zone}",
        INSTANTS, st.sampled_from(["T", " ", "t", "  "]), DIGITS, ZONES,
    ),
    st.sampled_from(
        ["2026-11-21", "2026-11-21 10", "2026-11-21T10:31", "2026-02-30 10:31:05", "2026-11-21T24:00:00",
         "2026-11-21 10:31:60", "20261121T103105", "2026-W47-6", "1795266311705", "1.795266311705E12", "now", "10:31",
         "2026-11-21 10:31+01", "0001-01-01 00:00:00", " 2026-11-21T10:31:05"]
    ),
)  # fmt: skip
WORDS = st.sampled_from(
    ["NULL", "\\N", "nan", "NA", " ", "", "x", "Füße", 'a "b", c', "\ud800", "\0", "1299", "12.5", "7e2"]
)
NUMBERS = st.integers(-(2**65), 2**65) | st.sampled_from([0, 10**11, 2**41 - 1, 2**41, 1_795_266_311_705])
OTHERS = st.sampled_from(
    [True, 1.0, float("nan"), Decimal("1299.00"), b"mobile", b"\xff", date(2026, 11, 21), ["view"]]
)
OF_FIELD = {
    "event_id": UUIDS,
    "user_id": UUIDS,
    "session_id": UUIDS,
    "event_type": st.sampled_from([*EVENT_TYPES, " view ", "buy"]),
    "status": st.sampled_from([*STATUSES, "ok"]),
    "event_time": TIMES,
    "product_id": WORDS,
    "amount": WORDS | NUMBERS,
    "error_code": WORDS,
    "device": WORDS,
    "country": WORDS,
}
_IDS = [USER, "00000000-0000-4000-8000-00000000000f"]
_USUAL: dict[str, Sequence[Any]] = {
    "event_id": _IDS,
    "user_id": _IDS,
    "session_id": _IDS,
    "event_type": EVENT_TYPES,
    "status": STATUSES,
    "event_time": ["2026-11-21 10:31:05", "2026-11-22 10:31:05"],
    **dict.fromkeys(("product_id", "amount", "error_code", "device", "country"), ("7", "12", "")),
}


def _usual_columns(name: str) -> st.SearchStrategy[list[Any]]:
    """Made beforehand: to draw each value of each column takes longer than all that is tested."""
    random = Random(name)
    kinds = [_USUAL[name]] if name in LAYOUT.required else [_USUAL[name], [*_USUAL[name], None]]
    return st.sampled_from([random.choices(values, k=ROWS) for values in kinds for _ in range(8)])


USUAL = {name: _usual_columns(name) for name in FIELDS}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Of usual values but for two columns at most: one that is odd can leave all rows to the slow way."""
    names = [name for name in FIELDS if name in LAYOUT.required or draw(st.booleans())]
    odd = draw(st.sets(st.sampled_from(names), max_size=2))
    table = {}
    for name in names:
        if name not in odd:
            table[name] = list(draw(USUAL[name]))
            continue
        usual, own = st.sampled_from(_USUAL[name]), OF_FIELD[name]
        kinds = [usual | own, own | st.none(), own | st.none() | WORDS | NUMBERS | OTHERS, NUMBERS | st.none()]
        table[name] = draw(st.lists(draw(st.sampled_from(kinds)), min_size=ROWS, max_size=ROWS))
    return table


def converted(columns: dict[str, Column], values: Values) -> list[Row | tuple[str, str]]:
    records, errors = RowConverter(values, HEADER).convert(columns, ROWS)
    made = map(Row, records.times.tolist(), records.keys, records.values)
    return [_shown(errors[index]) if index in errors else next(made) for index in range(ROWS)]


def one_by_one(columns: dict[str, Column], values: Values) -> list[Row | tuple[str, str]]:
    made = OneByOne(values, HEADER).convert(python_values(columns), ROWS)
    return [_shown(each) if isinstance(each, RowError) else each for each in made]


def _shown(error: RowError) -> tuple[str, str]:
    return str(error), error.kind


SAID = st.sampled_from(
    [*[Values()] * 4, Values(["NULL", "nan"], ["NA"]), Values([USER]), Values(["2026-11-21 10:31:05"])]
)


@settings(max_examples=400)
@given(tables(), SAID)
def test_a_table_of_python_values(table: dict[str, list[Any]], values: Values) -> None:
    assert converted(table, values) == one_by_one(table, values)  # type: ignore[arg-type]


TYPES = [
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Mars/Olympus")),
    *(pa.date64(), pa.int64(), pa.uint64(), pa.float64()),
]
WHOLE = st.integers(-(2**62), 2**62) | st.sampled_from([1_795_266_311, 1_795_266_311_705, 1_795_266_311_705_999, -1])


@settings(max_examples=200)
@given(
    st.sampled_from(TYPES),
    st.lists(WHOLE | st.none(), min_size=ROWS, max_size=ROWS),
    st.sampled_from(["event_time", "amount"]),
)
def test_a_column_of_numbers_of_any_type(kind: pa.DataType, numbers: list[int | None], name: str) -> None:
    usual: dict[str, Column] = {"user_id": [USER] * ROWS, "event_type": ["view"] * ROWS, "event_time": [10**12] * ROWS}
    if pa.types.is_floating(kind):
        array = pa.array([None if number is None else float(number) for number in numbers], kind)
    else:
        array = pa.array(numbers, pa.int64()).view(kind)
    assert converted(usual | {name: array}, Values()) == one_by_one(usual | {name: array}, Values())


@settings(max_examples=100)
@given(tables(), st.data())
def test_a_column_of_text_of_any_type(table: dict[str, list[Any]], data: st.DataObject) -> None:
    def as_arrow(values: list[Any]) -> Column:
        text = [None if value is None else str(value).encode("utf-8", "surrogatepass") for value in values]
        bytes_ = pa.array([b"cut off", *text], pa.binary())[1:]
        kind = data.draw(st.sampled_from(["text", "large", "bytes", "dictionary"]))
        match kind:
            case "text":
                return bytes_.view(pa.string())
            case "large":
                return bytes_.cast(pa.large_binary()).view(pa.large_string())
            case "dictionary":
                return bytes_.dictionary_encode()
        return bytes_

    columns = {name: as_arrow(values) for name, values in table.items()}
    assert converted(columns, Values()) == one_by_one(columns, Values())


def test_a_usual_table_is_not_left_to_the_slow_way() -> None:
    table: dict[str, Column] = {name: [value] * ROWS for name, value in {"user_id": USER, "event_type": "view"}.items()}
    times = [f"2026-11-21T10:31:05.25{zone}" for zone in ("Z", "+00:00", "+01:00", " UTC", "")]
    with patch.object(OneByOne, "convert", side_effect=lambda _columns, rows: [RowError("left")] * rows):
        for amounts in ([1, None, 3, 4, 5], ["1", "", "3", "4", "5"], [1.0, None, 3.0, 4.0, 5.0]):
            columns = table | {
                "event_time": times,
                "amount": pa.array(amounts),
                "event_id": [USER, None, "", USER, USER],
            }
            assert not any(isinstance(each, tuple) and len(each) == 2 for each in converted(columns, Values()))


def lines_of(content: bytes, suffix: str) -> list[tuple[int, object, str]]:
    """Of each row and reject its line, what it holds, and its text."""
    found: list[tuple[int, object, str]] = []
    with TemporaryDirectory() as folder:
        file = Path(folder, f"rows{suffix}")
        file.write_bytes(content)
        for each in read_pieces([file], LAYOUT):
            if isinstance(each, Reject):
                found.append((each.line, each.reason, each.raw))
                continue
            cells: dict[str, Sequence[object]] = {name: plain_values(values) for name, values in each.columns.items()}
            for index, line in enumerate(each.lines):
                row = {name: values[index] for name, values in sorted(cells.items()) if values[index] is not None}
                found.append((line, row, each.raw(index)))
    return sorted(found, key=lambda each: each[0])


CELLS = st.sampled_from(
    ["", "a", '"a"', '""', '"a,b"', '"a""b"', '"a\nb"', 'a"b', '"a', "a\rb", '"a" b', "ü", " ", "\0", "x" * 140_000]
)
CSV_LINES = st.lists(st.lists(CELLS, min_size=1, max_size=4).map(",".join) | st.just("a,b,c"), max_size=8)


@settings(max_examples=300, deadline=None)
@given(CSV_LINES, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n"]), st.sampled_from([1, 30, 1000]))
@example(['"a"b,c,d', '"a\nb",c,d'], "\n", "", 1000)
def test_a_block_of_csv(lines: list[str], line_break: str, end: str, part: int) -> None:
    content = (line_break.join(["user_id,event_type,event_time", *lines]) + end).encode()
    with patch("producer.input_file._PART_BYTES", part):
        at_once = lines_of(content, ".csv")
    with patch("producer.input_file._row_a_line", return_value=None):
        assert at_once == lines_of(content, ".csv")


JSON_VALUES = st.none() | st.integers() | st.floats() | st.text(max_size=3)
ODD_JSON = [
    "",
    " ",
    "{}",
    "{} {}",
    "[1]",
    "null",
    '{"price": 1}',
    '{"user_id": 1}x',
    '{"user_id"',
    ': "a"}',
    '{"user_id":\r"a"}',
    '{"us\\u0065r_id": 1}',
    '{"user_id": 1, "user_id": 2}',
    '{"user_id": "\\ud800"}',
    '{"amount": 1e999}',
    '{"amount": 123456789012345678901234567890}',
]
JSON_LINES = st.lists(
    st.dictionaries(st.sampled_from(FIELDS[:4]), JSON_VALUES).map(json.dumps) | st.sampled_from(ODD_JSON), max_size=8
)


@settings(max_examples=300, deadline=None)
@given(JSON_LINES, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n"]), st.sampled_from([1, 30, 1000]))
@example(["{} {}", '{"user_id"', ': "a"}', "{}"], "\n", "", 1000)
def test_a_block_of_json(lines: list[str], line_break: str, end: str, part: int) -> None:
    content = (line_break.join(lines) + end).encode()
    with patch("producer.input_file._PART_BYTES", part):
        at_once = lines_of(content, ".jsonl")
    with patch("producer.input_file._columns_of_json", return_value=None):
        assert repr(at_once) == repr(lines_of(content, ".jsonl"))

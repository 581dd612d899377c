"""Rows of a file as records of a stream, by its schema alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.rows.conversion import Converter, Row
from etar.rows.values import RowError, Values
from etar.stream_code import StreamCodeError
from etar.streams import Limits, Stream
from producer.converters import converter_of, layout_of
from producer.encoding import Encoding, header_of
from producer.field_readers import read_decimal
from producer.input_file import InputFileError, Piece, Reject, find_files, read_pieces
from producer.schema_fields import limited
from tests.unit.producer.folders import avro_schema, payments, rides, stream_in, write_stream

HEADER = header_of(7)
ID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
AT = "2026-11-21T10:31:05.250001Z"
INSTANT = datetime(2026, 11, 21, 10, 31, 5, 250_001, tzinfo=UTC)
PAYMENT: dict[str, Any] = {"payment": ID, "at": AT, "amount": "12.50", "method": "card", "customer": "c1"}
RIDE: dict[str, Any] = {"ride": ID, "at": AT, "fare": Decimal("7.10"), "kind": "solo"}


def convert(stream: Stream, *rows: dict[str, Any], values: Values | None = None) -> list[Row | RowError]:
    """What becomes of each row."""
    header = HEADER if "registered" in stream.record or stream.record == "avro" else b""
    names = {name for row in rows for name in row}
    columns: dict[str, Sequence[object]] = {name: [row.get(name) for row in rows] for name in names}
    return in_order(converter_of(stream, values or Values(), header, None), columns, len(rows))


def in_order(converter: Converter, columns: Any, rows: int) -> list[Row | RowError]:
    records, errors = converter.convert(columns, rows)
    made = map(Row, records.times.tolist(), records.keys, records.values)
    return [errors[index] if index in errors else next(made) for index in range(rows)]


def event(stream: Stream, row: dict[str, Any], values: Values | None = None) -> dict[str, Any]:
    """The event that is read of what a row became."""
    [made] = convert(stream, row, values=values)
    if isinstance(made, RowError):
        raise made
    header = HEADER if made.value.startswith(HEADER) else b""
    return Encoding(stream, header).event_of(made.value)


@pytest.fixture(scope="module")
def avro(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return payments(tmp_path_factory.mktemp("avro"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return rides(tmp_path_factory.mktemp("json"))


def test_a_row_with_the_least_gets_the_schemas_defaults(avro: Stream) -> None:
    assert event(avro, PAYMENT) == {
        "payment": UUID(ID),
        "at": INSTANT,
        "amount": Decimal("12.50"),
        "method": "card",
        "customer": "c1",
        "pieces": 1,
        "weight": None,
        "gift": None,
        "due": None,
        "opened": None,
        "device": None,
        "tags": [],
        "counts": {},
        "place": None,
    }


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ("payment", ID.upper(), UUID(ID)),
        ("payment", UUID(ID).bytes, UUID(ID)),
        ("payment", ID.encode(), UUID(ID)),
        ("at", "2026-11-21 11:31:05.250001+01", INSTANT),
        ("at", 1_795_257_065_250_001, INSTANT),
        ("at", "1795257065250001", INSTANT),
        ("at", INSTANT, INSTANT),
        ("at", "1973-03-03T09:46:40Z", datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        ("at", "9999-12-30T23:59:59.999999Z", datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("amount", "0.1", Decimal("0.10")),
        ("amount", "9999999999.99", Decimal("9999999999.99")),
        ("amount", "-9999999999.99", Decimal("-9999999999.99")),
        ("amount", Decimal("1.2E+3"), Decimal("1200.00")),
        ("amount", "12.5000", Decimal("12.50")),
        ("amount", 3, Decimal("3.00")),
        ("amount", 0.1, Decimal("0.10")),
        ("method", " cash ", "cash"),
        ("pieces", "100", 100),
        ("pieces", 1.0, 1),
        ("weight", "1.5", 1.5),
        ("weight", Decimal("0.25"), 0.25),
        ("gift", "TRUE", True),
        ("gift", "0", False),
        ("gift", False, False),
        ("due", "2026-11-21", date(2026, 11, 21)),
        ("due", date(1969, 12, 31), date(1969, 12, 31)),
        ("due", datetime(2026, 11, 21), date(2026, 11, 21)),  # noqa: DTZ001  as a file has it
        ("due", 1, date(1970, 1, 2)),
        ("opened", "10:31:05.250", time(10, 31, 5, 250_000)),
        ("opened", 86_399_999, time(23, 59, 59, 999_000)),
        ("device", ID, UUID(ID)),
        ("device", UUID(ID).bytes, UUID(ID)),
        ("tags", '["a", "b"]', ["a", "b"]),
        ("tags", ["a"], ["a"]),
        ("counts", '{"a": 1}', {"a": 1}),
        ("counts", [("a", 1), ("b", 2)], {"a": 1, "b": 2}),
        ("place", '{"city": "Köln", "zip": 50667}', {"city": "Köln", "zip": 50667}),
        ("place", {"city": "Bonn", "zip": None}, {"city": "Bonn", "zip": None}),
    ],
)
def test_a_value_is_known_by_what_it_is(field: str, given: object, expected: object, avro: Stream) -> None:
    found = event(avro, PAYMENT | {field: given})[field]
    # A fixed of sixteen bytes is read as the bytes that it is.
    assert found == (expected.bytes if isinstance(expected, UUID) and isinstance(found, bytes) else expected)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"at": None}, "at is missing"),
        ({"amount": ""}, "amount is missing"),
        ({"customer": None}, "customer is missing"),
        ({"payment": "17"}, "payment is '17', not a UUID"),
        ({"at": "yesterday"}, "at is 'yesterday', not an ISO 8601 time like 2026-11-21T10:31:05.250Z or microseconds"),
        ({"at": 1_795_266_665_250}, "at is 1795266665250, not microseconds since the epoch, from 1973 to 9999"),
        ({"at": "1969-07-20T20:17:40Z"}, "not microseconds since the epoch, from 1973"),
        ({"amount": "12.505"}, "amount is '12.505', not a decimal of at most 12 digits, 2 of them behind the point"),
        ({"amount": "10000000000.00"}, "not a decimal of at most 12 digits"),
        ({"amount": "1e999"}, "not a decimal"),
        ({"amount": True}, "amount is True, not a decimal"),
        ({"amount": "twelve"}, "amount is 'twelve', not a decimal"),
        ({"method": "cheque"}, "method is 'cheque', not one of card, cash"),
        ({"pieces": "1.5"}, "pieces is '1.5', not a whole number of at most 32 bits"),
        ({"pieces": 2**31}, "not a whole number of at most 32 bits"),
        ({"pieces": 0}, "pieces is 0, not at least 1"),
        ({"pieces": 101}, "pieces is 101, not at most 100"),
        ({"weight": "heavy"}, "weight is 'heavy', not a number"),
        ({"weight": "nan"}, "often means that there is no value"),
        ({"gift": "maybe"}, "gift is 'maybe', not true or false"),
        ({"gift": 2}, "gift is 2, not true or false"),
        ({"due": "21.11.2026"}, "due is '21.11.2026', not a date like 2026-11-21"),
        ({"due": AT}, "not a date like"),
        ({"opened": "25:00"}, "opened is '25:00', not a time of day"),
        ({"opened": 86_400_000}, "not a time of day"),
        ({"device": b"short"}, "device is 'short', not a UUID"),
        ({"tags": "a, b"}, "tags is 'a, b', not an array, or one as JSON"),
        ({"tags": [1]}, "tags[0] is 1, not text"),
        ({"counts": {"a": "x"}}, "counts.a is 'x', not a whole number"),
        ({"place": {"city": "Bonn", "street": "x"}}, "place.street is not a field of the schema (city, zip)"),
        ({"place": {"zip": 1}}, "place.city is missing"),
        ({"customer": "\ud800"}, "not text in UTF-8"),
        ({"customer": "NULL"}, "Does it? Say --null 'NULL'"),
    ],
)
def test_a_row_that_does_not_fit_says_field_value_and_what_is_allowed(
    change: dict[str, Any], reason: str, avro: Stream
) -> None:
    with pytest.raises(RowError) as raised:
        event(avro, PAYMENT | change)
    assert reason in str(raised.value)


def test_the_record_is_behind_the_header_with_its_key_and_its_time(avro: Stream) -> None:
    [made] = convert(avro, PAYMENT)
    assert isinstance(made, Row)
    assert made.value[:5] == HEADER
    assert (made.key, made.time) == (b"c1", int(INSTANT.timestamp() * 1000))


def test_an_id_that_is_not_given_follows_from_the_other_values_however_they_are_spelled(avro: Stream) -> None:
    without = {name: value for name, value in PAYMENT.items() if name != "payment"}
    first = event(avro, without)["payment"]
    assert isinstance(first, UUID)
    same: list[dict[str, Any]] = [
        {"amount": Decimal("12.5")},
        {"amount": 12.5},
        {"at": INSTANT},
        {"method": " card"},
        {"weight": ""},
        {"payment": None},
    ]
    other: list[dict[str, Any]] = [{"amount": "12.51"}, {"customer": "c2"}, {"weight": 0}, {"tags": ["a"]}]
    assert {event(avro, without | change)["payment"] for change in same} == {first}
    assert len({first, *(event(avro, without | change)["payment"] for change in other)}) == 5


def test_a_number_is_the_same_however_many_zeros_it_has(plain: Stream) -> None:
    def ride(fare: object) -> str:
        return str(event(plain, {"at": AT, "kind": "solo", "fare": fare})["ride"])

    assert ride("7.10") == ride(Decimal("7.1")) == ride(7.1) != ride("7.11")
    assert ride("7") == ride(7) == ride(Decimal("7.00")) == ride(7.0) != ride("70")


def test_a_time_and_an_id_have_to_be_given_whatever_the_schema_says(tmp_path: Path) -> None:
    fields: list[dict[str, Any]] = [
        {"name": "number", "type": ["null", "int"], "default": None},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
    ]
    write_stream(tmp_path, "sales", '[event]\nid = ["number"]\ntime = "at"\n', avro_schema(*fields))
    stream = stream_in(tmp_path, "sales")
    assert layout_of(stream).required == ("number", "at")
    assert list(map(str, convert(stream, {"number": 1, "at": None}, {"number": None, "at": AT}))) == [
        "at is missing",
        "number is missing",
    ]


@pytest.mark.parametrize(
    ("identity", "kind", "reason"),
    [
        ('["shop", "number"]', "string", "shop is missing"),
        ('["shop"]', "string", "shop is missing"),
        ('["shop"]', {"type": "string", "logicalType": "uuid"}, None),
        ("[]", "string", "shop is missing"),
    ],
)
def test_only_one_id_that_is_a_uuid_is_made_up(identity: str, kind: object, reason: str | None, tmp_path: Path) -> None:
    fields: list[dict[str, Any]] = [
        {"name": "shop", "type": kind},
        {"name": "number", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]
    write_stream(tmp_path, "sales", f'[event]\nid = {identity}\ntime = "at"\n', avro_schema(*fields))
    stream = stream_in(tmp_path, "sales")
    assert layout_of(stream).required == (("shop", "number", "at") if reason else ("number", "at"))
    [made] = convert(stream, {"number": 1, "at": AT})
    assert str(made) == reason if reason else isinstance(made, Row)


@pytest.mark.parametrize(
    ("field", "given", "written"),
    [
        ("ride", ID.upper(), f'"{ID}"'),
        ("at", "2026-11-21T11:31:05.250001+01:00", f'"{AT}"'),
        ("at", INSTANT, f'"{AT}"'),
        ("at", 1_795_257_065_250, '"2026-11-21T10:31:05.250000Z"'),
        ("fare", "7.10", "7.10"),
        ("fare", Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        ("fare", 0.1, "0.1"),
        ("fare", 7, "7"),
        ("kind", "shared", '"shared"'),
        ("kind", 3, "3"),
        ("kind", "3", "3"),
        ("seats", "2", "2"),
        ("paid", "true", "true"),
        ("day", date(2026, 11, 21), '"2026-11-21"'),
        ("from", {"lat": Decimal("50.9")}, '{"lat": 50.9}'),
        ("from", '{"lat": 50.90, "name": "Köln"}', '{"lat": 50.90, "name": "Köln"}'),
        ("stops", [{"lat": 1}, {"lat": 2}], '[{"lat": 1}, {"lat": 2}]'),
    ],
)
def test_json_has_each_value_as_it_is(field: str, given: object, written: str, plain: Stream) -> None:
    [made] = convert(plain, RIDE | {field: given})
    assert isinstance(made, Row), made
    assert f'"{field}": {written}' in made.value.decode()
    assert made.key is None


def test_a_json_schema_that_is_none_is_said(tmp_path: Path) -> None:
    stream = rides(tmp_path, note={"type": "string", "pattern": "("})
    with pytest.raises(StreamCodeError, match=r"stream rides: .*/rides/schema\.json: the schema cannot be used"):
        convert(stream, RIDE)


def test_what_json_need_not_have_is_left_out(plain: Stream) -> None:
    [made] = convert(plain, RIDE)
    assert isinstance(made, Row)
    assert made.value.decode() == f'{{"ride": "{ID}", "at": "{AT}", "fare": 7.10, "kind": "solo"}}'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fare": None}, "fare is missing"),
        ({"fare": "cheap"}, "fare is 'cheap', not a number"),
        ({"kind": "none"}, "often means"),
        ({"kind": "limousine"}, "kind is 'limousine', not one of solo, shared, 3"),
        ({"at": 5}, "not milliseconds since the epoch, from 1973 to 9999"),
        ({"seats": "two"}, "seats is 'two', not a whole number"),
        ({"from": {}}, "from.lat is missing"),
        ({"from": {"lat": 1, "lon": 2}}, "from.lon is not a field of the schema (lat, name)"),
        ({"stops": [{"lat": "x"}]}, "stops[0].lat is 'x', not a number"),
        ({"note": 5}, "note is 5, not text"),
        ({"note": "x" * 21}, "note: maxLength of the JSON Schema: "),
        ({"fare": "-0.01"}, "fare: minimum of the JSON Schema: -0.01 is not at least 0"),
    ],
)
def test_a_row_that_is_no_such_json_says_why(change: dict[str, Any], reason: str, plain: Stream) -> None:
    [made] = convert(plain, RIDE | change)
    assert reason in str(made)


@pytest.mark.parametrize(
    ("time_as", "kind", "given", "written"),
    [
        ("unix_ms", "integer", AT, 1_795_257_065_250),
        ("unix_ms", "number", AT, Decimal("1795257065250.001")),
        ("unix_s", "integer", AT, 1_795_257_065),
        ("unix_s", "number", AT, Decimal("1795257065.250001")),
        ("unix_s", "number", "1795257065.25", Decimal("1795257065.25")),
        ("unix_s", "integer", 1_795_257_065, 1_795_257_065),
        ("iso8601", "string", AT, AT),
    ],
)
@pytest.mark.parametrize("form", ["json", "json-registered"])
def test_a_time_is_written_as_the_stream_says(  # noqa: PLR0917  pytest passes by name
    form: str, time_as: str, kind: str, given: object, written: object, tmp_path: Path
) -> None:
    stream = rides(tmp_path, form=form, time_as=time_as, at={"type": kind})
    [made] = convert(stream, RIDE | {"at": given})
    assert isinstance(made, Row), made
    assert made.value.startswith(HEADER) == (form == "json-registered")
    assert json.loads(made.value.removeprefix(HEADER), parse_float=Decimal)["at"] == written
    assert abs(made.time - INSTANT.timestamp() * 1000) < (1000 if time_as == "unix_s" else 1)


def test_a_schema_within_itself_is_read(tmp_path: Path) -> None:
    node = {
        "type": "record",
        "name": "Node",
        "namespace": "a.b",
        "fields": [{"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Node"], "default": None}],
    }
    fields: list[dict[str, Any]] = [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "list", "type": node},
    ]
    write_stream(tmp_path, "chains", '[event]\nid = []\ntime = "at"\n', avro_schema(*fields))
    stream = stream_in(tmp_path, "chains")
    chain = {"value": 1, "next": {"value": 2, "next": None}}
    assert event(stream, {"at": AT, "list": chain})["list"] == chain
    [made] = convert(stream, {"at": AT, "list": {"value": 1, "next": {"value": "x"}}})
    assert "list.next.value is 'x', not a whole number" in str(made)


@pytest.mark.parametrize(
    ("limits", "fits", "breaks", "allowed"),
    [
        (Limits(min=Decimal("0.10")), Decimal("0.10"), Decimal("0.09"), "at least 0.10"),
        (Limits(max=Decimal("0.10")), 0.1, 0.11, "at most 0.10"),
        (Limits(one_of=("a", "b")), "b", "c", "one of a, b"),
        (Limits(one_of=("1", "2")), 2, 3, "one of 1, 2"),
        (Limits(min_length=2), "ab", "a", "at least 2 long"),
        (Limits(max_length=2), [1, 2], [1, 2, 3], "at most 2 long"),
    ],
)
def test_a_limit_allows_its_own_end(limits: Limits, fits: object, breaks: object, allowed: str) -> None:
    read = limited(lambda _name, value: value, limits)
    assert read("x", fits) == fits
    with pytest.raises(RowError) as refused:
        read("x", breaks)
    assert str(refused.value) == f"x is {breaks!r}, not {allowed}"


def test_a_folder_may_convert_rows_in_a_way_of_its_own(tmp_path: Path) -> None:
    code = """
import numpy as np
from etar.rows.conversion import Converted, Records
from etar.rows.layout import Layout

class Mine:
    LAYOUT = Layout(names=("one",), required=("one",))

    def __init__(self, values, header, longest):
        self._header = header

    def convert(self, columns, rows):
        return Converted(Records(np.zeros(rows, np.int64), [None] * rows, [self._header] * rows), {})
"""
    toml = '[event]\nid = []\ntime = "at"\n[input]\nconverter = "input:Mine"\n'
    field = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    write_stream(tmp_path, "mine", toml, avro_schema(field), input=code)
    stream = stream_in(tmp_path, "mine")
    assert layout_of(stream).names == ("one",)
    assert convert(stream, {"one": 1}) == [Row(0, None, HEADER)]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.integers(1, 38), st.integers(0, 6))
def test_a_decimal_is_the_same_number_or_refused(number: Decimal, digits: int, scale: int) -> None:
    unscaled = number.scaleb(scale)
    fits = unscaled == unscaled.to_integral_value() and abs(unscaled) < Decimal(10) ** digits
    try:
        found = read_decimal("amount", str(number), digits=digits, scale=scale)
    except RowError:
        assert not fits
    else:
        assert fits
        assert (found, found.as_tuple().exponent) == (number, -scale)


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    encode = msgspec.json.Encoder(decimal_format="number").encode
    path.with_suffix(".jsonl").write_bytes(b"\n".join(map(encode, rows)))
    return path.with_suffix(".jsonl")


def csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    text = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    path.with_suffix(".csv").write_text("\n".join(text))
    return path.with_suffix(".csv")


def parquet(path: Path, rows: Sequence[dict[str, Any]], zone: str | None = "Mars/Olympus") -> Path:
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    micros = [
        (datetime.fromisoformat(each) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        for each in columns["at"]
    ]
    columns["at"] = pa.array(micros, pa.timestamp("us", zone))
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("write", [jsonl, csv, parquet, partial(parquet, zone=None)])
def test_an_event_is_the_same_whichever_file_it_comes_from(
    write: Callable[..., Path], tmp_path: Path, avro: Stream, plain: Stream
) -> None:
    amounts = [Decimal("0.10"), Decimal("9999999999.99")]
    for stream, row, name in ((avro, PAYMENT, "amount"), (plain, RIDE, "fare")):
        rows = [row | {name: amount} for amount in amounts]
        layout = layout_of(stream)
        made: list[Row | RowError] = []
        for piece in read_pieces([write(tmp_path / stream.name, rows)], layout):
            assert isinstance(piece, Piece)
            made += in_order(converter_of(stream, Values(), HEADER, None), piece.columns, len(piece.lines))
        found = [Encoding(stream, HEADER).event_of(each.value)[name] for each in made if isinstance(each, Row)]
        assert list(map(str, found)) == list(map(str, amounts)), made


def test_a_file_says_which_columns_it_lacks_and_has_too_many(tmp_path: Path, avro: Stream) -> None:
    layout = layout_of(avro)
    file = csv(tmp_path / "x", [{"payment": ID, "at": AT, "amount": 1}])
    with pytest.raises(InputFileError, match="has no column method, customer; it has payment, at, amount"):
        list(read_pieces([file], layout))
    file = csv(tmp_path / "y", [PAYMENT | {"colour": "red"}])
    with pytest.raises(
        InputFileError, match=r"not fields of an event: colour\. Leave them out; the fields are payment, "
    ):
        list(read_pieces([file], layout))
    [reject] = read_pieces([jsonl(tmp_path / "z", [PAYMENT | {"colour": 1}])], layout)
    assert isinstance(reject, Reject)
    assert reject.reason.startswith("'colour' is not a field of an event (payment, at,")


def test_numbers_of_json_are_exact_line_by_line_too(tmp_path: Path, plain: Stream) -> None:
    long = f'{{"at": "{AT}", "kind": "solo", "fare": 12345678901234567890.10}}'
    (tmp_path / "rides.jsonl").write_text(f"{long}\n  {long}\nnonsense\n")
    layout = layout_of(plain)
    fares = [
        str(fare)
        for piece in read_pieces(find_files([tmp_path / "rides.jsonl"]), layout)
        if isinstance(piece, Piece)
        for fare in piece.columns["fare"]
    ]
    assert fares == ["12345678901234567890.10"] * 2


def test_a_name_that_is_no_name_of_pythons_is_a_field_like_others(plain: Stream, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "x", [RIDE | {"from": {"lat": 1}}])
    [piece] = read_pieces([file], layout_of(plain))
    assert isinstance(piece, Piece)
    assert list(piece.columns["from"]) == [{"lat": 1}]

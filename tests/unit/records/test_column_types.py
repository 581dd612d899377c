"""What each type of column takes, exactly, up to its ends; and what it says of the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etar.records.column_types import (
    NOTHING_DECLARED,
    Declared,
    OutOfRangeError,
    UnsupportedTableError,
    WrongValueError,
)
from etar.records.json_codec import DECLARED as JSON
from etar.records.table import Column
from etar.streams import Limits, TimeForm

D = Decimal


class Said(Declared):
    """A writer who declares what it is told to."""

    def __init__(self, logical_type: str | None = None, *, scale: int | None = None, fixed: bool = False) -> None:
        self._said = (logical_type, scale, fixed)

    @property
    def logical_type(self) -> str | None:
        return self._said[0]

    @property
    def scale(self) -> int | None:
        return self._said[1]

    @property
    def fixed(self) -> bool:
        return self._said[2]


def converted(kind: str, value: Any, declared: Declared | None = None, form: TimeForm = TimeForm.LOGICAL) -> Any:
    return Column.parse("c", kind, form=form).converter(declared)(value)


DAYS_TO_2026_11_21 = 20_778
MS = 1_795_257_090_123
WRONG, RANGE = WrongValueError, OutOfRangeError


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("Decimal(5, 2)", D("999.99"), D("999.99")),
        ("Decimal(5, 2)", D("-999.99"), D("-999.99")),
        ("Decimal(5, 2)", D("999.990"), D("999.99")),
        ("Decimal(5, 2)", "999.99", D("999.99")),
        ("Decimal(5, 2)", "1e2", D("100.00")),
        ("Decimal(5, 2)", 999, D("999.00")),
        ("Decimal(5, 2)", D("1000"), RANGE),
        ("Decimal(5, 2)", 1000, RANGE),
        ("Decimal(5, 2)", D("0.001"), RANGE),
        ("Decimal(5, 2)", D("999.995"), RANGE),
        ("Decimal(5, 2)", D("1e400"), RANGE),
        ("Decimal(5, 2)", 1.5, WRONG),
        ("Decimal(5, 2)", True, WRONG),
        ("Decimal(5, 2)", "1,5", WRONG),
        ("Decimal(5, 2)", "NaN", WRONG),
        ("Decimal(5, 2)", "\uff11", WRONG),
        ("Decimal(5, 2)", "9" * 401, WRONG),
        ("Decimal(5, 2)", b"\1", WRONG),
        ("Decimal(2, 2)", D("0.99"), D("0.99")),
        ("Decimal(2, 2)", D("1"), RANGE),
        ("Decimal(5, 0)", D("99999"), D("99999")),
        ("Decimal(5, 0)", D("0.5"), RANGE),
        ("Decimal(76, 20)", "9" * 56 + "." + "9" * 20, D("9" * 56 + "." + "9" * 20)),
        ("Decimal(76, 20)", "9" * 57, RANGE),
        ("Nullable(Decimal(5, 2))", None, None),
        ("Decimal(5, 2)", None, WRONG),
        ("Date", "1970-01-01", 0),
        ("Date", "2149-06-06", 65_535),
        ("Date", "2149-06-07", RANGE),
        ("Date", "1969-12-31", RANGE),
        ("Date", "2026-02-30", WRONG),
        ("Date", "20261121", WRONG),
        ("Date", 5, WRONG),
        ("Date32", "1900-01-01", -25_567),
        ("Date32", "1899-12-31", RANGE),
        ("Date32", "2299-12-31", 120_529),
        ("Date32", "2300-01-01", RANGE),
        ("Float32", 1.5, 1.5),
        ("Float32", D("0.1"), 0.1),
        ("Float32", 3.4028235677973362e38, 3.4028235677973362e38),
        ("Float32", 3.4028235677973366e38, RANGE),
        ("Float32", D("-1e39"), RANGE),
        ("Float64", D("1e308"), 1e308),
        ("Float64", D("1e309"), RANGE),
        ("Float64", 10**400, RANGE),
        ("Float64", "1", WRONG),
        ("Enum8('a' = 1, 'it\\'s, (x)' = -2)", "a", "a"),
        ("Enum8('a' = 1, 'it\\'s, (x)' = -2)", "it's, (x)", "it's, (x)"),
        ("Enum8('a' = 1)", "b", RANGE),
        ("Enum16('a' = 1)", "", RANGE),
        ("Enum16('a' = 1)", 1, WRONG),
        ("Int8", D("127.0"), 127),
        ("Int8", D("1.27e2"), 127),
        ("Int8", D("128.0"), RANGE),
        ("Int8", D("1e400"), RANGE),
        ("Int8", D("1.5"), WRONG),
        ("Array(String)", ["a", ""], ["a", ""]),
        ("Array(String)", None, []),
        ("Array(String)", "a", WRONG),
        ("Array(String)", ["a", None], WRONG),
        ("Array(Nullable(Int8))", [1, None], [1, None]),
        ("Array(Int8)", [1, 128], RANGE),
        ("Array(Array(Decimal(5, 2)))", [[D("1.5")], []], [[D("1.50")], []]),
        ("Map(String, Int8)", {"a": 1}, [("a", 1)]),
        ("Map(String, Int8)", None, []),
        ("Map(String, Int8)", {"a": "1"}, WRONG),
        ("Map(LowCardinality(String), Array(String))", {"a": ["x"]}, [("a", ["x"])]),
        ("Tuple(\n    os String,\n    `the v` Nullable(Int32))", {"os": "x", "more": 1}, {"os": "x", "the v": None}),
        ("Tuple(os String)", {}, WRONG),
        ("Tuple(os String)", None, WRONG),
        ("Tuple(os String)", ["x"], WRONG),
    ],
    ids=lambda part: str(part)[:30],
)  # fmt: skip
def test_a_value_is_taken_as_it_is_or_not_at_all(kind: str, value: Any, stored: Any) -> None:
    if stored is WRONG or stored is RANGE:
        with pytest.raises(stored):
            converted(kind, value)
    else:
        found = converted(kind, value)
        assert (type(found), found) == (type(stored), stored)
        pa.array([found], Column.parse("c", kind).arrow_type)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("Decimal(5, 2)", D("0.001"), "0.001 has more than 2 digits after the point"),
        ("Decimal(5, 2)", D("1000"), "1000 has more than 3 digits before the point"),
        ("Enum8('a' = 1, 'b' = 2)", "c", "str 'c' is none of the column's 2 symbols"),
        ("Array(Tuple(n Int8))", [{"n": 1}, {"n": 200}], "entry 1: n: 200 does not fit Int8"),
        ("Map(String, Int8)", {"k": "x"}, "key k: expected an integer, got str 'x'"),
        ("Date", "2149-06-07", "the date 2149-06-07 is beyond 1970-01-01 to 2149-06-06"),
        ("Decimal(5, 2)", 1.5, "expected a decimal number, got float 1.5"),
    ],
)
def test_a_refusal_says_where_and_what(kind: str, value: Any, said: str) -> None:
    with pytest.raises((WrongValueError, OutOfRangeError)) as raised:
        converted(kind, value)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("value", "scale", "stored"),
    [
        (b"\x01\x86\x9f", 2, D("999.99")),
        (b"\xfe\x79\x61", 2, D("-999.99")),
        (b"", 2, D("0.00")),
        (b"\0\0\0\x05", 0, D("5.00")),
        (b"\x01\x86\xa0", 2, RANGE),
        (b"\x01", 3, RANGE),
        (b"\x0a", 3, D("0.01")),
        (b"\0" * 200, 2, D("0.00")),
        (b"\0" * 201, 2, RANGE),
        (b"\x01", None, WRONG),
    ],
)
def test_bytes_are_a_decimal_of_the_scale_that_their_writer_declares(
    value: bytes, scale: int | None, stored: Any
) -> None:
    if isinstance(stored, D):
        assert converted("Decimal(5, 2)", value, Said("decimal", scale=scale)) == stored
    else:
        with pytest.raises(stored):
            converted("Decimal(5, 2)", value, Said("decimal", scale=scale))


@given(st.integers(1, 76).flatmap(lambda digits: st.tuples(st.just(digits), st.integers(0, digits))), st.data())
def test_a_decimal_goes_into_its_column_and_out_again_as_it_is(shape: tuple[int, int], data: st.DataObject) -> None:
    digits, scale = shape
    unscaled = data.draw(st.integers(-(10**digits) + 1, 10**digits - 1))
    number = D((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))
    column = Column.parse("c", f"Decimal({digits}, {scale})")
    size = (unscaled.bit_length() + 8) // 8
    for value, declared in (
        (number, JSON),
        (str(number), JSON),
        (unscaled.to_bytes(size, "big", signed=True), Said("decimal", scale=scale)),
    ):
        stored = pa.array([column.converter(declared)(value)], column.arrow_type).to_pylist()
        assert stored[0].as_tuple() == number.as_tuple() or (stored[0] == number == 0)


@given(
    st.integers(1, 38).flatmap(lambda digits: st.tuples(st.just(digits), st.integers(0, digits))),
    st.decimals(allow_nan=False, allow_infinity=False),
)
def test_a_decimal_that_a_column_cannot_hold_is_never_rounded(shape: tuple[int, int], number: Decimal) -> None:
    digits, scale = shape
    assume(abs(number.adjusted()) < 100)
    numerator, denominator = number.as_integer_ratio()
    fits = (10**scale * numerator) % denominator == 0 and abs(numerator) * 10**scale < 10**digits * denominator
    try:
        assert converted(f"Decimal({digits}, {scale})", number) == number
    except OutOfRangeError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize(
    ("value", "form", "stored"),
    [
        ("2026-11-21T10:31:30.123Z", TimeForm.ISO8601, MS),
        ("2026-11-21T10:31:30.123999999Z", TimeForm.ISO8601, MS),
        ("2026-11-21 11:31:30.123+01:00", TimeForm.ISO8601, MS),
        ("2026-11-21t05:01:30,123-0530", TimeForm.ISO8601, MS),
        ("2026-11-21T10:31Z", TimeForm.ISO8601, MS - 30_123),
        ("1969-12-31T23:59:59.9999Z", TimeForm.ISO8601, -1),
        ("1900-01-01T00:00:00Z", TimeForm.ISO8601, -2_208_988_800_000),
        ("1899-12-31T23:59:59.999Z", TimeForm.ISO8601, RANGE),
        ("2299-12-31T23:59:59.999Z", TimeForm.ISO8601, 10_413_791_999_999),
        ("2300-01-01T00:00:00Z", TimeForm.ISO8601, RANGE),
        ("0001-01-01T00:00:00+01:00", TimeForm.ISO8601, WRONG),
        ("2026-11-21T10:31:30", TimeForm.ISO8601, WRONG),
        ("2026-11-21", TimeForm.ISO8601, WRONG),
        ("2026-W47-6T10:31:30Z", TimeForm.ISO8601, WRONG),
        ("2026-11-31T10:31:30Z", TimeForm.ISO8601, WRONG),
        ("2026-11-21T24:31:30Z", TimeForm.ISO8601, WRONG),
        ("2026-11-21X10:31:30Z", TimeForm.ISO8601, WRONG),
        ("\uff12026-11-21T10:31:30Z", TimeForm.ISO8601, WRONG),
        (MS, TimeForm.ISO8601, WRONG),
        (MS, TimeForm.UNIX_MS, MS),
        (D("1795257090123.9"), TimeForm.UNIX_MS, MS),
        (D("-0.1"), TimeForm.UNIX_MS, -1),
        (D("1795257090.123"), TimeForm.UNIX_S, MS),
        (1_795_257_090, TimeForm.UNIX_S, MS - 123),
        (1795257090.123, TimeForm.UNIX_S, MS),
        (D("1.795257090123e9"), TimeForm.UNIX_S, MS),
        (D("1e400"), TimeForm.UNIX_S, RANGE),
        (10_413_792_000, TimeForm.UNIX_S, RANGE),
        (float("nan"), TimeForm.UNIX_S, WRONG),
        ("1795257090", TimeForm.UNIX_S, WRONG),
        (True, TimeForm.UNIX_S, WRONG),
        (None, TimeForm.UNIX_S, WRONG),
    ],
    ids=str,
)
def test_an_instant_is_read_exactly_and_rounded_down_to_its_column(value: Any, form: TimeForm, stored: Any) -> None:
    if isinstance(stored, int):
        assert converted("DateTime64(3, 'UTC')", value, JSON, form) == stored
    else:
        with pytest.raises(stored):
            converted("DateTime64(3, 'UTC')", value, JSON, form)


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("DateTime64(6, 'UTC')", "2026-11-21T10:31:30.1234567Z", MS * 1000 + 456),
        ("DateTime('UTC')", "2026-11-21T10:31:30.999Z", MS // 1000),
        ("DateTime", "2106-02-07T06:28:15Z", 2**32 - 1),
        ("DateTime", "2106-02-07T06:28:16Z", RANGE),
        ("DateTime", "1969-12-31T23:59:59.9Z", RANGE),
    ],
)
def test_json_tells_other_instants_by_texts(kind: str, value: str, stored: Any) -> None:
    if isinstance(stored, int):
        assert converted(kind, value, JSON) == stored
    else:
        with pytest.raises(stored):
            converted(kind, value, JSON)


def test_a_logical_type_says_more_than_the_streams_form() -> None:
    micros = Said("timestamp-micros")
    assert converted("DateTime64(3, 'UTC')", MS * 1000, micros, TimeForm.UNIX_S) == MS


@pytest.mark.parametrize(
    ("logical_type", "value", "stored"),
    [
        ("time-millis", 37_890_123, "10:31:30.123"),
        ("time-micros", 37_890_123_456, "10:31:30.123456"),
        ("time-millis", 0, "00:00:00.000"),
        ("time-millis", 86_399_999, "23:59:59.999"),
        ("time-millis", 86_400_000, RANGE),
        ("time-micros", -1, RANGE),
        ("local-timestamp-millis", 5, WRONG),
    ],
)
def test_a_time_of_day_is_a_number_in_a_column_of_numbers_and_text_in_one_of_text(
    logical_type: str, value: int, stored: Any
) -> None:
    assert converted("Int64", value, Said(logical_type)) == value
    if isinstance(stored, str):
        assert converted("String", value, Said(logical_type)) == stored
    else:
        with pytest.raises(stored):
            converted("String", value, Said(logical_type))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("IPv4", "column 'c' has the type IPv4, which the native sink cannot fill (it fills String, UUID"),
        ("Array(IPv4)", "column 'c' has the type Array(IPv4), with IPv4 in it, which"),
        (
            "Tuple(String, Int8)",
            "column 'c' has the type Tuple(String, Int8), with Tuple(String, Int8) without names in",
        ),
        ("Map(Int64, String)", "column 'c' has the type Map(Int64, String), which"),
        (
            "Map(String, Tuple(a Int128))",
            "column 'c' has the type Map(String, Tuple(a Int128)), with Int128 in it, which",
        ),
        ("FixedString(3)", "column 'c' has the type FixedString(3), which"),
    ],
)
def test_a_type_that_cannot_be_filled_is_named_with_the_part_that_is_to_blame(kind: str, said: str) -> None:
    with pytest.raises(UnsupportedTableError) as raised:
        Column.parse("c", kind)
    assert str(raised.value)[: len(said)] == said


@pytest.mark.parametrize(
    ("kind", "limits", "good", "bad", "said"),
    [
        ("Decimal(9, 2)", Limits(min=D("10.00")), D("10"), D("9.99"), "min is 10.00, got number 9.99"),
        ("Decimal(9, 2)", Limits(max=D("999.99")), D("999.99"), D("1000"), "max is 999.99, got number 1000.00"),
        ("Int32", Limits(min=D(1), max=D(3)), 3, 4, "max is 3, got int 4"),
        ("Float64", Limits(max=D("0.1")), 0.09, 0.1, "max is 0.1, got float 0.1"),
        ("Float64", Limits(min=D(0)), 0.0, float("nan"), "min is 0, got float nan"),
        ("String", Limits(one_of=("EUR", "USD")), "EUR", "eur", "one_of is EUR, USD, got str 'eur'"),
        ("Int32", Limits(one_of=("1", "2.0")), 2, 3, "one_of is 1, 2.0, got int 3"),
        ("Enum8('a' = 1, 'b' = 2)", Limits(one_of=("a",)), "a", "b", "one_of is a, got str 'b'"),
        ("String", Limits(min_length=2), "ßß", "ß", "min_length is 2, got 1: str 'ß'"),
        ("String", Limits(max_length=2), "ab", "abc" * 99, f"max_length is 2, got 297: str '{'abc' * 20}"[:60]),
        ("Array(Int8)", Limits(max_length=1), [1], [1, 2], "max_length is 1, got 2: list [1, 2]"),
        ("Map(String, Int8)", Limits(min_length=1), {"a": 1}, None, "min_length is 1, got 0: list []"),
        ("Nullable(Int32)", Limits(min=D(1)), None, 0, "min is 1, got int 0"),
    ],
    ids=str,
)  # fmt: skip
def test_a_streams_check_names_rule_and_value(kind: str, limits: Limits, good: Any, bad: Any, said: str) -> None:
    convert = Column.parse("c", kind, limits=limits).converter(NOTHING_DECLARED)
    convert(good)
    with pytest.raises(OutOfRangeError) as raised:
        convert(bad)
    assert str(raised.value)[: len(said)] == said


@pytest.mark.parametrize(
    ("kind", "limits", "said"),
    [
        ("String", Limits(min=D(1)), "the check min or max is for numbers"),
        ("DateTime('UTC')", Limits(max=D(1)), "the check min or max is for numbers"),
        ("UUID", Limits(one_of=("a",)), "the check one_of is for numbers and text"),
        ("Int8", Limits(max_length=1), "the check min_length or max_length is for text, lists and maps"),
        ("Int8", Limits(one_of=("a",)), "the check one_of names what is no number: a"),
    ],
)
def test_a_check_that_a_column_cannot_have_is_refused(kind: str, limits: Limits, said: str) -> None:
    with pytest.raises(UnsupportedTableError, match=said):
        Column.parse("c", kind, limits=limits)

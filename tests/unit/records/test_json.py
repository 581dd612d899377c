"""JSON records: what is read of them exactly, and which reason each fault gets, with its place."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from io import BytesIO
from time import perf_counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.records.codec import Codec, NotEncodableError, UnusableSchemaError
from etar.records.column_types import MOST_DIGITS
from etar.records.decode import Decoder, schema_of
from etar.records.formats import codec_of
from etar.records.framing import OWN_SCHEMA
from etar.records.json_codec import JsonReader
from etar.records.json_text import MOST_LEVELS, read_object, to_text
from etar.records.record import BadRecordError, Headers, Row, Unreadable
from etar.records.registry import RegisteredSchema
from etar.records.table import EventColumns, TableLayout
from etar.streams import Limits, RecordFormat, Stream, TimeForm
from tests.unit.records.events import APPENDED_MS, DESCRIBED, METADATA, record

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["sale", "at", "amount"],
    "properties": {
        "sale": {"type": "string", "minLength": 1},
        "at": {"type": "string"},
        "amount": {"type": "number", "minimum": 0, "multipleOf": Decimal("0.01")},
        "quantity": {"type": "integer"},
        "channel": {"enum": ["web", "shop"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
STREAM = Stream(
    "sales",
    record=RecordFormat.JSON,
    identity=("sale",),
    time="at",
    time_form=TimeForm.ISO8601,
    schema_text=to_text(SCHEMA),
)
DESCRIBED_METADATA = [column for column in DESCRIBED if column[0].startswith("_")]
LAYOUT = TableLayout.of(
    [
        ("sale", "String", ""),
        ("at", "DateTime64(3, 'UTC')", ""),
        ("amount", "Decimal(18, 2)", ""),
        ("quantity", "Nullable(Int64)", ""),
        ("channel", "LowCardinality(Nullable(String))", ""),
        ("tags", "Array(String)", ""),
        *DESCRIBED_METADATA,
    ],
    database="etar",
    table="sales",
    metadata=METADATA,
    event=EventColumns.of(STREAM),
)
BOUNDS = EventTimeBounds(behind_ms=86_400_000, ahead_ms=300_000)
AT = "2026-11-21T10:31:30Z"


def sale(**changes: Any) -> dict[str, Any]:
    return {"sale": "s-1", "at": AT, "amount": Decimal("19.90"), "quantity": 2, "channel": "web", **changes}


def decoded(
    value: bytes | None, codec: Codec | None = None, schema: RegisteredSchema | None = None, headers: Headers = ()
) -> Row | DeadLetter:
    codec = codec or codec_of(STREAM)
    found = record(value)._replace(headers=headers)
    own = schema or codec.own_schema
    assert own
    reader = codec.reader(own, LAYOUT)
    identifier = schema_of(found, codec)
    return Decoder(LAYOUT, BOUNDS, codec).decode(found, {} if identifier is None else {identifier: reader})


def text(**changes: Any) -> bytes:
    return to_text(sale(**changes)).encode()


def letter(value: bytes | None) -> tuple[Reason, str]:
    outcome = decoded(value)
    assert isinstance(outcome, DeadLetter), outcome
    return outcome.reason, outcome.detail


def test_a_good_record_becomes_a_row_with_its_numbers_digit_by_digit() -> None:
    outcome = decoded(text(amount=Decimal("9999999999999999.99"), tags=["a", "ü"]))
    assert isinstance(outcome, Row)
    assert outcome.values == ("s-1", APPENDED_MS, Decimal("9999999999999999.99"), 2, "web", ["a", "ü"])
    assert LAYOUT.event_ms(outcome.values) == APPENDED_MS


GOOD = text()


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        (None, Reason.NULL_VALUE, "the record has no value (a tombstone)"),
        (b"", Reason.EMPTY_VALUE, "the value is zero bytes long"),
        (b"null", Reason.NULL_VALUE, "the value is JSON's null"),
        (b"[1, 2]", Reason.NOT_JSON, "a record is an object, and the value is a list"),
        (b'"text"', Reason.NOT_JSON, "a record is an object, and the value is text"),
        (b"5", Reason.NOT_JSON, "a record is an object, and the value is a number"),
        (b"1.5", Reason.NOT_JSON, "a record is an object, and the value is a number"),
        (b"true", Reason.NOT_JSON, "a record is an object, and the value is true or false"),
        (b"hello", Reason.NOT_JSON, "line 1, column 1: Expecting value"),
        (b'{"a": 1,\n "b": nil}', Reason.NOT_JSON, "line 2, column 7: Expecting value"),
        (b"{'a': 1}", Reason.NOT_JSON, "line 1, column 2: Expecting property name enclosed in double quotes"),
        (b'{"a": "\xff"}', Reason.NOT_JSON, "byte 7: no UTF-8"),
        (b"\xef\xbb\xbf{}", Reason.NOT_JSON, "line 1, column 1: "),
        (b'{"a": "\xc3', Reason.TRUNCATED, "byte 7: the text ends within a character"),
        (b'{"a": NaN}', Reason.NOT_JSON, "line 1, column 7: NaN is no JSON"),
        (b'{"NaN": -Infinity}', Reason.NOT_JSON, "line 1, column 9: -Infinity is no JSON"),
        (b'{"a": 1, "b": {"a": 2},\n "\\u0061": 3}', Reason.NOT_JSON, "line 2, column 2: the key 'a' is in its obj"),
        (b'{"b": [{"c": 1}, {"c": 1, "c": 1}]}', Reason.NOT_JSON, "line 1, column 27: the key 'c' is in its"),
        (GOOD + b" x", Reason.TRAILING_BYTES, f"line 1, column {len(GOOD) + 2}: 1 bytes follow the object"),
        (GOOD + GOOD, Reason.TRAILING_BYTES, f"line 1, column {len(GOOD) + 1}: {len(GOOD)} bytes follow the object"),
        (b"[" * (MOST_LEVELS + 1), Reason.NOT_JSON, f"line 1, column {MOST_LEVELS + 1}: objects and lists in mo"),
        (b'{"a":' * 100_000, Reason.NOT_JSON, "line 1, column 501: objects and lists in more than 100 levels"),
        (text(amount=Decimal("1.005")), Reason.OUT_OF_RANGE, "amount: multipleOf of the JSON Schema: 1.005 is not"),
        (text(amount=-1), Reason.OUT_OF_RANGE, "amount: minimum of the JSON Schema: -1 is not at least 0"),
        (text(amount="1.00"), Reason.MISSING_OR_WRONG_FIELD, 'amount: type of the JSON Schema: "1.00" is not of type'),
        (text(channel="fax"), Reason.OUT_OF_RANGE, 'channel: enum of the JSON Schema: "fax" is not one of'),
        (text(tags=["a", 5]), Reason.MISSING_OR_WRONG_FIELD, "tags.1: type of the JSON Schema: 5 is not of type"),
        (b'{"sale": "s-1", "at": "x"}', Reason.MISSING_OR_WRONG_FIELD, "the object: required of the JSON Schema: "),
        (text(amount=10**16), Reason.OUT_OF_RANGE, "amount: 10000000000000000 has more than 16 digits be"),
        (text(quantity=2**63), Reason.OUT_OF_RANGE, "quantity: 9223372036854775808 does not fit Int64"),
        (text(at="2026-11-21"), Reason.MISSING_OR_WRONG_FIELD, "at: expected an instant like 2026-11-21T10:31:00.123Z"),
        (text(at="2026-11-21T10:31:30"), Reason.MISSING_OR_WRONG_FIELD, "at: expected an instant, got str '2026"),
        (text(at="2026-11-20T10:31:30Z"), Reason.TOO_LATE, "at 2026-11-20T10:31:30.000+00:00 is 86400.000 s before"),
        (text(at="2026-11-21T10:36:30.001Z"), Reason.EVENT_TIME_OUT_OF_BOUNDS, "at 2026-11-21T10:36:30.001+00:00 is"),
        (b'{"sale": "\\ud800", "at": "x", "amount": 1}', Reason.MISSING_OR_WRONG_FIELD, "sale: expected text, got ha"),
        (b'{"channel": "\\ud800"}', Reason.MISSING_OR_WRONG_FIELD, "expected text, got half of a surrogate pair"),
        (b"\0\0\0\0\7{}", Reason.NOT_JSON, "the value begins with a zero byte, behind which the schema id 7 may stand"),
    ],
    ids=lambda part: str(part)[:40],
)  # fmt: skip
def test_each_fault_has_its_reason_and_says_where_it_is(value: bytes | None, reason: Reason, said: str) -> None:
    found, detail = letter(value)
    assert (found, detail[: len(said)]) == (reason, said)


@pytest.mark.parametrize(
    ("digits", "fits"),
    [
        ("9" * MOST_DIGITS, True),
        ("9" * (MOST_DIGITS + 1), False),
        ("-" + "9" * (MOST_DIGITS - 1), True),
        (f"1e{MOST_DIGITS}", True),
        (f"1e{MOST_DIGITS + 1}", False),
        (f"1e-{MOST_DIGITS}", True),
        (f"1e-{MOST_DIGITS + 1}", False),
        ("1E0000002", True),
        ("1e99999999999999999999", False),
        ("0." + "0" * 500, False),
    ],
    ids=lambda part: str(part)[:12],
)
def test_a_number_is_read_exactly_up_to_the_bound_and_named_beyond_it(digits: str, fits: bool) -> None:
    value = f'{{"a": "{digits}", "number":\n {digits}}}'.encode()
    if fits:
        assert read_object(value)["number"] == Decimal(digits)
    else:
        with pytest.raises(BadRecordError) as raised:
            read_object(value)
        assert (raised.value.reason, raised.value.detail[:17]) == (Reason.OUT_OF_RANGE, "line 2, column 2:")


@pytest.mark.parametrize(
    "value",
    [
        b'{"a": ' + b"9" * 2_000_000 + b"}",
        b'{"a": 1e' + b"9" * 2_000_000 + b"}",
        b"[" * 2_000_000,
        b'{"a": "' + b'\\"' * 1_000_000,
        b"{" + b'"a":{' * 400_000,
        b'{"a": [' + b"{}," * 700_000,
    ],
    ids=["digits", "power", "lists", "quotes", "objects", "many"],
)
def test_two_megabytes_of_anything_are_judged_in_time_by_their_length(value: bytes) -> None:
    before = perf_counter()
    assert isinstance(decoded(value), DeadLetter)
    assert perf_counter() - before < 10, "the square of such a length would take hours"


def test_a_record_cut_anywhere_is_truncated() -> None:
    whole = text(
        amount=Decimal("-1.5e+2"), more=[True, False, None, '\\"ü\x07', {"a": Decimal("1.25")}, -7], u="end"
    ).replace(b'"end"', b'"\\u00e9"')
    assert isinstance(read_object(whole), dict)
    reasons = {length: letter(whole[:length]) for length in range(1, len(whole))}
    assert {length: found for length, found in reasons.items() if found[0] is not Reason.TRUNCATED} == {}


def test_a_text_that_is_wrong_before_its_end_is_not_truncated() -> None:
    for broken in (b'{"a": tru}', b'{"a": 1.}', b'{"a": -}', b'{"a" 1', b'{"a": "\x01"', b'{"a": "\\x"', b'{"a": 1e}'):
        assert letter(broken)[0] is Reason.NOT_JSON, broken


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ('"multipleOf": 0.01', "12345678901234567.89", "12345678901234567.891"),
        ('"multipleOf": 0.1', "0.3", "0.30000000000000004"),
        ('"multipleOf": 1', "9.0", "9.00000000000000000000006"),
        ('"multipleOf": 3', "9007199254740993", "9007199254740994"),
        ('"minimum": 0.1', "0.1", "0.09999999999999999999999"),
        ('"minimum": 10.0', "10", "9.99999999999999999999"),
        ('"maximum": 0.1', "0.1", "0.10000000000000000000001"),
        ('"exclusiveMinimum": 10.00', "10.000000000000000000001", "10.0"),
        ('"exclusiveMaximum": 15.0', "14.99999999999999999999", "15"),
        ('"exclusiveMaximum": 9007199254740993', "9007199254740992", "9007199254740993"),
        ('"const": 9007199254740993', "9007199254740993", "9007199254740992"),
        ('"enum": [0.1]', "0.10", "0.10000000000000000001"),
        ('"type": "integer"', "5.0", "5.00000000000000000000001"),
    ],
)
def test_rules_about_numbers_are_held_exactly(rule: str, good: str, bad: str) -> None:
    """All that a float has of these numbers is alike."""
    assert keeps(rule, good)
    assert not keeps(rule, bad)


@pytest.mark.parametrize(("rule", "kept"), [("minimum", "1.01"), ("maximum", "0.99")])
def test_draft_4_says_by_a_flag_that_a_bound_is_exclusive(rule: str, kept: str) -> None:
    exclusive = f'"{rule}": 1.0, "exclusive{rule.title()}": true'
    assert keeps(exclusive, kept, draft="draft-04")
    assert not keeps(exclusive, "1", draft="draft-04")
    assert keeps(exclusive.replace("true", "false"), "1", draft="draft-04")


def keeps(rule: str, number: str, draft: str = "draft-07") -> bool:
    schema = f'{{"$schema": "http://json-schema.org/{draft}/schema#", "properties": {{"n": {{{rule}}}}}}}'
    codec = codec_of(Stream("s", record=RecordFormat.JSON, schema_text=schema))
    assert codec.own_schema
    try:
        written = codec.writer(codec.own_schema, OWN_SCHEMA).encode({"n": Decimal(number)})
    except NotEncodableError as error:
        if f"n: {next(iter(json.loads('{' + rule + '}')))} of the JSON Schema: " not in str(error):
            raise
        return False
    assert written == f'{{"n": {number}}}'.encode()
    return True


NUMBERS = st.integers(-(10**30), 10**30).map(str) | st.builds(
    lambda whole, digits: f"{whole}.{digits}",
    st.integers(-20, 20),
    st.sampled_from(["0", "00", "1", "5", "9" * 16, "9" * 25, "0" * 20 + "1", "1000000000000000055511151231257827"]),
)
HOLDS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
    "multipleOf": lambda value, of: (value / of).denominator == 1,
    "const": operator.eq,
}


@given(st.sampled_from(sorted(HOLDS)), NUMBERS, NUMBERS)
def test_what_a_rule_says_is_what_fractions_say(rule: str, number: str, limit: str) -> None:
    assume(rule != "multipleOf" or Fraction(limit) > 0)
    assert keeps(f'"{rule}": {limit}', number) == HOLDS[rule](Fraction(number), Fraction(limit))


@pytest.mark.parametrize(
    "schema",
    ["", "no json", "[1]", '{"type": "strange"}', '{"a": 1, "a": 2}', '{"$ref": "https://example.com/other.json"}',
     '{"pattern": "("}', '{"$schema": "http://example.com/mine"}', "[" * 100_000],
    ids=lambda part: part[:20],
)  # fmt: skip
def test_a_schema_that_is_none_makes_letters_and_no_writer(schema: str) -> None:
    codec = codec_of(Stream("s", record=RecordFormat.JSON_REGISTERED))
    outcome = codec.reader(RegisteredSchema(schema, "JSON"), LAYOUT)
    assert isinstance(outcome, Unreadable)
    assert outcome.reason is Reason.UNSUPPORTED_SCHEMA
    with pytest.raises(UnusableSchemaError):
        codec.writer(RegisteredSchema(schema, "JSON"), 7)


def test_a_pattern_takes_steps_by_the_length_of_its_text_or_ends() -> None:
    own = RegisteredSchema('{"properties": {"a": {"pattern": "^(a+)+$"}, "b": {"pattern": "^(?=(b+)+$)x"}}}', "JSON")
    reader = codec_of(STREAM).reader(own, LAYOUT)
    assert isinstance(reader, JsonReader)
    for name in ("a", "b"):
        before = perf_counter()
        with pytest.raises(BadRecordError, match="pattern of the JSON Schema"):
            reader.read(BytesIO(json.dumps({name: name * 50_000 + "!"}).encode()))
        assert perf_counter() - before < 5


REGISTERED = codec_of(Stream("sales", record=RecordFormat.JSON_REGISTERED))
REGISTERED_SCHEMA = RegisteredSchema(to_text(SCHEMA), "JSON")


@pytest.mark.parametrize(
    ("start", "headers"),
    [
        (b"\0\0\0\0\7", []),
        (b"", [("__value_schema_id", b"\1" + bytes(15) + b"\5")]),
        (b"", [("__value_schema_id", b"\0\0\0\0\7")]),
        (b"", [("apicurio.value.contentId", (7).to_bytes(8, "big")), ("apicurio.value.encoding", b"JSON")]),
    ],
    ids=["in the value", "GUID", "id in a header", "Apicurio"],
)
def test_registered_json_names_its_schema_as_avro_does(start: bytes, headers: Headers) -> None:
    assert isinstance(decoded(start + GOOD, REGISTERED, REGISTERED_SCHEMA, headers), Row)


def test_registered_json_without_a_header_or_under_another_kind_of_schema_is_a_letter() -> None:
    bare = decoded(GOOD, REGISTERED, REGISTERED_SCHEMA)
    avro = decoded(b"\0\0\0\0\7" + GOOD, REGISTERED, RegisteredSchema('"string"', "AVRO"))
    assert isinstance(bare, DeadLetter)
    assert isinstance(avro, DeadLetter)
    assert (bare.reason, bare.detail[:19]) == (Reason.NOT_JSON, "no Confluent header")
    assert (avro.reason, avro.detail) == (
        Reason.UNSUPPORTED_SCHEMA,
        "schema id 7: the schema is AVRO, not JSON Schema",
    )


def test_a_registered_schema_is_read_with_its_references_by_their_names() -> None:
    money = '{"type": "number", "multipleOf": 0.01}'
    main = '{"$id": "http://example.com/sale.json", "properties": {"amount": {"$ref": "money.json"}}}'
    schema = RegisteredSchema(main, "JSON", references=(money,), names=("money.json",))
    assert isinstance(decoded(b"\0\0\0\0\7" + GOOD, REGISTERED, schema), Row)
    bad = decoded(b"\0\0\0\0\7" + text(amount=Decimal("1.001")), REGISTERED, schema)
    assert isinstance(bad, DeadLetter)
    assert bad.reason is Reason.OUT_OF_RANGE


def test_what_is_written_is_the_json_itself_and_has_to_keep_the_schema() -> None:
    plain = codec_of(STREAM)
    assert plain.own_schema
    writer = plain.writer(plain.own_schema, OWN_SCHEMA)
    assert writer.encode({"sale": "ß", "at": AT, "amount": Decimal("10.10")}) == (
        f'{{"sale": "ß", "at": "{AT}", "amount": 10.10}}'.encode()
    )
    assert REGISTERED.writer(REGISTERED_SCHEMA, 7).encode(sale())[:6] == b"\0\0\0\0\7{"
    for bad in ({"sale": "x"}, sale(amount=float("nan")), sale(amount=object()), sale(sale="\ud800")):
        with pytest.raises(NotEncodableError):
            writer.encode(bad)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**80), 10**80)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5).filter(str.isascii), inner, max_size=4)
    ),
    max_leaves=20,
)


def _same(one: Any, other: Any) -> bool:
    match one, other:
        case dict(), dict():
            return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


@given(st.dictionaries(st.text(max_size=5).filter(str.isascii), JSON_VALUES, max_size=5))
def test_what_is_written_is_read_back_equal(fields: Mapping[str, Any]) -> None:
    assert _same(read_object(to_text(dict(fields)).encode()), dict(fields))


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda part: f'{{"sale": {part}'.encode(errors="replace")))
def test_no_bytes_raise(value: bytes) -> None:
    assert isinstance(decoded(value), Row | DeadLetter)


def test_a_check_of_the_stream_names_field_rule_and_value() -> None:
    checked = Stream(
        "sales", record=RecordFormat.JSON, checks={"amount": Limits(min=Decimal("10.00"), max=Decimal("999.99"))}
    )
    described = [
        ("event_id", "String", ""),
        ("event_time", "DateTime64(3, 'UTC')", ""),
        ("amount", "Decimal(18, 2)", ""),
    ]
    layout = TableLayout.of(
        described + DESCRIBED_METADATA,
        database="etar",
        table="sales",
        metadata=METADATA,
        event=EventColumns.of(checked),
    )
    codec = codec_of(checked)
    assert codec.own_schema
    reader = codec.reader(codec.own_schema, layout)
    assert isinstance(reader, JsonReader)

    def read(amount: str) -> Any:
        return reader.read(BytesIO(f'{{"event_id": "x", "event_time": "{AT}", "amount": {amount}}}'.encode()))

    assert [read(amount)[2] for amount in ("10", "10.00", "999.99")] == [Decimal(10), Decimal(10), Decimal("999.99")]
    for amount, said in (
        ("9.99", "amount: min is 10.00, got number 9.99"),
        ("1000", "amount: max is 999.99"),
    ):
        with pytest.raises(BadRecordError) as raised:
            read(amount)
        assert (raised.value.reason, raised.value.detail[: len(said)]) == (Reason.OUT_OF_RANGE, said)

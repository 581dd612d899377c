"""Every record becomes a row or a dead letter with the right reason; nothing raises, whatever the bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.records.avro_codec import compile_reader
from etar.records.codec import Reader
from etar.records.decode import Decoder, schema_of
from etar.records.framing import SchemaId
from etar.records.record import Headers, Record, Row, Unreadable
from etar.records.warehouse import dead_letters_to_arrow, rows_to_arrow
from etar.settings import PipelineSettings
from tests.avro_records import decided
from tests.unit.records.events import (
    APPENDED,
    APPENDED_MS,
    LAYOUT,
    SCHEMA,
    SCHEMA_ID,
    SCHEMA_TEXT,
    encode,
    event,
    record,
)

PIPELINE = PipelineSettings(start_date=APPENDED, horizon_hours=24, max_ahead_seconds=300)
DECODER = Decoder(LAYOUT, EventTimeBounds.of(PIPELINE))
Readers = dict[SchemaId, Reader | Unreadable]
READER = compile_reader(SCHEMA_TEXT, LAYOUT)
READERS: Readers = {SCHEMA_ID: READER}
DAY_MS = 24 * 3600 * 1000


def decided_alike(found: Record, readers: Readers) -> Row | DeadLetter:
    """By itself, and in a batch."""
    (outcome,) = decided(DECODER, LAYOUT, [found], readers)
    return outcome


def decoded(value: bytes | None) -> Row | DeadLetter:
    return decided_alike(record(value), READERS)


def letter(value: bytes | None) -> DeadLetter:
    outcome = decoded(value)
    assert isinstance(outcome, DeadLetter), outcome
    return outcome


def with_field(name: str, avro_type: Any, value: Any) -> Row | DeadLetter:
    """A record whose writer declared one field differently."""
    schema = copy.deepcopy(SCHEMA)
    fields = {field["name"]: field for field in schema["fields"]}
    schema["fields"] = list({**fields, name: {"name": name, "type": avro_type}}.values())
    readers: Readers = {SCHEMA_ID: compile_reader(json.dumps(schema), LAYOUT)}
    return decided_alike(record(encode(event(**{name: value}), schema=schema)), readers)


def without_field(name: str) -> Row | DeadLetter:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    readers: Readers = {SCHEMA_ID: compile_reader(json.dumps(schema), LAYOUT)}
    return decided_alike(record(encode(event(), schema=schema)), readers)


def reason_of(outcome: Row | DeadLetter) -> Reason:
    assert isinstance(outcome, DeadLetter), outcome
    return outcome.reason


def test_a_good_record_becomes_a_row_with_every_column() -> None:
    sent = event(1, product_id=None, amount=None, error_code="E42", status="error")

    outcome = decoded(encode(sent))

    assert isinstance(outcome, Row)
    stored = rows_to_arrow(LAYOUT, [outcome]).to_pylist()[0]
    assert {name: str(UUID(bytes=stored[name])) for name in ("event_id", "user_id", "session_id")} == {
        name: sent[name] for name in ("event_id", "user_id", "session_id")
    }
    assert {name: stored[name] for name in stored if not name.endswith("_id") or name == "product_id"} == {
        "event_type": "purchase",
        "status": "error",
        "event_time": APPENDED,
        "product_id": None,
        "amount": None,
        "error_code": "E42",
        "device": "mobile",
        "country": "DE",
        "_topic": "user_interactions",
        "_partition": 3,
        "_offset": 42,
        "_timestamp": APPENDED,
    }


def test_a_dead_letter_keeps_the_record_as_kafka_held_it() -> None:
    assert letter(b"junk") == DeadLetter(
        topic="user_interactions",
        partition=3,
        offset=42,
        appended=APPENDED,
        reason=Reason.NOT_AVRO,
        detail="no Confluent header (00, then 4 bytes of schema id): 4 bytes, starting with 6a 75 6e 6b",
        key=b"k" * 16,
        value=b"junk",
    )


BAD: dict[Reason, Callable[[], Row | DeadLetter]] = {
    Reason.NULL_VALUE: lambda: decoded(None),
    Reason.EMPTY_VALUE: lambda: decoded(b""),
    Reason.NOT_AVRO: lambda: decoded(b'{"event_id": "x"}'),
    Reason.UNKNOWN_SCHEMA_ID: lambda: DECODER.decode(
        record(encode(event())), {SCHEMA_ID: Unreadable(Reason.UNKNOWN_SCHEMA_ID, "no such schema")}
    ),
    Reason.UNSUPPORTED_SCHEMA: lambda: DECODER.decode(
        record(encode(event())), {SCHEMA_ID: compile_reader('"string"', LAYOUT)}
    ),
    Reason.TRUNCATED: lambda: decoded(encode(event())[:-1]),
    Reason.TRAILING_BYTES: lambda: decoded(encode(event()) + b"\0"),
    Reason.MISSING_OR_WRONG_FIELD: lambda: decoded(encode(event(event_id="not a uuid"))),
    Reason.OUT_OF_RANGE: lambda: decoded(encode(event(event_time=2**62))),
    Reason.EVENT_TIME_OUT_OF_BOUNDS: lambda: decoded(encode(event(event_time=APPENDED_MS + DAY_MS))),
    Reason.TOO_LATE: lambda: decoded(encode(event(event_time=0))),
}


@pytest.mark.parametrize("reason", BAD, ids=str)
def test_each_reason_has_a_record_that_gets_it(reason: Reason) -> None:
    assert reason_of(BAD[reason]()) is reason


def test_every_reason_but_the_engines_own_is_covered_above() -> None:
    assert set(Reason) - set(BAD) == {Reason.INSERT_REFUSED, Reason.NOT_JSON}, "of JSON: test_json.py"


def test_a_record_cut_anywhere_in_its_body_is_truncated() -> None:
    whole = encode(event())

    reasons = {length: letter(whole[:length]).reason for length in range(1, len(whole))}

    assert {length for length, reason in reasons.items() if reason is Reason.NOT_AVRO} == {1, 2, 3, 4}
    assert {reason for length, reason in reasons.items() if length >= 5} == {Reason.TRUNCATED}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x01rest of it", "negative length"),
        (b"\x04\xff\xfe", "not UTF-8"),
        (encode(event())[5:].replace(b"\x08\x00", b"\x7e\x00", 1), "no such enum symbol"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_body_that_the_schema_does_not_allow_is_not_avro(body: bytes, why: str) -> None:
    assert letter(b"\0" + SCHEMA_ID.to_bytes(4, "big") + body).reason is Reason.NOT_AVRO, why


@pytest.mark.parametrize(
    ("apart_ms", "reason"),
    [
        (-2 * DAY_MS, Reason.TOO_LATE),
        (-DAY_MS - 1, Reason.TOO_LATE),
        (-DAY_MS, Reason.TOO_LATE),
        (-DAY_MS + 1, None),
        (-1, None),
        (0, None),
        (1, None),
        (299_999, None),
        (300_000, None),
        (300_001, Reason.EVENT_TIME_OUT_OF_BOUNDS),
        (DAY_MS, Reason.EVENT_TIME_OUT_OF_BOUNDS),
    ],
)
def test_event_times_are_believed_from_just_inside_the_horizon_to_the_bound_ahead(
    apart_ms: int, reason: Reason | None
) -> None:
    outcome = decoded(encode(event(event_time=APPENDED_MS + apart_ms)))
    assert (outcome.reason if isinstance(outcome, DeadLetter) else None) is reason


@pytest.mark.parametrize(("apart_us", "believed"), [(-1, True), (0, True), (999, True), (1000, False)])
def test_microseconds_are_compared_with_the_bounds_in_whole_milliseconds(apart_us: int, believed: bool) -> None:
    # The column keeps milliseconds: what is compared is what is stored.
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    outcome = with_field("event_time", micros, (APPENDED_MS + 300_000) * 1000 + apart_us)
    assert isinstance(outcome, Row) is believed


@given(
    apart_ms=st.integers(-200_000_000, 200_000_000),
    horizon_hours=st.floats(0.001, 48),
    ahead_seconds=st.floats(0, 10_000),
)
def test_the_bounds_are_those_of_the_settings(apart_ms: int, horizon_hours: float, ahead_seconds: float) -> None:
    settings = PipelineSettings(
        start_date=APPENDED, horizon_hours=horizon_hours, retention_hours=50, max_ahead_seconds=ahead_seconds
    )

    believed = EventTimeBounds.of(settings).believe(APPENDED_MS + apart_ms, APPENDED_MS)

    assert believed == settings.believes(APPENDED + timedelta(milliseconds=apart_ms), APPENDED)


@pytest.mark.parametrize(
    ("apart_ms", "said"),
    [
        (300_001, "event_time 2026-11-21T10:36:30.001+00:00 is 300.001 s after the broker took the record"),
        (-DAY_MS, "event_time 2026-11-20T10:31:30.000+00:00 is 86400.000 s before the broker took the record"),
    ],
)
def test_an_out_of_bounds_detail_says_both_times_and_the_bounds(apart_ms: int, said: str) -> None:
    assert letter(encode(event(event_time=APPENDED_MS + apart_ms))).detail == (
        f"{said}; believed are less than 86400 s before and at most 300 s after"
    )


@pytest.mark.parametrize("name", ["event_id", "event_time", "device"])
def test_a_schema_without_a_needed_field_makes_dead_letters(name: str) -> None:
    outcome = without_field(name)
    assert reason_of(outcome) is Reason.MISSING_OR_WRONG_FIELD
    assert isinstance(outcome, DeadLetter)
    assert outcome.detail == f"{name}: the schema has no such field, and the column takes no null"


def test_a_schema_without_a_nullable_field_fills_in_null() -> None:
    outcome = without_field("amount")
    assert isinstance(outcome, Row)
    assert rows_to_arrow(LAYOUT, [outcome]).to_pylist()[0]["amount"] is None


def test_a_field_that_the_table_does_not_have_is_left_out() -> None:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"].append({"name": "referrer", "type": "string"})
    readers: Readers = {SCHEMA_ID: compile_reader(json.dumps(schema), LAYOUT)}

    outcome = DECODER.decode(record(encode(event(referrer="r"), schema=schema)), readers)

    assert isinstance(outcome, Row)
    assert "referrer" not in rows_to_arrow(LAYOUT, [outcome]).column_names


@pytest.mark.parametrize(
    ("name", "avro_type", "value"),
    [
        ("event_id", "string", "5e1f0c523a534a0e9d526b0a3d1f7c11"),
        ("event_id", "string", "5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c1"),
        ("event_id", "string", "\uff15e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11"),
        ("event_id", "bytes", b"x" * 16),
        ("event_id", ["null", "string"], None),
        ("amount", "string", "12"),
        ("amount", "double", 12.0),
        ("amount", "boolean", True),
        ("device", "long", 5),
        ("event_time", "long", APPENDED_MS),
        ("event_time", "string", "2026-11-21"),
        ("event_time", ["null", {"type": "long", "logicalType": "timestamp-millis"}], None),
    ],
)
def test_a_value_of_another_type_is_a_wrong_field(name: str, avro_type: Any, value: Any) -> None:
    outcome = with_field(name, avro_type, value)
    assert reason_of(outcome) is Reason.MISSING_OR_WRONG_FIELD
    assert isinstance(outcome, DeadLetter)
    assert outcome.detail.startswith(f"{name}: expected ")


@pytest.mark.parametrize("year", [1899, 2300])
def test_an_instant_beyond_datetime64_is_out_of_range(year: int) -> None:
    millis = int(datetime(year, 6, 1, tzinfo=UTC).timestamp() * 1000)
    assert reason_of(decoded(encode(event(event_time=millis)))) is Reason.OUT_OF_RANGE


def test_microseconds_are_taken_as_such() -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    outcome = with_field("event_time", micros, APPENDED_MS * 1000 + 999)
    assert isinstance(outcome, Row)
    assert rows_to_arrow(LAYOUT, [outcome]).to_pylist()[0]["event_time"] == APPENDED


@pytest.mark.parametrize(
    ("logical_type", "per_ms"), [("timestamp-millis", 1), ("timestamp-micros", 1_000), ("timestamp-nanos", 1_000_000)]
)
def test_every_logical_type_that_is_an_instant_is_one(logical_type: str, per_ms: int) -> None:
    outcome = with_field("event_time", {"type": "long", "logicalType": logical_type}, APPENDED_MS * per_ms)
    assert isinstance(outcome, Row)
    assert rows_to_arrow(LAYOUT, [outcome]).to_pylist()[0]["event_time"] == APPENDED


@pytest.mark.parametrize("logical_type", ["local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos"])
def test_a_local_time_is_no_instant_and_its_letter_says_what_it_is(logical_type: str) -> None:
    outcome = with_field("event_time", {"type": "long", "logicalType": logical_type}, APPENDED_MS)
    assert reason_of(outcome) is Reason.MISSING_OR_WRONG_FIELD
    assert isinstance(outcome, DeadLetter)
    assert outcome.detail.endswith(f"got int {APPENDED_MS} of logical type {logical_type}")


UUID_BYTES = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}


@pytest.mark.parametrize("name", ["event_id", "product_id"])
def test_a_uuid_may_be_sixteen_bytes(name: str) -> None:
    sent = UUID(event()["event_id"])
    outcome = with_field(name, ["null", UUID_BYTES], sent.bytes)
    assert isinstance(outcome, Row)
    stored = rows_to_arrow(LAYOUT, [outcome]).to_pylist()[0][name]
    assert stored == (sent.bytes if name == "event_id" else str(sent))


def test_sixteen_bytes_that_are_not_said_to_be_a_uuid_are_none() -> None:
    outcome = with_field("event_id", {"type": "fixed", "name": "Uuid", "size": 16}, b"u" * 16)
    assert reason_of(outcome) is Reason.MISSING_OR_WRONG_FIELD


def read_as(
    schema: Any, body: bytes, *references: Any, headers: Headers = (), start: bytes = b"\0\0\0\0\7"
) -> Row | DeadLetter:
    """A record whose body was written with ``schema``, whatever its reader makes of that."""
    reader = compile_reader(json.dumps(schema), LAYOUT, [json.dumps(each) for each in references])
    found = record(start + body)._replace(headers=headers)
    return DECODER.decode(found, {} if (identifier := schema_of(found)) is None else {identifier: reader})


BODY = encode(event())[5:]


@pytest.mark.parametrize(
    ("start", "headers"),
    [
        (b"", [("__value_schema_id", b"\1" + UUID(int=5).bytes)]),
        (b"", [("trace", None), ("__value_schema_id", b"\0" + (7).to_bytes(4, "big"))]),
        (b"", [("apicurio.value.contentId", (7).to_bytes(8, "big")), ("apicurio.value.encoding", b"BINARY")]),
        (b"", [("apicurio.value.contentId", (7).to_bytes(8, "big"))]),
        (b"\0\0\0\0\7", [("__value_schema_id", b"nothing that it should hold"), ("apicurio.value.contentId", b"7")]),
    ],
    ids=["Confluent's GUID", "Confluent's id", "Apicurio's content id", "and nothing else", "headers of somebody else"],
)
def test_a_schema_may_be_named_in_a_header(start: bytes, headers: Headers) -> None:
    assert isinstance(read_as(SCHEMA, BODY, headers=headers, start=start), Row)


@pytest.mark.parametrize(
    "named",
    [
        None,
        b"",
        b"\1",
        b"\1" + bytes(15),
        b"\1" + bytes(17),
        b"\2" + bytes(16),
        b"\0",
        bytes(4),
        bytes(6),
        b"\2" + bytes(4),
    ],
    ids=repr,
)
def test_what_is_neither_a_guid_nor_an_id_in_confluents_header_names_no_schema(named: bytes | None) -> None:
    headers: Headers = [("__value_schema_id", named)]
    assert isinstance(read_as(SCHEMA, BODY, headers=headers), Row)
    assert reason_of(read_as(SCHEMA, BODY, headers=headers, start=b"")) is Reason.NOT_AVRO


@pytest.mark.parametrize(
    ("start", "headers", "said"),
    [
        (b"\0" + (12).to_bytes(8, "big"), [], "schema id 12 in Apicurio's eight bytes"),
        (b"", [("apicurio.value.globalId", (12).to_bytes(8, "big"))], "schema id 12 in the record's header apicurio."),
        (
            b"",
            [("apicurio.value.contentId", b"12"), ("apicurio.value.globalId", (12).to_bytes(8, "big"))],
            "schema id 12 in the record's header apicurio.value.globalId: the registry is asked by content ids",
        ),
        (
            b"",
            [("apicurio.value.contentId", (12).to_bytes(8, "big")), ("apicurio.value.encoding", b"JSON")],
            "schema id 12 in the record's header apicurio.value.contentId: Avro as JSON",
        ),
    ],
    ids=["eight bytes", "global id", "global id beside a content id that is none", "JSON"],
)
def test_a_schema_that_cannot_be_asked_for_is_named_in_the_letter(start: bytes, headers: Headers, said: str) -> None:
    outcome = read_as(SCHEMA, BODY, headers=headers, start=start)
    assert reason_of(outcome) is Reason.UNSUPPORTED_SCHEMA
    assert isinstance(outcome, DeadLetter)
    assert outcome.detail.startswith(said)


def test_the_schema_id_nought_is_none() -> None:
    outcome = read_as(SCHEMA, b"\0\0\0\0" + BODY, start=b"\0\0\0\0\0")
    assert reason_of(outcome) is Reason.NOT_AVRO


def test_a_union_at_the_top_is_its_record_or_null() -> None:
    union = ["null", SCHEMA, "string"]
    assert isinstance(read_as(union, b"\2" + BODY), Row)
    assert reason_of(read_as(union, b"\0")) is Reason.NULL_VALUE
    assert reason_of(read_as(union, b"\4\2x")) is Reason.MISSING_OR_WRONG_FIELD
    assert reason_of(read_as(union, b"\6")) is Reason.NOT_AVRO
    assert reason_of(read_as(union, b"\1")) is Reason.NOT_AVRO


DEVICE = {"type": "record", "name": "Device", "namespace": "shop", "fields": [{"name": "kind", "type": "Kind"}]}
KIND = {"type": "enum", "name": "shop.Kind", "symbols": ["mobile", "größer"]}


def with_types(**types: Any) -> dict[str, Any]:
    """The schema of events with other types, or more fields behind its own."""
    fields = {field["name"]: field for field in SCHEMA["fields"]}
    return {**SCHEMA, "fields": [*({**fields, **{n: {"name": n, "type": t} for n, t in types.items()}}.values())]}


def test_what_a_schema_refers_to_is_read_with_it_in_whichever_order() -> None:
    schema = with_types(used="shop.Device")
    for references in ([DEVICE, KIND], [KIND, DEVICE]):
        assert isinstance(read_as(schema, BODY + b"\2", *references), Row)
    missing = read_as(schema, BODY + b"\2", DEVICE)
    assert isinstance(missing, DeadLetter)
    assert (missing.reason, missing.detail) == (
        Reason.UNSUPPORTED_SCHEMA,
        "schema id 7: the type Kind is defined neither in the schema nor in what it refers to",
    )


def test_the_logical_type_of_a_field_is_found_behind_a_name() -> None:
    instant = {"type": "record", "name": "shop.Unused", "fields": [{"name": "id", "type": UUID_BYTES}]}
    outcome = read_as(with_types(event_id="shop.Uuid"), UUID(event()["event_id"]).bytes + BODY[37:], instant)
    assert isinstance(outcome, Row)


def test_an_enum_symbol_beyond_ascii_is_the_text_it_is() -> None:
    outcome = read_as(with_types(device=KIND), BODY.replace(b"\x0cmobile", b"\2"))
    assert isinstance(outcome, Row)
    assert rows_to_arrow(LAYOUT, [outcome]).to_pylist()[0]["device"] == "größer"


@pytest.mark.parametrize(
    "field",
    [
        {"name": "more", "type": "long", "default": "none"},
        {"name": "more", "type": ["null", "long"], "default": 7.5},
        {"name": "more-and-more", "type": "long", "order": "whatever", "aliases": "none", "doc": 5},
        {"name": "more", "type": {"type": "long", "logicalType": "decimal", "scale": -1}},
        {"name": "more", "type": {"type": {"type": "long"}}},
        {"name": "more", "type": {"type": "enum", "name": "E", "symbols": ["in-progress", "2"], "default": "other"}},
        {"name": "more", "type": {"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 99}},
    ],
    ids=lambda field: json.dumps(field)[:60],
)
def test_nothing_is_asked_of_a_schema_but_what_its_own_records_need(field: dict[str, Any]) -> None:
    schema = {**SCHEMA, "fields": [*SCHEMA["fields"], field]}
    union = b"\2" if field["type"] == ["null", "long"] else b""
    assert isinstance(read_as(schema, BODY + union + b"\2"), Row)


def test_text_of_a_field_that_no_column_takes_need_not_be_utf_8() -> None:
    assert isinstance(read_as(with_types(referrer="string"), BODY + b"\4\xff\xfe"), Row)
    assert reason_of(read_as(with_types(country="string"), BODY[:-2] + b"\xff\xfe")) is Reason.NOT_AVRO


@pytest.mark.parametrize("depth", [50, 2_000])
def test_a_record_that_nests_deeper_than_python_goes_is_a_letter(depth: int) -> None:
    chain = {"type": "record", "name": "Chain", "fields": [{"name": "next", "type": ["null", "Chain"]}]}
    outcome = read_as(with_types(chain=chain), BODY + b"\2" * depth + b"\0")
    if depth == 50:
        assert isinstance(outcome, Row)
    else:
        assert reason_of(outcome) is Reason.NOT_AVRO


def test_a_name_that_is_defined_twice_and_not_alike_is_refused() -> None:
    other = {**KIND, "symbols": ["tablet"]}
    outcome = read_as(with_types(device=KIND), BODY, other)
    assert isinstance(outcome, DeadLetter)
    assert outcome.detail == "schema id 7: the type shop.Kind is defined twice, and not alike"


@pytest.mark.parametrize(
    "schema",
    ["", "not json", "[]", "null", '{"type": "enum", "name": "e", "symbols": ["a"]}', '{"type": "record"}',
     '{"type": "record", "name": "r", "fields": [{"name": "a", "type": "other.Subject"}]}',
     '{"type": "record", "name": "r", "fields": 5}', "[" * 100_000],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_schema_that_is_no_avro_record_is_unsupported(schema: str) -> None:
    outcome = compile_reader(schema, LAYOUT)
    assert isinstance(outcome, Unreadable)
    assert outcome.reason is Reason.UNSUPPORTED_SCHEMA


def test_text_with_half_a_surrogate_pair_does_not_reach_the_warehouse() -> None:
    column = next(column for column in LAYOUT.fields if column.name == "device")
    with pytest.raises(ValueError, match="surrogate"):
        column.converter(None)("\ud800")
    assert column.converter(None)("Füße 🦶") == "Füße 🦶"


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good record with some of its bytes changed, cut out or repeated."""
    value = bytearray(encode(event()))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(0, len(value) - 1)))
        match draw(st.sampled_from(["change", "cut", "insert"])):
            case "change" if value:
                value[at] = draw(st.integers(0, 255))
            case "cut":
                del value[at : at + draw(st.integers(1, 20))]
            case _:
                value[at:at] = draw(st.binary(max_size=20))
    return bytes(value)


@given(
    value=st.none()
    | st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda body: b"\0\0\0\0\x07" + body)
    | spoiled(),
    key=st.none() | st.binary(max_size=20),
    appended_ms=st.integers(0, 4 * 10**12),
)
def test_no_bytes_raise_and_every_outcome_can_be_stored(
    value: bytes | None, key: bytes | None, appended_ms: int
) -> None:
    poison = Record("user_interactions", 0, 1, appended_ms, key, value)
    readers: Readers = {} if (identifier := schema_of(poison)) is None else {identifier: READER}

    outcome = DECODER.decode(poison, readers)

    if isinstance(outcome, Row):
        assert rows_to_arrow(LAYOUT, [outcome]).num_rows == 1
    else:
        assert outcome.value == value
        assert dead_letters_to_arrow([outcome]).num_rows == 1

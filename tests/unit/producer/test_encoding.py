"""Any stream's events as records: key, value, time, and each way of being malformed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from etar.streams import Stream
from producer.encoding import Encoding, header_of
from producer.kinds import NO_SUCH_SCHEMA_ID, Draft, Kind, malformed_kinds
from tests.unit.producer.drafts import MINUTE
from tests.unit.producer.folders import avro_schema, payments, rides, stream_in, write_stream

HEADER = header_of(7)
RIDE: dict[str, Any] = {"ride": "r", "at": "2026-11-21T10:31:00Z", "fare": Decimal("7.10"), "kind": "solo"}
PAYMENT: dict[str, Any] = {
    "payment": UUID(int=1), "at": MINUTE * 1000, "amount": Decimal("12.50"), "method": "card", "customer": "Zoë",
    "device": None,
}  # fmt: skip


def keyed(folders: Path, form: str, kind: object) -> Stream:
    fields: list[dict[str, Any]] = [
        {"name": "who", "type": kind},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]
    key = f'key = {{field = "who", as = "{form}"}}' if form != "none" else ""
    write_stream(folders, "keyed", f'[topic]\n{key}\n[event]\nid = []\ntime = "at"\n', avro_schema(*fields))
    return stream_in(folders, "keyed")


class Step(NamedTuple):
    who: Any
    at: int


@pytest.mark.parametrize(
    ("form", "who", "key"),
    [
        ("uuid16", UUID(int=1), UUID(int=1).bytes),
        ("uuid16", str(UUID(int=1)), UUID(int=1).bytes),
        ("utf8", "Zoë", "Zoë".encode()),
        ("utf8", 17, b"17"),
        ("utf8", None, None),
        ("uuid16", None, None),
        ("none", "Zoë", None),
    ],
)
def test_a_key_is_the_field_in_its_form(form: str, who: object, key: bytes | None, tmp_path: Path) -> None:
    encoding = Encoding(keyed(tmp_path, form, "string"), HEADER)
    assert encoding.key({"who": who, "at": 1}) == key
    assert encoding.key(Step(who, 1)) == key


def test_avro_is_behind_its_header_and_is_read_again(tmp_path: Path) -> None:
    encoding = Encoding(payments(tmp_path), HEADER)
    value = encoding.encode(PAYMENT)
    assert value.startswith(HEADER)
    event = encoding.event_of(value)
    assert (event["payment"], event["amount"], event["tags"]) == (UUID(int=1), Decimal("12.50"), [])
    assert encoding.time_of(event) == encoding.time_of(PAYMENT) == MINUTE


@pytest.mark.parametrize(
    "change", [{"amount": None}, {"method": "cheque"}, {"colour": "red"}, {"amount": Decimal("0.001")}]
)
def test_an_event_that_is_not_of_the_schema_is_no_record(change: dict[str, Any], tmp_path: Path) -> None:
    encoding = Encoding(payments(tmp_path), HEADER)
    with pytest.raises((ValueError, TypeError)):
        encoding.encode(PAYMENT | change)


@pytest.mark.parametrize("header", [b"", HEADER])
def test_json_has_decimals_as_the_numbers_that_they_are(header: bytes, tmp_path: Path) -> None:
    encoding = Encoding(rides(tmp_path, form="json-registered" if header else "json"), header)
    value = encoding.encode(RIDE | {"fare": Decimal("12345678901234567890.10")})
    assert value == header + (b'{"ride":"r","at":"2026-11-21T10:31:00Z","fare":12345678901234567890.10,"kind":"solo"}')
    assert encoding.event_of(value)["fare"] == Decimal("12345678901234567890.10")


@pytest.mark.parametrize(
    ("form", "own"),
    [
        ("avro", {Kind.NOT_AVRO, Kind.UNKNOWN_SCHEMA_ID}),
        ("json", {Kind.NOT_JSON}),
        ("json-registered", {Kind.NOT_JSON, Kind.UNKNOWN_SCHEMA_ID}),
    ],
)
def test_each_format_is_malformed_in_its_own_ways(form: str, own: set[Kind], tmp_path: Path) -> None:
    stream, event = (payments(tmp_path), PAYMENT) if form == "avro" else (rides(tmp_path, form=form), RIDE)
    encoding = Encoding(stream, b"" if form == "json" else HEADER)
    whole = encoding.encode(event)
    assert set(malformed_kinds(stream.record)) == own | {
        Kind.TRUNCATED, Kind.TRAILING_BYTES, Kind.NULL_VALUE, Kind.EMPTY_VALUE, Kind.TIME_FAR_AHEAD,
        Kind.TIME_FAR_BEHIND,
    }  # fmt: skip
    values = {kind: encoding.value_of(Draft(kind, event, MINUTE)) for kind in encoding.malformed}
    assert (values[Kind.NULL_VALUE], values[Kind.EMPTY_VALUE]) == (None, b"")
    assert values[Kind.TRAILING_BYTES] == whole + b"\0trailing"
    assert len(encoding.header) < len(values[Kind.TRUNCATED] or b"") < len(whole)
    assert whole.startswith(values[Kind.TRUNCATED] or b"x")
    if Kind.UNKNOWN_SCHEMA_ID in own:
        assert values[Kind.UNKNOWN_SCHEMA_ID] == header_of(NO_SUCH_SCHEMA_ID) + whole[5:]
    if Kind.NOT_JSON in own:
        body = (values[Kind.NOT_JSON] or b"").removeprefix(encoding.header)
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(body)


@pytest.mark.parametrize(
    ("time_as", "value", "read"),
    [
        ("iso8601", "2026-11-21T10:31:00.250Z", MINUTE + 250),
        ("iso8601", "2026-11-21T11:31:00+01:00", MINUTE),
        ("iso8601", "2026-11-21T10:31:00", MINUTE),
        ("unix_ms", MINUTE + 250, MINUTE + 250),
        ("unix_ms", float(MINUTE), MINUTE),
        ("unix_s", MINUTE // 1000, MINUTE),
        ("unix_s", Decimal(MINUTE + 250) / 1000, MINUTE + 250),
    ],
)
def test_a_time_is_read_and_written_as_the_stream_says(time_as: str, value: Any, read: int, tmp_path: Path) -> None:
    encoding = Encoding(rides(tmp_path, time_as=time_as))
    event = RIDE | {"at": value}
    assert encoding.time_of(event) == read
    moved = encoding.at_time(event, MINUTE + 1750)
    assert encoding.time_of(moved) == MINUTE + 1750
    assert type(moved["at"]) in (str, int, Decimal)
    assert encoding.logged(event)["at"] == read


@pytest.mark.parametrize(("unit", "ticks"), [("millis", 1000), ("micros", 10**6), ("nanos", 10**9)])
@pytest.mark.parametrize("local", ["", "local-"])
def test_a_time_of_avro_is_in_the_unit_of_its_schema(unit: str, ticks: int, local: str, tmp_path: Path) -> None:
    kind = {"type": "long", "logicalType": f"{local}timestamp-{unit}"}
    fields: list[dict[str, Any]] = [{"name": "who", "type": "string"}, {"name": "at", "type": ["null", kind]}]
    write_stream(tmp_path, "timed", '[event]\nid = []\ntime = "at"\n', avro_schema(*fields))
    encoding = Encoding(stream_in(tmp_path, "timed"), HEADER)
    event = Step("x", MINUTE * ticks // 1000 + ticks // 2)
    assert encoding.time_of(event) == MINUTE + 500
    assert encoding.at_time(event, MINUTE) == Step("x", MINUTE * ticks // 1000)
    assert encoding.time_of({"at": datetime(2026, 11, 21, 10, 31, tzinfo=UTC)}) == MINUTE
    assert encoding.can_say(MINUTE * 1000) == (unit != "nanos")


def test_a_year_beyond_9999_has_no_text(tmp_path: Path) -> None:
    encoding = Encoding(rides(tmp_path))
    assert encoding.can_say(MINUTE)
    assert not encoding.can_say(MINUTE * 1000)

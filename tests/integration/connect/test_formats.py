"""Other formats and columns than the first stream's, through a real Kafka, registry and engine, value by value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etar.clients import trusted_certificates
from etar.dead_letters import Reason
from etar.records.intake import Intake
from etar.records.json_text import to_text
from etar.records.record import Record
from etar.records.registry import Registry
from etar.records.warehouse import Warehouse
from etar.settings import KafkaSettings, RegistrySettings, WarehouseSettings
from etar.streams import Limits, RecordFormat, Stream, TimeForm
from tests.integration.connect.conftest import client_of, now_ms
from tests.integration.connect.sales import BOUNDS, SCHEMA, open_sales
from tests.integration.topics import delete_topics

SOME_UUID = "5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11"
LONG = Decimal("9" * 56 + "." + "9" * 20)

EXACT: dict[str, list[tuple[Any, Any]]] = {
    "Decimal(9, 2)": [
        (Decimal("9999999.99"), Decimal("9999999.99")),
        ("-0.01", Decimal("-0.01")),
        (5, Decimal("5.00")),
    ],
    "Decimal(18, 6)": [(Decimal("-999999999999.999999"), Decimal("-999999999999.999999"))],
    "Decimal(38, 10)": [(Decimal("9" * 28 + "." + "9" * 10), Decimal("9" * 28 + "." + "9" * 10))],
    "Decimal(76, 20)": [(LONG, LONG), (LONG.copy_negate(), LONG.copy_negate())],
    "Nullable(Decimal(18, 2))": [(None, None), (Decimal("1.10"), Decimal("1.10"))],
    "Date": [("1970-01-01", date(1970, 1, 1)), ("2149-06-06", date(2149, 6, 6))],
    "Date32": [("1900-01-01", date(1900, 1, 1)), ("2299-12-31", date(2299, 12, 31))],
    "DateTime('UTC')": [
        ("2106-02-07T06:28:15.9Z", datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
    "DateTime64(6, 'UTC')": [
        ("1900-01-01T00:00:00.000001Z", datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("2026-11-21T11:31:30.123456+01:00", datetime(2026, 11, 21, 10, 31, 30, 123456, tzinfo=UTC)),
    ],
    "Float32": [(Decimal("1.5"), 1.5), (Decimal("-3.4028234663852886e38"), -3.4028234663852886e38)],
    "Float64": [(Decimal("0.1"), 0.1), (Decimal("1e308"), 1e308)],
    "Bool": [(True, True), (False, False)],
    "UInt64": [(2**64 - 1, 2**64 - 1), (Decimal("7.0"), 7)],
    "Enum8('a' = 1, 'it\\'s, (x)' = -2)": [("it's, (x)", "it's, (x)"), ("a", "a")],
    "Nullable(Enum16('ß' = 1000))": [("ß", "ß"), (None, None)],
    "Array(String)": [(["a", "", "ü"], ["a", "", "ü"]), ([], []), (None, [])],
    "Array(Nullable(Int64))": [([1, None, -(2**63)], [1, None, -(2**63)])],
    "Array(Decimal(18, 2))": [([Decimal("0.10"), 3], [Decimal("0.10"), Decimal("3.00")])],
    "Array(UUID)": [([SOME_UUID], [UUID(SOME_UUID)])],
    "Array(Array(LowCardinality(String)))": [([["a"], []], [["a"], []])],
    "Array(Tuple(sku String, price Decimal(9, 2)))": [
        ([{"sku": "x", "price": Decimal("1.10")}], [{"sku": "x", "price": Decimal("1.10")}])
    ],
    "Map(String, Int64)": [({"a": 1, "": 2}, {"a": 1, "": 2}), ({}, {})],
    "Map(LowCardinality(String), Array(String))": [({"a": ["x"]}, {"a": ["x"]})],
    "Tuple(os String, version Nullable(Int32))": [
        ({"os": "x", "version": None, "more": 1}, {"os": "x", "version": None}),
        ({"os": "y", "version": 3}, {"os": "y", "version": 3}),
    ],
    "Tuple(`a b` UUID, at DateTime64(3, 'UTC'))": [
        (
            {"a b": SOME_UUID, "at": "2026-11-21T10:31:30.123Z"},
            {"a b": UUID(SOME_UUID), "at": datetime(2026, 11, 21, 10, 31, 30, 123000, tzinfo=UTC)},
        )
    ],
}
"""By type: what JSON has, and what the engine gives back."""


class Table:
    """A table of one column beside what all have, and an intake of JSON into it."""

    def __init__(self, kind: str, warehouse: WarehouseSettings, registry: Registry, rows: Warehouse) -> None:
        self.name = f"kinds_{uuid4().hex[:12]}"
        self._client = client_of(warehouse)
        self._client.command(
            f"CREATE TABLE {self.name} (id Int64, at DateTime64(3, 'UTC'), x {kind}, _topic LowCardinality(String), "
            "_partition Int32, _offset Int64, _timestamp DateTime64(3, 'UTC')) ENGINE = ReplacingMergeTree "
            "ORDER BY (_topic, _partition, _offset)"
        )
        stream = Stream(self.name, record=RecordFormat.JSON, identity=("id",), time="at", time_form=TimeForm.UNIX_MS)
        self._intake = Intake.of(stream, database=warehouse.database, bounds=BOUNDS, registry=registry, warehouse=rows)

    def store(self, values: Sequence[Any]) -> list[Any]:
        """What the engine gives back of these."""
        now = now_ms()
        records = [
            Record(self.name, 0, number, now, None, to_text({"id": number, "at": now, "x": value}).encode())
            for number, value in enumerate(values)
        ]
        stored = self._intake.take_in(records)
        assert not stored.letters, stored.letters
        rows = self._client.query(f"SELECT x FROM {self.name} FINAL WHERE _topic = '{self.name}' ORDER BY _offset")
        found = [row[0] for row in rows.result_rows]
        self._client.command(f"TRUNCATE TABLE {self.name}")
        return found

    def close(self) -> None:
        self._client.command(f"DROP TABLE {self.name}")
        self._client.close()


@pytest.fixture
def places(registry: RegistrySettings, warehouse: WarehouseSettings) -> Iterator[tuple[Registry, Warehouse]]:
    with closing(Registry.connect(registry)) as schemas, closing(Warehouse(warehouse)) as rows:
        yield schemas, rows


@pytest.mark.parametrize("kind", EXACT, ids=str)
def test_a_value_comes_back_as_it_was_sent(
    kind: str, warehouse: WarehouseSettings, places: tuple[Registry, Warehouse]
) -> None:
    with closing(Table(kind, warehouse, *places)) as table:
        found = table.store([sent for sent, _ in EXACT[kind]])
    wanted = [stored for _, stored in EXACT[kind]]
    assert [_in_utc(each) for each in found] == wanted
    assert [type(_in_utc(each)) for each in found] == [type(each) for each in wanted]


def _in_utc(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, dict):
        return {name: _in_utc(each) for name, each in value.items()}
    return value


def test_any_decimals_of_a_columns_size_come_back_digit_by_digit(
    warehouse: WarehouseSettings, places: tuple[Registry, Warehouse]
) -> None:
    with closing(Table("Decimal(38, 19)", warehouse, *places)) as table:

        @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(st.integers(-(10**38) + 1, 10**38 - 1), min_size=1, max_size=50))
        def check(unscaled: list[int]) -> None:
            numbers = [Decimal((int(each < 0), tuple(map(int, str(abs(each)))), -19)) for each in unscaled]
            assert table.store(numbers) == numbers

        check()


def test_a_json_stream_goes_through_kafka_and_the_sink_into_rows_and_letters(
    kafka: KafkaSettings, registry: RegistrySettings, warehouse: WarehouseSettings
) -> None:
    with open_sales(kafka, registry, warehouse, amount=Limits(min=Decimal("0.05"), max=Decimal("99999.99"))) as sales:
        at = sales.at
        good = {f"s-{number}": Decimal(number) / 100 for number in range(5, 505)}
        spoiled = {
            b'{"sale": ': Reason.TRUNCATED,
            b"[1]": Reason.NOT_JSON,
            sales.value(1, amount=Decimal("0.04")): Reason.OUT_OF_RANGE,
            sales.value(2, amount=Decimal("100000.00")): Reason.OUT_OF_RANGE,
            sales.value(3, amount=Decimal("1.001")): Reason.OUT_OF_RANGE,
            sales.value(4, amount="1.00"): Reason.MISSING_OR_WRONG_FIELD,
            sales.value(5, at="2020-01-01T00:00:00Z"): Reason.TOO_LATE,
            sales.value(6) + b"!": Reason.TRAILING_BYTES,
        }
        values = [sales.value(number, at=at, tags=["a", "ü"]) for number in range(5, 505)]
        sales.lane.produce([*values[:250], *spoiled, *values[250:]])
        sales.consume()

        rows = sales.lane.rows("sale, amount, tags, formatDateTime(at, '%Y-%m-%dT%H:%i:%SZ')")
        assert {sale: amount for sale, amount, _, _ in rows} == good
        assert {(tuple(tags), told) for _, _, tags, told in rows} == {(("a", "ü"), at)}
        letters = sales.lane.dead_letters()
        assert {value: reason for reason, _, value in letters.values()} == {
            value: reason.value for value, reason in spoiled.items()
        }
        assert "amount: min is 0.05, got number 0.04" in {detail for _, detail, _ in letters.values()}
        sales.lane.assert_every_offset_is_in_one_place()
        delete_topics(kafka, [sales.lane.topic])


def test_registered_json_is_read_under_its_schema_with_what_that_refers_to(
    kafka: KafkaSettings, registry: RegistrySettings, warehouse: WarehouseSettings
) -> None:
    with open_sales(kafka, registry, warehouse, record=RecordFormat.JSON_REGISTERED) as sales:
        topic = sales.lane.topic
        register_json(
            registry,
            f"{topic}-money",
            '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "number", "multipleOf": 0.01}',
        )
        schema = json.loads(SCHEMA)
        schema["properties"]["amount"] = {"$ref": "money.json"}
        schema_id = register_json(registry, f"{topic}-value", json.dumps(schema), [("money.json", f"{topic}-money")])
        header = b"\0" + schema_id.to_bytes(4, "big")
        sales.lane.produce(
            [header + sales.value(7), header + sales.value(8, amount=Decimal("0.001")), sales.value(9)], partition=0
        )
        sales.consume()

        assert sales.lane.rows("sale, amount") == [("s-7", Decimal("0.07"))]
        letters = sales.lane.dead_letters()
        assert {place: reason for place, (reason, _, _) in letters.items()} == {
            (0, 1): Reason.OUT_OF_RANGE.value,
            (0, 2): Reason.NOT_JSON.value,
        }
        delete_topics(kafka, [topic])


def register_json(
    registry: RegistrySettings, subject: str, schema: str, references: Sequence[tuple[str, str]] = ()
) -> int:
    named = [{"name": name, "subject": subject, "version": 1} for name, subject in references]
    body = {"schemaType": "JSON", "schema": schema, **({"references": named} if named else {})}
    url = f"{registry.url}/subjects/{subject}/versions"
    answer = httpx.post(url, json=body, timeout=30, verify=trusted_certificates())
    assert answer.is_success, answer.text
    return int(answer.json()["id"])

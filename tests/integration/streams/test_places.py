"""A stream's folder and the real places: a sample of a topic makes one, and the plan says what they differ in."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from etar.bootstrap.migrations import apply_clickhouse, stream_migrations
from etar.clients import warehouse_client
from etar.records.framing import with_header
from etar.settings import KafkaSettings, RegistrySettings, StreamSettings, WarehouseSettings
from etar.stream_folder.check import check
from etar.stream_folder.plan import Places, Standing, Step, plan
from etar.stream_folder.propose import Wishes, propose
from etar.stream_folder.sample import Sample, SampleError
from etar.stream_folder.scaffold import write_folder
from etar.stream_folder.topic_sample import read_topic
from etar.streams import RecordFormat, Stream, catalogue, subject_of
from tests.integration.schemas import register
from tests.integration.topics import admin_of, delete_topics, make_topic
from tests.ports import free_ports
from tests.unit.streams.test_new import AT, offered

SALE = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "sale_id", "type": "string"},
        {"name": "sold_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    ],
}
COUPON = {"name": "coupon", "type": ["null", "string"], "default": None}
TILL = {"name": "till", "type": "string"}


@pytest.fixture
def name(kafka: KafkaSettings, warehouse: WarehouseSettings) -> Iterator[str]:
    found = f"sales_{uuid.uuid4().hex[:8]}"
    yield found
    delete_topics(kafka, [found] if _is_there(kafka, found) else [])
    with warehouse_client(warehouse) as client:
        client.command(f"DROP TABLE IF EXISTS {found}")


@pytest.fixture
def places(kafka: KafkaSettings, registry: RegistrySettings, warehouse: WarehouseSettings) -> Places:
    return Places(lambda: kafka, lambda: registry, lambda: warehouse)


def _is_there(kafka: KafkaSettings, topic: str) -> bool:
    with admin_of(kafka) as admin:
        return admin.list_topics(topic, timeout=30).topics[topic].error is None


def send(kafka: KafkaSettings, topic: str, values: Sequence[bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for value in values:
        producer.produce(topic, value=value)
    assert producer.flush(30) == 0


def as_avro(schema_id: int, record: Mapping[str, Any]) -> bytes:
    body = BytesIO()
    kinds = {"sale_id": "string", "sold_at": "long", "amount": "bytes"}
    plain = {**SALE, "fields": [{"name": name, "type": kind} for name, kind in kinds.items()]}
    fastavro.schemaless_writer(body, fastavro.parse_schema(plain), record)
    return with_header(schema_id, body.getvalue())


def written(folder: Path, name: str, sample: Sample) -> Stream:
    where = StreamSettings(streams_folders=str(folder))
    write_folder(propose(name, sample, Wishes(), offered), where)
    assert [str(fault) for fault in check(catalogue(where)) if not fault.is_warning] == []
    return catalogue(where).named(name)


def again(stream: Stream) -> Stream:
    """As its folder is now."""
    assert stream.folder is not None
    return catalogue(StreamSettings(streams_folders=str(stream.folder.parent))).named(stream.name)


def with_schema(stream: Stream, *more: Mapping[str, Any]) -> Stream:
    assert stream.folder is not None
    (stream.folder / "schema.avsc").write_text(json.dumps({**SALE, "fields": [*SALE["fields"], *more]}))
    return again(stream)


def standings(steps: Sequence[Step]) -> list[Standing]:
    return [step.standing for step in steps]


def test_a_folder_is_made_of_a_topics_own_records_of_avro(
    kafka: KafkaSettings, registry: RegistrySettings, name: str, tmp_path: Path
) -> None:
    make_topic(kafka, name, 2)
    schema_id = register(registry, subject_of(name), json.dumps(SALE))
    sales = [
        {"sale_id": f"s{n}", "sold_at": 1_795_000_000_000 + n, "amount": (1250 + n).to_bytes(2, "big")}
        for n in range(5)
    ]
    send(kafka, name, [None, b"no record", *(as_avro(schema_id, sale) for sale in sales)])

    sample = read_topic(name, kafka, registry)
    stream = written(tmp_path, name, sample)

    assert sample.remarks == ("1 records name another schema, or none, and were left out",)
    assert (stream.record.value, stream.topic, stream.identity, stream.time) == ("avro", name, ("sale_id",), "sold_at")
    rows = [json.loads(line).get("row") for line in (tmp_path / name / "samples.jsonl").read_text().splitlines()]
    assert {row["amount"] for row in rows if row} <= {f"12.5{n}" for n in range(5)}
    assert json.loads(stream.schema_text or "") == SALE


@pytest.mark.parametrize("header", [b"", None], ids=["plain", "registered"])
def test_a_folder_is_made_of_a_topics_own_records_of_json(
    kafka: KafkaSettings, registry: RegistrySettings, name: str, tmp_path: Path, header: bytes | None
) -> None:
    make_topic(kafka, name, 1)
    if header is None:
        header = with_header(_register_json(registry, name), b"")
    send(kafka, name, [header + b'{"id": %d, "at": "%s", "amount": 1.50}' % (n, AT.encode()) for n in range(3)])

    stream = written(tmp_path, name, read_topic(name, kafka, registry))

    assert stream.record.value == ("json-registered" if header else "json")
    assert (stream.identity, stream.time) == (("id",), "at")


def _register_json(registry: RegistrySettings, name: str) -> int:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
    body = {"schema": json.dumps(schema), "schemaType": "JSON"}
    answer = httpx.post(f"{registry.url}/subjects/{subject_of(name)}/versions", json=body, timeout=30)
    assert answer.is_success, answer.text
    return int(answer.json()["id"])


def test_a_topic_that_gives_no_sample_is_told(kafka: KafkaSettings, registry: RegistrySettings, name: str) -> None:
    with pytest.raises(SampleError, match=f"there is no topic {name}"):
        read_topic(name, kafka, registry)
    make_topic(kafka, name, 1)
    with pytest.raises(SampleError, match=f"the topic {name} has no records"):
        read_topic(name, kafka, registry)
    send(kafka, name, [b"hello"])
    with pytest.raises(SampleError, match="are neither JSON objects"):
        read_topic(name, kafka, registry)
    send(kafka, name, [with_header(999_999, b"x")])
    with pytest.raises(SampleError, match="the registry has no schema of the id 999999"):
        read_topic(name, kafka, registry)


def test_the_plan_follows_a_stream_from_nothing_to_a_new_field_and_a_change_that_is_refused(
    *,
    places: Places,
    kafka: KafkaSettings,
    registry: RegistrySettings,
    warehouse: WarehouseSettings,
    name: str,
    tmp_path: Path,
) -> None:
    sample = Sample((), RecordFormat.AVRO, schema_text=json.dumps(SALE))
    stream = written(tmp_path, name, sample)

    new = plan(stream, places)
    assert standings(new) == [Standing.CHANGES] * 3
    assert [step.what for step in new] == [
        "is made, with 6 partitions",
        "is registered from schema.avsc with the first record",
        f"is made, by {name}/0001_table.sql",
    ]

    make_topic(kafka, name, 6)
    register(registry, subject_of(name), json.dumps(SALE))
    apply_clickhouse(warehouse, stream_migrations(stream))
    assert standings(plan(stream, places)) == [Standing.SAME] * 3

    stream = with_schema(stream, COUPON)
    more = plan(stream, places)
    assert standings(more) == [Standing.TO_WRITE, Standing.SAME, Standing.CHANGES, Standing.SAME]
    assert more[0].what == "coupon: no column takes it yet; write sql/0002_coupon.sql"
    assert more[0].text == f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS coupon Nullable(String);\n"
    assert more[2].what == "becomes version 2: + coupon"

    (tmp_path / name / "sql" / "0002_coupon.sql").write_text(more[0].text)
    stream = again(stream)
    column = plan(stream, places)
    assert standings(column) == [Standing.SAME, Standing.CHANGES, Standing.CHANGES]
    assert (column[2].what, column[2].text) == (f"gets {name}/0002_coupon.sql", "+ coupon Nullable(String)")
    apply_clickhouse(warehouse, stream_migrations(stream))
    assert standings(plan(stream, places)) == [Standing.SAME, Standing.CHANGES, Standing.SAME]

    refused = plan(with_schema(stream, COUPON, TILL), places)
    assert (refused[0].standing, refused[2].standing) == (Standing.TO_WRITE, Standing.REFUSED)
    assert "differs from version 1 (+ coupon, till)" in refused[2].what
    assert "give a new field a default" in refused[2].what


def test_what_cannot_be_made_so_is_refused_with_the_reason(
    places: Places, kafka: KafkaSettings, warehouse: WarehouseSettings, name: str, tmp_path: Path
) -> None:
    stream = written(tmp_path, name, Sample(({"id": 1, "at": AT},)))
    make_topic(kafka, name, 2, **{"cleanup.policy": "compact"})
    apply_clickhouse(warehouse, stream_migrations(stream))
    table = tmp_path / name / "sql" / "0001_table.sql"
    table.write_text(table.read_text().replace("26 HOUR", "27 HOUR"))

    topic, schema, changed = plan(again(stream), places)
    assert (topic.standing, schema.standing, changed.standing) == (Standing.REFUSED, Standing.SAME, Standing.REFUSED)
    assert "cleanup.policy=compact" in topic.text
    assert "was changed after it had been applied" in changed.what

    table.write_text(table.read_text().replace("27 HOUR", "26 HOUR"))
    with warehouse_client(warehouse) as client:
        client.command(f"ALTER TABLE {name} ADD COLUMN own Int8")
    by_hand = plan(again(stream), places)[-1]
    assert (by_hand.standing, by_hand.text) == (Standing.SAME, "own Int8 is in no file of sql/")
    with warehouse_client(warehouse) as client:
        client.command(f"ALTER TABLE {name} MODIFY COLUMN id String")
    other = plan(again(stream), places)[-1]
    assert (other.standing, other.text.split("\n")[0]) == (Standing.REFUSED, "id is String, and becomes Int64")


def test_other_partitions_than_the_topic_has_are_refused(
    places: Places, kafka: KafkaSettings, name: str, tmp_path: Path
) -> None:
    stream = written(tmp_path, name, Sample(({"id": 1, "at": AT},)))
    make_topic(kafka, name, 2)
    assert "has 2 partitions, and stream.toml says 6" in plan(stream, places)[0].what

    definition = tmp_path / name / "stream.toml"
    definition.write_text(definition.read_text() + "\n[topic]\npartitions = 1\n")
    assert "Kafka takes none away" in plan(again(stream), places)[0].what


def test_a_place_that_is_away_is_named_and_costs_no_other(tmp_path: Path) -> None:
    kafka, registry, warehouse = free_ports(3)
    places = Places(
        lambda: KafkaSettings(bootstrap_servers=f"127.0.0.1:{kafka}"),
        lambda: RegistrySettings(url=f"http://127.0.0.1:{registry}"),
        lambda: WarehouseSettings(port=warehouse, password=SecretStr("x")),
    )
    stream = written(tmp_path, "away", Sample((), RecordFormat.AVRO, schema_text=json.dumps(SALE)))

    steps = plan(stream, places)

    assert standings(steps) == [Standing.NOT_ASKED] * 3
    assert [step.place for step in steps] == ["topic away", "schema away-value", "table away"]

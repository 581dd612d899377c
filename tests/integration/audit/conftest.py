"""A stream of its own for each test: a topic whose append times the test chooses, a table, and sinks that misbehave."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition

from etar.audit.auditor import AuditResult, Bounds
from etar.audit.run import run_audit
from etar.bootstrap.migrations import stream_migrations
from etar.clients import report_store_connection
from etar.dead_letters import Reason
from etar.event_times import EventTimeBounds
from etar.kafka.offsets import TopicOffsets
from etar.kafka.records import KafkaRecords
from etar.minute import MinuteWindow
from etar.records.intake import Decoded, Intake
from etar.records.record import Record, Row
from etar.records.registry import Registry
from etar.records.warehouse import Warehouse
from etar.settings import (
    KafkaSettings,
    PipelineSettings,
    RegistrySettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import DEFAULT_STREAM, Stream
from stack.waiting import wait_until
from tests.integration.audit.connect_double import Worker
from tests.integration.audit.hiding_registry import HidingRegistry, hiding_registry
from tests.integration.connect.conftest import client_of
from tests.integration.schemas import register
from tests.integration.topics import admin_of, delete_topics, make_topic
from tests.stream_folders import like
from tests.unit.records.events import SCHEMA_TEXT, encode, event

PARTITIONS = 3

Place = tuple[int, int]
"""(partition, offset)."""


def milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


@dataclass
class World:
    """One stream on the session's real parts. ``minute``: an arrival minute that is over."""

    stream: Stream
    kafka: KafkaSettings
    registry: RegistrySettings
    warehouse: WarehouseSettings
    store: ReportStoreSettings
    schema_id: int
    minute: MinuteWindow
    warehouse_client: Client
    committed: Counter[int] = field(default_factory=Counter)

    def good(self, count: int, *, first: int = 0, **changes: Any) -> list[bytes]:
        """Encoded good events of :attr:`minute`."""
        made = {"event_time": milliseconds(self.minute.start), **changes}
        return [encode(event(number, **made), schema_id=self.schema_id) for number in range(first, first + count)]

    def send(self, values: Sequence[bytes | None], *, at: datetime | None = None, partition: int | None = None) -> None:
        """Values as they are, appended (as the topic is told) at ``at``, else within :attr:`minute`."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "acks": "all", "linger.ms": 5})
        when = milliseconds(at or self.minute.start + timedelta(seconds=30))
        for number, value in enumerate(values):
            to = number % PARTITIONS if partition is None else partition
            producer.produce(self.stream.topic, value=value, key=b"k" * 16, partition=to, timestamp=when)
            if number % 10_000 == 0:
                producer.flush(30)
        assert producer.flush(60) == 0

    def offsets(self) -> dict[int, int]:
        with TopicOffsets.connect(self.stream.topic, settings=self.kafka) as offsets:
            return offsets.end()

    def wait_for_markers(self, partition: int, end: int) -> None:
        """Until the transactions that were ended are over in the partition, too, which ends at ``end`` by then.

        Kafka answers who ends a transaction before it has written the markers.
        """
        with TopicOffsets.connect(self.stream.topic, settings=self.kafka) as offsets:
            wait_until(lambda: offsets.stable_end()[partition] == end, timeout=30, what="the last marker")

    def forget(self, below: dict[int, int]) -> None:
        """Let Kafka's retention take what is below these offsets."""
        places = [TopicPartition(self.stream.topic, partition, offset) for partition, offset in below.items()]
        with admin_of(self.kafka) as admin:
            for deleted in admin.delete_records(places).values():
                deleted.result(30)

    def records(self) -> list[Record]:
        """Everything that the sink has not committed."""
        with KafkaRecords(self.stream.topic, self.kafka) as records:
            return [
                record
                for partition, end in self.offsets().items()
                for batch in records.read(partition, range(self.committed[partition], end))
                for record in batch
            ]

    def commit(self) -> None:
        """Tell Kafka that the sink is done with all that there is."""
        ends = self.offsets()
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.stream.sink_group})
        places = [TopicPartition(self.stream.topic, partition, end) for partition, end in ends.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()
        self.committed.update({p: end - self.committed[p] for p, end in ends.items()})

    @contextmanager
    def intake(self) -> Iterator[Intake]:
        with (
            closing(Warehouse(self.warehouse)) as rows,
            closing(Registry.connect(self.registry)) as registry,
        ):
            yield Intake.of(
                self.stream,
                database=self.warehouse.database,
                bounds=EventTimeBounds.of(get_settings(PipelineSettings)),
                registry=registry,
                warehouse=rows,
            )

    def sink(self, spoil: Callable[[Decoded], Decoded] = lambda decoded: decoded, *, batch: int = 10_000) -> None:
        """Take everything in, except for what ``spoil`` makes of a batch, and commit it all."""
        records = self.records()
        with self.intake() as intake:
            for start in range(0, len(records), batch):
                intake.store(spoil(intake.decode(records[start : start + batch])))
        self.commit()

    def audit(self, *, minutes: float = 2, bounds: Bounds | None = None, **arguments: Any) -> AuditResult:
        """As someone would who comes ``minutes`` after the end of :attr:`minute`."""
        then = self.minute.end + timedelta(minutes=minutes)
        return run_audit(self.stream, bounds=bounds, now=lambda: then, **arguments)

    def query(self, query: str) -> list[tuple[Any, ...]]:
        parameters = {"topic": self.stream.topic}
        return [tuple(row) for row in self.warehouse_client.query(query, parameters=parameters).result_rows]

    def rows(self) -> list[Place]:
        """Every row, with repetitions that the table itself does not resolve."""
        return sorted(self.query(f"SELECT _partition, _offset FROM {self.stream.table} FINAL"))

    def letters(self) -> dict[Place, str]:
        query = "SELECT _partition, _offset, reason FROM dead_letters FINAL WHERE _topic = {topic:String}"
        return {(partition, offset): reason for partition, offset, reason in self.query(query)}

    def expected(self) -> tuple[list[Place], dict[Place, str]]:
        """Rows and letters as they should be, from Kafka's records alone."""
        before, self.committed = self.committed, Counter()
        records = self.records()
        self.committed = before
        with self.intake() as intake:
            decoded = intake.decode(records)
        rows = sorted((row.record.partition, row.record.offset) for row in decoded.rows)
        return rows, {(letter.partition, letter.offset): letter.reason.value for letter in decoded.letters}

    def exact(self) -> bool:
        return (self.rows(), self.letters()) == self.expected()

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(report_store_connection(self.store)) as connection, connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def closed(self, log: str | None = None) -> list[tuple[Any, ...]]:
        """``(partition, minute, first, end, rows, dead letters, without a record, lost)``, in order; of the topic as it
        is, or of a former log."""
        rows = self.sql(
            'SELECT "partition", minute, first_offset, end_offset, "rows", dead_letters, no_record, lost '
            'FROM audited_offsets WHERE stream = %s ORDER BY "partition", minute',
            log or self.stream.name,
        )
        return [(row[0], str(MinuteWindow(row[1])), *row[2:]) for row in rows]

    def repairs(self) -> Counter[str]:
        """Records repaired, by what was done."""
        query = "SELECT repair, sum(end_offset - first_offset)::int FROM audit_repairs WHERE stream = %s GROUP BY 1"
        return Counter(dict(self.sql(query, self.stream.name)))

    def noted_twice(self) -> list[tuple[Any, ...]]:
        """Places that stand more than once under one repair."""
        return self.sql(
            'SELECT repair, "partition", at FROM audit_repairs, generate_series(first_offset, end_offset - 1) AS at '
            "WHERE stream = %s GROUP BY 1, 2, 3 HAVING count(*) > 1",
            self.stream.name,
        )


@pytest.fixture
def new_world(
    kafka: KafkaSettings,
    registry: RegistrySettings,
    warehouse: WarehouseSettings,
    report_store: ReportStoreSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., World]]:
    """Makes streams like the first, or like another; their topics and tables are gone afterwards."""
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", "2026-01-01T00:00Z")
    get_settings.cache_clear()
    client = client_of(warehouse)
    made: list[Stream] = []

    def make(other: str = DEFAULT_STREAM, **topic_settings: str) -> World:
        stream = like(other, f"audit_{uuid4().hex[:12]}")
        make_topic(kafka, stream.topic, PARTITIONS, **{"message.timestamp.type": "CreateTime", **topic_settings})
        made.append(stream)
        schema_id = 0
        if other == DEFAULT_STREAM:
            client.command(f"CREATE TABLE {stream.table} AS {other}")
            schema_id = register(registry, f"{stream.topic}-value", SCHEMA_TEXT)
        else:
            for migration in stream_migrations(stream):
                for statement in migration.statements:
                    client.command(statement)
        minute = MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=5))
        return World(stream, kafka, registry, warehouse, report_store, schema_id, minute, client)

    yield make
    delete_topics(kafka, [stream.topic for stream in made])
    for stream in made:
        for name in (stream.landing_view, stream.landing_table) if stream.like != DEFAULT_STREAM else ():
            client.command(f"DROP TABLE IF EXISTS {name}")
        client.command(f"DROP TABLE {stream.table}")
    client.close()
    get_settings.cache_clear()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()


@pytest.fixture
def worker(world: World) -> Iterator[Worker]:
    """In place of :meth:`World.sink`."""
    with closing(Worker(world.stream, world.kafka, world.registry, world.warehouse)) as worker:
        yield worker


@pytest.fixture(params=[False, True], ids=["the file's", "made of the table"])
def each_worker(request: pytest.FixtureRequest, world: World) -> Iterator[Worker]:
    """With the landing table that the first stream's file makes, and with the one that is made of its table."""
    parts = (world.stream, world.kafka, world.registry, world.warehouse)
    with closing(Worker(*parts, made=request.param)) as worker:
        yield worker


@pytest.fixture
def hiding(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[HidingRegistry]:
    """The registry of the world's sink and audit, also of an audit in a process of its own."""
    with hiding_registry(world.registry) as registry:
        world.registry = registry.settings
        monkeypatch.setenv("ETAR_REGISTRY_URL", registry.settings.url)
        get_settings.cache_clear()
        yield registry


def malformed(world: World) -> list[bytes | None]:
    """One record of each kind that can be no row, several of them null or empty."""
    good = world.good(1)[0]
    at = milliseconds(world.minute.start)
    return [
        None,
        b"",
        None,
        b'{"json": true}',
        good[:-3],
        good + b"!",
        encode(event(event_time=at), schema_id=2_000_000_000),
        encode(event(event_time=at, user_id="nobody"), schema_id=world.schema_id),
        encode(event(event_time=2**60), schema_id=world.schema_id),
        encode(event(event_time=at - 25 * 3_600_000), schema_id=world.schema_id),
        encode(event(event_time=at + 3_600_000), schema_id=world.schema_id),
    ]


@dataclass
class Misbehaviour:
    """Spoils batches at random: each fault by its own chance for a record, or for a batch as a whole."""

    chance: random.Random
    did: Counter[str] = field(default_factory=Counter)

    def __call__(self, decoded: Decoded) -> Decoded:
        if self._happens("whole batch misfiled", 0.15):
            # As Kafka Connect does with one bad row in a batch, or with an outage.
            reason = self.chance.choice([Reason.NOT_AVRO, Reason.UNKNOWN_SCHEMA_ID, Reason.INSERT_REFUSED])
            letters = [row.record.dead(reason, "refused: one bad row in the batch") for row in decoded.rows]
            return Decoded([], decoded.letters + letters)
        if self._happens("whole batch dropped", 0.15):
            return Decoded()
        rows: list[Row] = []
        spoiled = Decoded(rows)
        for row in decoded.rows:
            if self._happens("row dropped", 0.05):
                continue
            if self._happens("row and letter", 0.03):
                spoiled.letters.append(row.record.dead(Reason.TRUNCATED, "made up"))
            rows.append(row)
            if self._happens("duplicate", 0.05):
                rows.append(row)
        for letter in decoded.letters:
            if letter.value in (None, b"") and self._happens("null or empty value skipped", 0.7):
                continue
            if self._happens("letter dropped", 0.1):
                continue
            record = Record(
                letter.topic, letter.partition, letter.offset, milliseconds(letter.appended), letter.key, letter.value
            )
            filed = record.dead(Reason.OUT_OF_RANGE, "?") if self._happens("wrong reason", 0.2) else letter
            spoiled.letters.append(filed)
            if decoded.rows and self._happens("row of a bad record", 0.1):
                rows.append(Row(record, decoded.rows[0].values))
        return spoiled

    def _happens(self, fault: str, probability: float) -> bool:
        happened = self.chance.random() < probability
        self.did[fault] += happened
        return happened

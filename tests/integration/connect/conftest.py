"""A topic, a table's rows and a sink process of its own for each test, on the session's real parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from etar.clients import warehouse_client
from etar.kafka.offsets import TopicOffsets, settled
from etar.settings import KafkaSettings, RegistrySettings, WarehouseSettings
from stack.waiting import wait_until
from tests.integration.schemas import register
from tests.integration.topics import delete_topics, make_topic
from tests.unit.records.events import CONNECTOR, REPOSITORY, SCHEMA_TEXT, encode, event

PARTITIONS = 6


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def client_of(settings: WarehouseSettings) -> Client:
    return warehouse_client(settings, autogenerate_session_id=False)


@dataclass
class SinkProcess:
    """The sink as the supervisor starts it."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, env=dict(self.environment), cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait, and return the exit status."""
        self.send(number)
        assert self.process is not None
        return self.process.wait(30)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self, text: str) -> bool:
        return text in self.log.read_text()


@dataclass
class Lane:
    """One topic with its own consumer group, and the table that its sink fills."""

    topic: str
    kafka: KafkaSettings
    warehouse: WarehouseSettings
    schema_id: int
    folder: Path
    table: str = "user_interactions"
    sinks: list[SinkProcess] = field(default_factory=list)

    @property
    def group(self) -> str:
        return f"connect-{self.topic}_sink"

    def produce(self, values: Sequence[bytes | None], *, partition: int | None = None) -> None:
        """Send values as they are, all acknowledged on return."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "acks": "all", "linger.ms": 5})
        failed: list[Any] = []
        for number, value in enumerate(values):
            producer.produce(
                self.topic,
                value=value,
                key=b"k" * 16,
                partition=number % PARTITIONS if partition is None else partition,
                on_delivery=lambda error, _message: failed.append(error) if error else None,
            )
            producer.poll(0)
        assert producer.flush(30) == 0
        assert not failed

    def good(self, count: int, *, first: int = 0, **changes: Any) -> list[bytes]:
        """Encoded good events of just now."""
        made = {"event_time": now_ms(), **changes}
        return [encode(event(number, **made), schema_id=self.schema_id) for number in range(first, first + count)]

    def sink(self, *, instance: str = "0", **environment: str) -> SinkProcess:
        """A sink that is not started yet; it is ended with the test.

        Args:
            instance: its name among several sinks of the lane.
        """
        document = json.loads(CONNECTOR.read_text())
        document["name"] = f"{self.topic}_sink"
        document["config"] |= {"topics": self.topic, "topic2TableMap": f"{self.topic}={self.table}"}
        path = self.folder / "sink.json"
        path.write_text(json.dumps(document))
        sink = SinkProcess(
            [sys.executable, "-m", "connect.native_sink", "--connector", str(path), "--instance", instance],
            {**os.environ, "ETAR_PIPELINE_START_DATE": "2026-01-01T00:00Z", "ETAR_SINK_RETRY_SECONDS": "0.2"}
            | environment,
            self.folder / f"sink-{instance}.log",
        )
        self.sinks.append(sink)
        return sink

    def settle(self, sink: SinkProcess, *, timeout: float = 60) -> None:
        """Wait until the group has committed all that the topic holds."""
        with TopicOffsets.connect(self.topic, settings=self.kafka) as offsets:
            target = offsets.end()
            wait_until(
                lambda: not sink.running or settled(target, offsets.committed(self.group)),
                timeout=timeout,
                what=f"the sink to commit {target} ({sink.log.read_text()[-2000:]})",
            )
        assert sink.running, sink.log.read_text()[-3000:]

    def rows(self, select: str, *, source: str | None = None) -> list[tuple[Any, ...]]:
        """Of this lane's rows in its table (or ``source``)."""
        client = client_of(self.warehouse)
        try:
            query = f"SELECT {select} FROM {source or self.table + ' FINAL'} WHERE _topic = {{topic:String}}"
            return [tuple(row) for row in client.query(query, parameters={"topic": self.topic}).result_rows]
        finally:
            client.close()

    def dead_letters(self) -> dict[tuple[int, int], tuple[str, str, bytes | None]]:
        """``{(partition, offset): (reason, detail, value)}``."""
        found = self.rows("_partition, _offset, reason, detail, hex(value), isNull(value)", source="dead_letters FINAL")
        return {
            (partition, offset): (reason, detail, None if null else bytes.fromhex(value))
            for partition, offset, reason, detail, value, null in found
        }

    def assert_every_offset_is_in_one_place(self) -> None:
        """Kafka's offsets are exactly those of the table and the dead letters, each once."""
        with TopicOffsets.connect(self.topic, settings=self.kafka) as offsets:
            held = [(partition, offset) for partition, end in offsets.end().items() for offset in range(end)]
        stored = self.rows("_partition, _offset") + list(self.dead_letters())
        assert sorted(stored) == sorted(held)


@pytest.fixture
def new_lane(
    kafka: KafkaSettings, registry: RegistrySettings, warehouse: WarehouseSettings, tmp_path: Path
) -> Iterator[Callable[..., Lane]]:
    """Makes lanes, on the session's parts unless others are given; their sinks are ended afterwards, and their topics
    deleted where the session goes on with the broker.
    """
    lanes: list[Lane] = []

    def make(
        *,
        at: WarehouseSettings | None = None,
        table: str = "user_interactions",
        broker: KafkaSettings | None = None,
    ) -> Lane:
        topic = f"lane_{uuid4().hex[:12]}"
        folder = tmp_path / topic
        folder.mkdir()
        make_topic(broker or kafka, topic, PARTITIONS)
        schema_id = register(registry, f"{topic}-value", SCHEMA_TEXT)
        lanes.append(Lane(topic, broker or kafka, at or warehouse, schema_id, folder, table))
        return lanes[-1]

    yield make
    for lane in lanes:
        for sink in lane.sinks:
            if sink.running:
                sink.end(signal.SIGKILL)
    delete_topics(kafka, [lane.topic for lane in lanes if lane.kafka == kafka])


@pytest.fixture
def lane(new_lane: Callable[..., Lane]) -> Lane:
    return new_lane()


def minutes_ago(minutes: float) -> int:
    """Milliseconds since 1970, as an event time."""
    return int((datetime.now(UTC) - timedelta(minutes=minutes)).timestamp() * 1000)

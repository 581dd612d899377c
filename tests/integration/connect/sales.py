"""A stream of JSON records: its topic, its table and a sink for it in this process, on the session's real parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from connect.native_sink.connector import Connector
from connect.native_sink.pace import Pace
from connect.native_sink.sink import Sink
from connect.native_sink.source import Source
from etar.event_times import EventTimeBounds
from etar.kafka.offsets import TopicOffsets, settled
from etar.records.json_text import to_text
from etar.records.registry import Registry
from etar.records.table import METADATA
from etar.records.warehouse import Warehouse
from etar.settings import KafkaSettings, RegistrySettings, SinkSettings, WarehouseSettings
from etar.streams import Limits, RecordFormat, Stream, TimeForm
from stack.waiting import wait_until
from tests.integration.connect.conftest import PARTITIONS, Lane, client_of
from tests.integration.topics import make_topic

BOUNDS = EventTimeBounds(behind_ms=86_400_000, ahead_ms=300_000)
SCHEMA = """{
  "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["sale", "at", "amount"],
  "properties": {
    "sale": {"type": "string", "minLength": 1}, "at": {"type": "string"},
    "amount": {"type": "number", "multipleOf": 0.01}, "tags": {"type": "array", "items": {"type": "string"}}
  }
}"""
CREATE = """CREATE TABLE {table} (
    sale String, at DateTime64(3, 'UTC'), amount Decimal(18, 2), tags Array(String),
    _topic LowCardinality(String), _partition Int32, _offset Int64, _timestamp DateTime64(3, 'UTC'),
    event_minute DateTime('UTC') MATERIALIZED toStartOfMinute(at)
) ENGINE = ReplacingMergeTree PARTITION BY event_minute ORDER BY (_topic, _partition, _offset)"""


@dataclass
class Sales:
    """``lane``: its topic and its rows; there is no process of a sink in it."""

    stream: Stream
    lane: Lane
    registry: RegistrySettings

    def value(self, number: int, **changes: Any) -> bytes:
        return to_text({"sale": f"s-{number}", "at": self.at, "amount": Decimal(number) / 100, **changes}).encode()

    @property
    def at(self) -> str:
        """An instant of just now."""
        ((now,),) = self._query("SELECT formatDateTime(now('UTC'), '%Y-%m-%dT%H:%i:%SZ')")
        return str(now)

    def _query(self, statement: str) -> Sequence[Sequence[Any]]:
        with closing(client_of(self.lane.warehouse)) as client:
            rows: Sequence[Sequence[Any]] = client.query(statement).result_rows
            return rows

    @contextmanager
    def sink(self) -> Iterator[None]:
        """A sink that runs meanwhile; it has to be at work to the end."""
        stopping = Event()
        failed: list[BaseException] = []
        lane, stream = self.lane, self.stream
        with (
            closing(Warehouse(lane.warehouse)) as warehouse,
            closing(Registry.connect(self.registry)) as registry,
            closing(
                Source(
                    lane.topic,
                    group=stream.sink_group,
                    instance="0",
                    kafka=lane.kafka,
                    settings=SinkSettings(retry_seconds=0.2),
                    pace=Pace(longest=0.2, grace=timedelta(seconds=2)),
                )
            ) as source,
        ):
            sink = Sink(
                stream,
                Connector(stream.connector, lane.topic, lane.warehouse.database, stream.table, METADATA),
                bounds=BOUNDS,
                source=source,
                registry=registry,
                warehouse=warehouse,
                stopping=stopping.is_set,
            )

            def run() -> None:
                try:
                    sink.run()
                except BaseException as error:  # whatever ended it is for the test to see
                    failed.append(error)

            thread = Thread(target=run)
            thread.start()
            try:
                yield
            finally:
                stopping.set()
                thread.join(60)
            assert not failed, failed
            assert not thread.is_alive()

    def consume(self) -> None:
        """Let the sink take all that the topic holds."""
        with self.sink(), TopicOffsets.connect(self.lane.topic, settings=self.lane.kafka) as offsets:
            target = offsets.end()
            wait_until(
                lambda: settled(target, offsets.committed(self.stream.sink_group)),
                timeout=60,
                what=f"the sink to commit {target}",
            )


@contextmanager
def open_sales(
    kafka: KafkaSettings,
    registry: RegistrySettings,
    warehouse: WarehouseSettings,
    *,
    record: RecordFormat = RecordFormat.JSON,
    **checks: Limits,
) -> Iterator[Sales]:
    name = f"sales_{uuid4().hex[:12]}"
    stream = Stream(
        name,
        record=record,
        identity=("sale",),
        time="at",
        time_form=TimeForm.ISO8601,
        checks=checks,
        schema_text=SCHEMA if record is RecordFormat.JSON else None,
    )
    make_topic(kafka, name, PARTITIONS)
    with closing(client_of(warehouse)) as client:
        client.command(CREATE.format(table=name))
        lane = Lane(name, kafka, warehouse, schema_id=0, folder=Path(), table=name)
        yield Sales(stream, lane, registry)
        client.command(f"DROP TABLE {name}")

"""A stand-in for Kafka Connect with the official ClickHouse connector, which cannot be had where these tests run.

It is not that connector. It does by itself what the connector 1.5.0 was seen to do in a trial, good and bad, on a real
topic, registry and warehouse: one record that the converter refuses is given up alone; null and empty values vanish;
bytes behind a record's end go unseen; for one value that a column cannot take, and for an outage, all that the task
was given is given up, good records of all its partitions, also those that it has inserted; and whatever happened, the
offsets are committed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import groupby
from typing import Any

import fastavro
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, Producer, TopicPartition

from etar.bootstrap.landing import landing_of
from etar.bootstrap.migrations import stream_migrations
from etar.event_times import EventTimeBounds
from etar.kafka.offsets import TopicOffsets
from etar.kafka.records import KafkaRecords
from etar.records.avro import AvroSchema
from etar.records.framing import schema_id_of
from etar.records.record import Record
from etar.records.registry import Registry
from etar.records.table import METADATA, TableLayout
from etar.records.warehouse import Warehouse
from etar.settings import EventTimeSettings, KafkaSettings, RegistrySettings, WarehouseSettings, get_settings
from etar.streams import DEFAULT_STREAM, Stream, default_stream
from tests.integration.connect.conftest import client_of
from tests.integration.topics import delete_topics, make_topic
from tests.unit.records.events import CONNECTOR

Fields = Mapping[str, Any]


class _GivenUpError(Exception):
    def __init__(self, stage: str, exception: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.exception, self.message = stage, exception, message


@dataclass
class Worker:
    """The sink of one stream, into a landing table of its own that feeds the stream's table.

    ``made``: by etar of the stream's table, and not by the first stream's own file.
    """

    stream: Stream
    kafka: KafkaSettings
    registry: RegistrySettings
    warehouse: WarehouseSettings
    given_up: list[Record] = field(default_factory=list)
    made: bool = False

    def __post_init__(self) -> None:
        self._client = client_of(self.warehouse)
        self._producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "acks": "all"})
        # As Connect's own: what it gives up keeps the time that it had.
        make_topic(self.kafka, self.stream.dead_letter_topic, 1, **{"message.timestamp.type": "CreateTime"})
        like = replace(default_stream(), name=self.stream.name, like=DEFAULT_STREAM)
        table, self.view = self._of_the_table(like) if self.made else self._by_hand(like)
        self._client.command(table)
        self._client.command(self.view)

    @staticmethod
    def _by_hand(like: Stream) -> tuple[str, str]:
        (landing,) = (file for file in stream_migrations(like) if "connect_landing" in file.name)
        table, view = landing.statements
        return table, view

    def _of_the_table(self, like: Stream) -> tuple[str, str]:
        with closing(Warehouse(self.warehouse)) as warehouse:
            described = warehouse.describe(self.warehouse.database, like.table)
        layout = TableLayout.of(described, database=self.warehouse.database, table=like.table, metadata=METADATA)
        landing = landing_of(like, layout, EventTimeBounds.of(get_settings(EventTimeSettings)))
        return landing.table, landing.view

    @property
    def landing(self) -> str:
        return f"{self.stream.table}_landing"

    def close(self) -> None:
        self._client.command(f"DROP TABLE {self.stream.table}_landed")
        self._client.command(f"DROP TABLE {self.landing}")
        self._client.close()
        delete_topics(self.kafka, [self.stream.dead_letter_topic])

    def run(self, *, warehouse_away: bool = False) -> None:
        """Take all that is not committed, in one put of all partitions, and commit it."""
        with (
            TopicOffsets.connect(self.stream.topic, settings=self.kafka) as offsets,
            KafkaRecords(self.stream.topic, self.kafka) as records,
        ):
            ends, committed = offsets.end(), offsets.committed(self.stream.sink_group)
            put = [
                record
                for partition, end in ends.items()
                for batch in records.read(partition, range(committed[partition], end))
                for record in batch
            ]
        self.deliver(put, warehouse_away=warehouse_away)
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.stream.sink_group})
        places = [TopicPartition(self.stream.topic, partition, end) for partition, end in ends.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()

    def deliver(self, batch: Sequence[Record], *, warehouse_away: bool = False) -> None:
        """One put: an insert a partition, and all of it is given up for one of them."""
        converted: list[tuple[Record, Fields]] = []
        schemas = self._schemas_of(batch)
        for record in batch:
            if not record.value:
                continue
            try:
                converted.append((record, _convert(record, schemas)))
            except _GivenUpError as error:
                self.give_up([record], error.stage, error.exception, error.message)
        taken = [record for record, _ in converted]
        try:
            if warehouse_away:
                raise _GivenUpError("TASK_PUT", "java.net.ConnectException", "Connection refused")
            for _, of_partition in groupby(converted, key=lambda each: each[0].partition):
                self.insert([row_binary({**fields, **place_of(record)}) for record, fields in of_partition])
        except _GivenUpError as error:
            self.give_up(taken, error.stage, error.exception, error.message)
        except ClickHouseError as error:
            self.give_up(taken, "TASK_PUT", "java.lang.RuntimeException", str(error))

    def _schemas_of(self, batch: Sequence[Record]) -> dict[int, Any]:
        """Those that the registry has, parsed."""
        with closing(Registry.connect(self.registry)) as registry:
            ids = {identifier for record in batch if (identifier := schema_id_of(record.value)) is not None}
            found = {identifier: registry.schema(identifier) for identifier in ids}
        return {
            identifier: (parsed := AvroSchema(schema.text, schema.references)).shape(parsed.top).schema
            for identifier, schema in found.items()
            if schema is not None
        }

    def insert(self, rows: Iterable[bytes], **settings: Any) -> None:
        """Into the landing table, with the settings that the connector's configuration has; ``settings`` win."""
        configured = json.loads(CONNECTOR.read_text())["config"]["clickhouseSettings"]
        given = dict(pair.strip().split("=", 1) for pair in configured.split(","))
        body = b"".join(rows)
        if body:
            self._client.raw_insert(self.landing, insert_block=body, fmt="RowBinary", settings=given | settings)

    def give_up(self, records: Sequence[Record], stage: str, exception: str, message: str) -> None:
        """Into the dead-letter topic, with the headers that Connect gives."""
        for record in records:
            said = {
                "topic": record.topic,
                "partition": str(record.partition),
                "offset": str(record.offset),
                "connector.name": self.stream.connector,
                "task.id": "0",
                "stage": stage,
                "class.name": "com.clickhouse.kafka.connect.sink.ClickHouseSinkTask",
                "exception.class.name": exception,
                "exception.message": message,
                "exception.stacktrace": f"{exception}: {message}\n\tat …",
            }
            self._producer.produce(
                self.stream.dead_letter_topic,
                key=record.key,
                value=record.value,
                timestamp=record.appended_ms,
                headers=[(f"__connect.errors.{name}", value.encode()) for name, value in said.items()],
            )
        assert self._producer.flush(30) == 0
        self.given_up.extend(records)


_COLUMNS = {
    "event_id": "text", "user_id": "text", "session_id": "text", "event_type": "text", "status": "text",
    "event_time": "long", "product_id": "text", "amount": "long", "error_code": "text", "device": "text",
    "country": "text",
}  # fmt: skip
"""The landing table's columns from the event, in their order; all are Nullable."""


def place_of(record: Record) -> Fields:
    """What the connector's ``InsertField`` adds to a record."""
    return {
        "_topic": record.topic,
        "_partition": record.partition,
        "_offset": record.offset,
        "_timestamp": record.appended_ms,
    }


def row_binary(values: Fields) -> bytes:
    """A row of the landing table as the connector writes it: no names, so that each column counts."""
    row = b""
    for name, kind in _COLUMNS.items():
        value = values.get(name)
        row += b"\1" if value is None else b"\0" + _value(kind, value)
    place = struct.pack("<iqq", values["_partition"], values["_offset"], values["_timestamp"])
    return row + _value("text", values["_topic"]) + place


def _value(kind: str, value: Any) -> bytes:
    if kind == "long" and type(value) is int:
        return struct.pack("<q", value)
    if kind == "text" and isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        return _varint(len(raw)) + raw
    raise _GivenUpError("TASK_PUT", "java.lang.ClassCastException", f"{type(value).__name__} cannot be cast to {kind}")


def _varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _convert(record: Record, schemas: Mapping[int, Any]) -> Fields:
    """As the Avro converter does: what is behind the record's end is not looked at, bad UTF-8 is replaced."""
    identifier = schema_id_of(record.value)
    name = "org.apache.kafka.connect.errors.DataException"
    refused = f"Failed to deserialize data for topic {record.topic} to Avro"
    if identifier is None or identifier not in schemas or record.value is None:
        raise _GivenUpError("VALUE_CONVERTER", name, refused)
    body = BytesIO(record.value[5:])
    try:
        found: dict[str, Any] = fastavro.schemaless_reader(
            body, schemas[identifier], None, handle_unicode_errors="replace"
        )
    except Exception as error:  # a decoder given arbitrary bytes raises nearly anything
        raise _GivenUpError("VALUE_CONVERTER", name, f"{refused}: {error}") from error
    return found

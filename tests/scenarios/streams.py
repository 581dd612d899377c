"""What a check has of its own: a stream, and a sink on it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from etar.clients import warehouse_client
from etar.minute import MinuteWindow
from etar.settings import (
    KafkaSettings,
    RegistrySettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream
from stack.waiting import wait_until
from tests.integration.audit.conftest import World
from tests.integration.connect.conftest import Lane, SinkProcess, client_of
from tests.integration.schemas import register
from tests.integration.topics import delete_topics, make_topic
from tests.scenarios.parts import SINK, Parts
from tests.stream_folders import like_the_first
from tests.unit.records.events import SCHEMA_TEXT


@dataclass(frozen=True)
class NewStream(Stream):
    """``schema_id``: of the events' schema, registered for its topic."""

    schema_id: int = 0


@contextmanager
def new_stream(*, partitions: int, timestamps: str = "LogAppendTime") -> Iterator[NewStream]:
    """With topic, table and schema; topic and table are gone afterwards.

    Args:
        timestamps: ``CreateTime`` for append times that the check chooses.
    """
    name = f"scenario_{uuid4().hex[:12]}"
    schema_id = register(get_settings(RegistrySettings), f"{name}-value", SCHEMA_TEXT)
    stream = NewStream(**vars(like_the_first(name)), schema_id=schema_id)
    make_topic(get_settings(KafkaSettings), stream.topic, partitions, **{"message.timestamp.type": timestamps})
    with warehouse_client(get_settings(WarehouseSettings)) as client:
        client.command(f"CREATE TABLE {stream.table} AS user_interactions")
    try:
        yield stream
    finally:
        delete_topics(get_settings(KafkaSettings), [stream.topic])
        with warehouse_client(get_settings(WarehouseSettings)) as client:
            client.command(f"DROP TABLE {stream.table}")


@contextmanager
def world_of(stream: NewStream) -> Iterator[World]:
    """The stream as the auditor's own tests see it; its minute and the one after that are over."""
    warehouse = get_settings(WarehouseSettings)
    with closing(client_of(warehouse)) as client:
        yield World(
            stream,
            get_settings(KafkaSettings),
            get_settings(RegistrySettings),
            warehouse,
            get_settings(ReportStoreSettings),
            stream.schema_id,
            MinuteWindow.containing(datetime.now(UTC) - timedelta(minutes=10)),
            client,
        )


class SupervisedSink(SinkProcess):
    """Started again whenever it has ended by itself, as the supervisor does it.

    It may: where two of one name follow each other fast, Kafka may take the second for an intruder, and fence it.
    """

    def __init__(self, sink: SinkProcess) -> None:
        super().__init__(sink.command, sink.environment, sink.log)
        self._ending = False
        self._changing = threading.Lock()
        self._supervision: threading.Thread | None = None
        self._beginnings = 0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self._supervision is not None and self._supervision.is_alive()

    def start(self) -> None:
        self._ending = False
        self._beginnings = self._begun()
        super().start()
        self._supervision = threading.Thread(target=self._supervise)
        self._supervision.start()

    def wait_until_at_work(self) -> None:
        """From when it would stop if it was asked to."""
        what = f"the sink to start ({self.log})"
        wait_until(lambda: self._begun() > self._beginnings, timeout=120, what=what)

    def _begun(self) -> int:
        """How often it has said that it is at work."""
        return len(re.findall(r"topic \S+ into ", self.log.read_text())) if self.log.exists() else 0

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self._supervision is not None
        with self._changing:
            self._ending = True
            if self.process.poll() is None:
                self.send(number)
        self._supervision.join(30)
        return self.process.wait(30)

    def _supervise(self) -> None:
        while True:
            assert self.process is not None
            self.process.wait()
            with self._changing:
                if self._ending:
                    return
                super().start()


@contextmanager
def running_sink(parts: Parts, stream: NewStream) -> Iterator[tuple[Lane, SupervisedSink]]:
    """The stream as the sink's own tests see it, and its sink, which faults are done to."""
    folder = parts.stack.layout.root / stream.name
    folder.mkdir()
    kafka, warehouse = get_settings(KafkaSettings), get_settings(WarehouseSettings)
    lane = Lane(stream.topic, kafka, warehouse, stream.schema_id, folder, stream.table)
    sink = SupervisedSink(lane.sink(ETAR_SINK_BATCH_SECONDS="0.2"))
    with parts.running(SINK, lambda: _started(sink)):
        yield lane, sink


@contextmanager
def _started(sink: SupervisedSink) -> Iterator[SupervisedSink]:
    sink.start()
    try:
        yield sink
    finally:
        if sink.running:
            sink.wait_until_at_work()
            status = sink.end()
            assert status == 0, sink.log.read_text()[-3000:]

"""What a check has of its own: a stream, and a sink on it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psutil

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
from stack.launch import environment_of
from stack.parts import jobs
from stack.waiting import wait_until
from tests.integration.audit.conftest import World
from tests.integration.connect.conftest import Lane, SinkProcess, client_of
from tests.integration.schemas import register
from tests.integration.topics import delete_topics, make_topic
from tests.scenarios.parts import SINK, STREAM_JOB, Parts
from tests.stream_folders import like_the_first
from tests.unit.records.events import SCHEMA_TEXT

_END_SECONDS = 60


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


class Supervised(SinkProcess):
    """Started again whenever it has ended by itself, as the supervisor does it.

    It may: of two sinks of one name that follow each other fast, Kafka may take the second for an intruder, and fence
    it; and a job of a stream ends when its checkpoint cannot be written.

    Args:
        at_work: a pattern of what it says once when it is at work.
    """

    def __init__(self, process: SinkProcess, at_work: str) -> None:
        super().__init__(process.command, process.environment, process.log)
        self._at_work = at_work
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
        what = f"it to be at work ({self.log})"
        wait_until(lambda: self._begun() > self._beginnings, timeout=300, what=what)

    def _begun(self) -> int:
        """How often it has said that it is at work."""
        return len(re.findall(self._at_work, self.log.read_text())) if self.log.exists() else 0

    def kill(self) -> None:
        """With all that it has started."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self._supervision is not None
        with self._changing:
            self._ending = True
            if self.process.poll() is None:
                started = psutil.Process(self.process.pid).children(recursive=True)
                self.send(number)
                if number is signal.SIGKILL:
                    for each in started:
                        with suppress(psutil.NoSuchProcess):
                            each.kill()
        self._supervision.join(_END_SECONDS)
        return self.process.wait(_END_SECONDS)

    def _supervise(self) -> None:
        while True:
            assert self.process is not None
            self.process.wait()
            with self._changing:
                if self._ending:
                    return
                super().start()


@contextmanager
def running_sink(parts: Parts, stream: Stream) -> Iterator[tuple[Lane, Supervised]]:
    """The stream as the sink's own tests see it, and its sink, which faults are done to."""
    folder = parts.stack.layout.root / stream.name
    folder.mkdir()
    kafka, warehouse = get_settings(KafkaSettings), get_settings(WarehouseSettings)
    schema_id = stream.schema_id if isinstance(stream, NewStream) else 0
    lane = Lane(stream.topic, kafka, warehouse, schema_id, folder, stream.table)
    process = lane.sink(ETAR_SINK_BATCH_SECONDS="0.2")
    process.command = [*process.command, "--stream", stream.name]
    sink = Supervised(process, r"topic \S+ into ")
    with parts.running(SINK, lambda: _started(sink)):
        yield lane, sink


@contextmanager
def running_job(parts: Parts, stream: Stream, store: ReportStoreSettings) -> Iterator[Supervised]:
    """The stream's one job as the stack starts it, with a database of its own, and faults are done to it."""
    (part,) = jobs.parts(stream)
    stack = parts.stack
    stack.layout.temporary(part.name).mkdir(parents=True)
    environment = environment_of(stack, part) | {
        "ETAR_REPORT_STORE_DATABASE": store.database,
        "ETAR_REPORT_STORE_USER": store.user,
        "ETAR_REPORT_STORE_PASSWORD": store.password.get_secret_value(),
    }
    process = SinkProcess(part.command(stack), environment, stack.layout.root / f"{part.name}.log")
    job = Supervised(process, r"topic \S+ \(\S+\), checkpoint ")
    with parts.running(STREAM_JOB, lambda: _started(job)):
        yield job


@contextmanager
def _started(process: Supervised) -> Iterator[Supervised]:
    process.start()
    try:
        yield process
    finally:
        if process.running:
            process.wait_until_at_work()
            status = process.end()
            assert status == 0, process.log.read_text()[-3000:]

"""A topic of its own for each test, on the session's Kafka and registry, and what Kafka holds of it."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from etar.settings import KafkaSettings, RegistrySettings
from stack.waiting import wait_until
from tests.integration.topics import admin_of, delete_topics, make_topic
from tests.ports import free_ports

PARTITIONS = 6
COMMAND = [sys.executable, "-c", "import typer; from producer.command import produce; typer.run(produce)"]


class Topic:
    """One topic, and what is in it now."""

    def __init__(self, name: str, kafka: KafkaSettings) -> None:
        self.name = name
        self._kafka = kafka

    def end_offsets(self) -> dict[int, int]:
        """Records per partition, of partitions that have any."""
        with self._consumer() as consumer:
            ends = {
                partition: consumer.get_watermark_offsets(TopicPartition(self.name, partition), timeout=10)[1]
                for partition in range(PARTITIONS)
            }
        return {partition: end for partition, end in ends.items() if end}

    def records(self) -> list[Message]:
        """Every record, partition by partition."""
        ends = self.end_offsets()
        found: list[Message] = []
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(self.name, partition, 0) for partition in ends])
            while len(found) < sum(ends.values()):
                batch = consumer.consume(min(1000, sum(ends.values()) - len(found)), timeout=10)
                assert batch, f"only {len(found)} of {ends} came within 10 s"
                assert not any(message.error() for message in batch)
                found += batch
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {"bootstrap.servers": self._kafka.bootstrap_servers, "group.id": "none", "enable.auto.commit": False}
        )
        try:
            yield consumer
        finally:
            consumer.close()


@pytest.fixture
def topic(kafka: KafkaSettings, registry: RegistrySettings) -> Iterator[Topic]:
    name = f"producer-{uuid4()}"
    make_topic(kafka, name, PARTITIONS)
    with admin_of(kafka) as admin:
        wait_until(lambda: _is_known(admin, name), timeout=60, what=f"every partition of {name} to have a leader")
    made = Topic(name, kafka)
    wait_until(lambda: _is_led(made), timeout=60, what=f"every partition of {name} to be led")
    yield made
    delete_topics(kafka, [name])


def _is_known(admin: AdminClient, name: str) -> bool:
    """A topic that was created just now is not in the broker's metadata at once."""
    partitions = admin.list_topics(name, timeout=10).topics[name].partitions
    return len(partitions) == PARTITIONS and all(partition.leader >= 0 for partition in partitions.values())


def _is_led(topic: Topic) -> bool:
    """A broker that leads a partition by the metadata may be about to hear of it."""
    try:
        topic.end_offsets()
    except KafkaException:
        return False
    return True


class Run:
    """The command in a process of its own, as a person or the supervisor starts it."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.stderr = folder / "stderr"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=stderr, env=os.environ | environment
            )

    def finish(self) -> str:
        """What it printed, once it has ended."""
        printed, _ = self.process.communicate(timeout=60)
        return printed.decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts the command with arguments and environment variables; stopped after the test if it still runs."""
    runs: list[Run] = []

    def start_(*arguments: str, **environment: str) -> Run:
        runs.append(Run(list(arguments), tmp_path, environment))
        return runs[-1]

    yield start_
    for run in runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            run.process.communicate(timeout=30)


class Door:
    """A port that leads to another address once it is open; until then nothing listens on it."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._closing = threading.Event()
        self._stack = ExitStack()
        (self.port,) = free_ports(1)

    def open(self) -> None:
        self._listener = self._stack.enter_context(socket.create_server(("127.0.0.1", self.port)))
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if hasattr(self, "_thread"):
            self._thread.join()
        self._stack.close()

    def _serve(self) -> None:
        selector = self._stack.enter_context(selectors.DefaultSelector())
        while not self._closing.is_set():
            try:
                inner, _ = self._listener.accept()
            except TimeoutError:
                pass
            else:
                inner.settimeout(None)
                outer = socket.create_connection(self._to)
                for one, other in ((inner, outer), (outer, inner)):
                    self._stack.enter_context(one)
                    selector.register(one, selectors.EVENT_READ, other)
            for key, _events in selector.select(0):
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if data:
                    key.data.sendall(data)
                else:
                    selector.unregister(key.fileobj)
                    with suppress(OSError):  # both ends may hang up at once
                        key.data.shutdown(socket.SHUT_WR)


@pytest.fixture
def door() -> Iterator[Callable[[str, int], Door]]:
    """Makes doors to real parts, to be opened during the test."""
    doors: list[Door] = []

    def door_(host: str, port: int) -> Door:
        doors.append(Door(host, port))
        return doors[-1]

    yield door_
    for made in doors:
        made.close()

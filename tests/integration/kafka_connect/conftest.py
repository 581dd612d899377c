"""A real Connect worker with the real Avro converter, and topics whose records it writes to files.

The official connector is not on Maven Central. In its place stands Kafka's own file sink, under the configuration of
``connect/user_interactions_sink.json`` with few changes: converter, transforms, dead letters and references are the
worker's business, and the same under either.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner, Result

from cli import connect as command
from connect.template import Template
from connect.variables import variables
from connect.worker import Worker
from etar.kafka_offsets import TopicOffsets, settled
from etar.settings import ConnectSettings, KafkaSettings, RegistrySettings, get_settings
from stack.layout import BUILD, REPOSITORY
from stack.parts import Stack, connect
from stack.waiting import wait_until
from tests.unit.records.events import CONNECTOR, SCHEMA_TEXT

FILE_SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"
PARTITIONS = 2
SECRET_FILE = "etar_test_output"

_FIELD = re.compile(r"(?P<name>\w+)=(?P<value>[^,{}]*)")


@dataclass(frozen=True)
class Workers:
    """The one worker there is, as the tests reach it."""

    url: str
    secrets: Path
    log: Path


@pytest.fixture(scope="package")
def workers(kafka: KafkaSettings, registry: RegistrySettings, parts_stack: Stack) -> Iterator[Workers]:
    """A worker from the stack's own command and properties, with the file sink as one more plugin."""
    port = parts_stack.settings.port("CONNECT")
    folder = parts_stack.layout.data("connect")
    plugins = [connect.CONVERTER, BUILD / "jars" / "connect-test-plugins"]
    connect.write_secrets(parts_stack)
    properties = connect.worker_properties(parts_stack, port, plugins)
    # Without the pause in which a group waits for a member that may come back: here nobody does.
    connect.write_properties(folder / "worker.properties", properties | {"scheduled.rebalance.max.delay.ms": "0"})
    log = parts_stack.layout.log("connect")
    with log.open("ab") as out:
        process = subprocess.Popen(
            connect.command(folder / "worker.properties"), cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT
        )
    secrets = Path(parts_stack.settings["ETAR_CONNECT_SECRETS_FOLDER"])
    workers = Workers(f"http://127.0.0.1:{port}", secrets, log)
    try:
        wait_until(
            lambda: process.poll() is not None or answers(workers), timeout=240, what=f"the worker to answer ({log})"
        )
        assert process.poll() is None, log.read_text()[-3000:]
        yield workers
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(workers: Workers) -> bool:
    try:
        return httpx.get(f"{workers.url}/connectors", timeout=5).is_success
    except httpx.TransportError:
        return False


@dataclass
class Flow:
    """One topic, the connector that reads it, and what comes of its records."""

    topic: str
    schema_id: int
    kafka: KafkaSettings
    workers: Workers
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.topic}_sink"

    @property
    def dead_letter_topic(self) -> str:
        return f"{self.topic}_dead_letters"

    @property
    def output(self) -> Path:
        return self.folder / "records.txt"

    def file(self, **changes: str) -> Path:
        """The repository's connector with this topic and the file sink; the file's name is a secret, to be one."""
        self.workers.secrets.mkdir(parents=True, exist_ok=True)
        (self.workers.secrets / f"{SECRET_FILE}_{self.topic}").write_text(str(self.output))
        document = json.loads(CONNECTOR.read_text())
        document["name"] = self.name
        document["config"] |= {
            "connector.class": FILE_SINK,
            "file": f"${{directory:{{{{ETAR_CONNECT_SECRETS_FOLDER}}}}:{SECRET_FILE}_{self.topic}}}",
            "tasks.max": "1",
            "topics": self.topic,
            "errors.deadletterqueue.topic.name": self.dead_letter_topic,
            **changes,
        }
        path = self.folder / "connector.json"
        path.write_text(json.dumps(document))
        return path

    def config(self, **changes: str) -> dict[str, str]:
        return Template.load(self.file(**changes)).filled(variables())

    def produce(self, values: Sequence[bytes | None], **more: object) -> None:
        """To partition 0, in this order, all acknowledged on return."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        for value in values:
            producer.produce(self.topic, value=value, key=b"k" * 16, partition=0, **more)
        assert producer.flush(30) == 0

    def settle(self) -> None:
        """Wait until the connector's group has committed all that the topic holds, as the pipeline's settle does."""
        with TopicOffsets.connect(self.topic, settings=self.kafka) as offsets:
            target = offsets.end()
            wait_until(
                lambda: settled(target, offsets.committed(f"connect-{self.name}")),
                timeout=60,
                what=f"{self.name} to commit {target} ({self.workers.log})",
            )

    def written(self) -> list[dict[str, str]]:
        """The records that reached the sink, as the text that Connect gives a record."""
        lines = self.output.read_text().splitlines() if self.output.exists() else []
        return [{found["name"]: found["value"] for found in _FIELD.finditer(line)} for line in lines]

    def dead_letters(self, count: int) -> list[Message]:
        """The first ``count`` records of the dead-letter topic, and proof that there are no more."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "nobody"})
        try:
            found: list[Message] = []
            consumer.assign([TopicPartition(self.dead_letter_topic, 0, 0)])

            def arrived() -> bool:
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    found.append(message)
                return len(found) >= count

            wait_until(arrived, timeout=60, what=f"{count} dead letters; there are {len(found)}")
            _, end = consumer.get_watermark_offsets(TopicPartition(self.dead_letter_topic, 0), timeout=10)
            assert end == count
            return found
        finally:
            consumer.close()


@pytest.fixture
def settings(parts_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectSettings]:
    for name, value in parts_stack.settings.starting_with("ETAR_CONNECT_").items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield get_settings(ConnectSettings)
    get_settings.cache_clear()


@pytest.fixture
def new_flow(
    workers: Workers, kafka: KafkaSettings, registry: RegistrySettings, settings: ConnectSettings, tmp_path: Path
) -> Iterator[Callable[[], Flow]]:
    """Makes topics with the event's schema registered; their connectors and topics are deleted afterwards."""
    flows: list[Flow] = []
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})

    def make() -> Flow:
        topic = f"flow_{uuid4().hex[:12]}"
        folder = tmp_path / topic
        folder.mkdir()
        admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"message.timestamp.type": "LogAppendTime"})])[
            topic
        ].result(30)
        flows.append(Flow(topic, register(registry, f"{topic}-value", SCHEMA_TEXT), kafka, workers, folder))
        return flows[-1]

    yield make
    for flow in flows:
        httpx.delete(f"{workers.url}/connectors/{flow.name}", timeout=90)
    if flows:
        admin.delete_topics([flow.topic for flow in flows])


@pytest.fixture
def flow(new_flow: Callable[[], Flow]) -> Flow:
    return new_flow()


def register(registry: RegistrySettings, subject: str, schema: str) -> int:
    answer = httpx.post(f"{registry.url}/subjects/{subject}/versions", json={"schema": schema}, timeout=30)
    return int(answer.raise_for_status().json()["id"])


@pytest.fixture
def worker(workers: Workers, settings: ConnectSettings) -> Iterator[Worker]:
    with Worker(workers.url, wait_seconds=settings.wait_seconds) as worker:
        yield worker


Etar = Callable[..., Result]


@pytest.fixture
def etar(settings: ConnectSettings, workers: Workers, tmp_path: Path) -> Etar:
    """``etar connect …`` as a person types it; everything it needs to know is in the environment."""

    def run(*arguments: object, input_: str | None = None) -> Result:
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(command.app, [*words, "--dir", str(tmp_path / "no-stack")], input=input_)

    return run


def headers(message: Message) -> Mapping[str, str]:
    return {name: value.decode() for name, value in message.headers() or [] if value is not None}

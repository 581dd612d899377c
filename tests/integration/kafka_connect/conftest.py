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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from typer.testing import CliRunner, Result

from cli import connect as command
from connect.template import Template
from connect.variables import variables
from connect.worker import Worker
from etar.kafka.offsets import TopicOffsets, settled
from etar.settings import ConnectSettings, KafkaSettings, RegistrySettings, get_settings
from etar.streams import default_stream
from stack.layout import BUILD, REPOSITORY
from stack.parts import Stack, connect
from stack.parts.base import answers
from stack.waiting import wait_until
from tests.integration.schemas import register
from tests.integration.topics import delete_topics, make_topic
from tests.unit.records.events import CONNECTOR, SCHEMA_TEXT

FILE_SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"
PARTITIONS = 2
STARTED_WITHIN = 240
SECRET_FILE = "etar_test_output"

_RECORD = re.compile(r"Struct\{[^{}]*\}")
_FIELD = re.compile(r"(?P<name>\w+)=(?P<value>[^,{}]*)")


@dataclass(frozen=True)
class Workers:
    """The group of workers as the tests reach it: through its first."""

    url: str
    secrets: Path
    log: Path


@dataclass(frozen=True)
class OneWorker:
    """A process of the group, and its name in what the workers say of tasks."""

    process: psutil.Process
    name: str


@contextmanager
def running_worker(stack: Stack, name: str, port_name: str) -> Iterator[OneWorker]:
    """A worker from the stack's own command and properties, with the file sink as one more plugin."""
    port = stack.settings.port(port_name)
    properties_file = stack.layout.data(name) / "worker.properties"
    plugins = [connect.CONVERTER, BUILD / "jars" / "connect-test-plugins"]
    connect.write_secrets(stack)
    # Without the pause in which a group waits for a member that may come back: here nobody does.
    properties = connect.worker_properties(stack, port, plugins) | {"scheduled.rebalance.max.delay.ms": "0"}
    connect.write_properties(properties_file, properties)
    log = stack.layout.log(name)
    with log.open("ab") as out:
        process = subprocess.Popen(
            connect.command(properties_file), cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/connectors", timeout=5),
            timeout=STARTED_WITHIN,
            what=f"the worker to answer ({log})",
        )
        assert process.poll() is None, log.read_text()[-3000:]
        yield OneWorker(psutil.Process(process.pid), f"127.0.0.1:{port}")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="package")
def workers(kafka: KafkaSettings, registry: RegistrySettings, parts_stack: Stack) -> Iterator[Workers]:
    """A group of one worker."""
    with running_worker(parts_stack, "connect", "CONNECT") as one:
        secrets = Path(parts_stack.settings["ETAR_CONNECT_SECRETS_FOLDER"])
        yield Workers(f"http://{one.name}", secrets, parts_stack.layout.log("connect"))


@pytest.fixture
def second_worker(workers: Workers, parts_stack: Stack) -> Iterator[OneWorker]:
    """One more worker in the group, for a test that may do to it what it likes."""
    with running_worker(parts_stack, "connect-2", "CONNECT_2") as one:
        yield one
        one.process.kill()  # a worker that a test has held does not end when it is asked to


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
        return Template.load(self.file(**changes)).filled(variables(default_stream()))

    def produce(self, values: Sequence[bytes | None], *, partition: int = 0, **more: object) -> None:
        """To one partition, in this order, all acknowledged on return."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        for value in values:
            producer.produce(self.topic, value=value, key=b"k" * 16, partition=partition, **more)
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
        text = self.output.read_text() if self.output.exists() else ""
        records = _RECORD.findall(text)
        return [{found["name"]: found["value"] for found in _FIELD.finditer(record)} for record in records]

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

    def make() -> Flow:
        topic = f"flow_{uuid4().hex[:12]}"
        folder = tmp_path / topic
        folder.mkdir()
        make_topic(kafka, topic, PARTITIONS)
        flows.append(Flow(topic, register(registry, f"{topic}-value", SCHEMA_TEXT), kafka, workers, folder))
        return flows[-1]

    yield make
    for flow in flows:
        httpx.delete(f"{workers.url}/connectors/{flow.name}", timeout=90)
    delete_topics(kafka, [flow.topic for flow in flows])


@pytest.fixture
def flow(new_flow: Callable[[], Flow]) -> Flow:
    return new_flow()


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

"""Apache Kafka in KRaft mode, from Maven jars: one node, or three that replicate; and the topic of each stream."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from etar.bootstrap.places import create_topic
from etar.settings import KafkaSettings, RetentionSettings
from etar.streams import Stream
from stack import jvm
from stack.configuration import SettingsError
from stack.layout import BUILD
from stack.parts.base import Part, Stack, Step, listens, write_if_changed

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka.admin import AdminClient

RETENTION_HOURS = 48
"""Twice the table's horizon: what the table still holds can always be compared with, or read again from, Kafka."""

_VOTERS = "controller.quorum.voters"


@dataclass(frozen=True)
class Node:
    """One node, broker and controller in one process. Numbered from 1; the first goes without its number."""

    number: int

    @property
    def name(self) -> str:
        return "kafka" if self.number == 1 else f"kafka-{self.number}"

    @property
    def port(self) -> str:
        """Short name of the variable that says where clients reach it."""
        return "KAFKA" if self.number == 1 else f"KAFKA_{self.number}"

    @property
    def controller_port(self) -> str:
        return "KAFKA_CONTROLLER" if self.number == 1 else f"KAFKA_CONTROLLER_{self.number}"

    def data(self, stack: Stack) -> Path:
        return stack.layout.data(self.name)

    def config(self, stack: Stack) -> Path:
        return stack.layout.data(f"{self.name}-config") / "server.properties"

    def is_formatted(self, stack: Stack) -> bool:
        return (self.data(stack) / "meta.properties").exists()


_NODES = (Node(1), Node(2), Node(3))


def nodes(stack: Stack) -> tuple[Node, ...]:
    """The nodes this stack has."""
    return _NODES[: int(stack.settings.shape("BROKERS"))]


def replication_factor(stack: Stack) -> int:
    """Copies that each topic has: one on every node."""
    return len(nodes(stack))


def min_in_sync(stack: Stack) -> int:
    """Copies that must have a record before it is acknowledged: one node of three may be away."""
    return max(1, replication_factor(stack) - 1)


def _java(main: str, *arguments: str, heap_mb: int = 512) -> list[str]:
    options = [f"-Xmx{heap_mb}m", *jvm.STARTS_FAST, *jvm.KAFKA.reading()]
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", *options, logging, "-cp", f"{BUILD}/jars/kafka/*", main, *arguments]


def _command(stack: Stack, node: Node) -> list[str]:
    # Three nodes share one machine, and each leads a third of the partitions.
    return _java("kafka.Kafka", str(node.config(stack)), heap_mb=512 if len(nodes(stack)) == 1 else 256)


def properties(stack: Stack, node: Node) -> str:
    """Text of a node's server.properties."""
    settings = stack.settings
    port, controller = settings.port(node.port), settings.port(node.controller_port)
    copies, in_sync = str(replication_factor(stack)), str(min_in_sync(stack))
    voters = [f"{each.number}@127.0.0.1:{settings.port(each.controller_port)}" for each in nodes(stack)]
    values = {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{settings.link(node.port)}",
        "controller.listener.names": "CONTROLLER",
        _VOTERS: ",".join(voters),
        "log.dirs": str(node.data(stack)),
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        # A replica that lacks acknowledged records never leads: rather no partition than one with a hole.
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.hours": str(RETENTION_HOURS),
        # How often a controller without anything to write writes that: at the default of 500 ms, a third of what an
        # idle node costs.
        "metadata.max.idle.interval.ms": "5000",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _require_same_nodes(stack: Stack) -> None:
    """Refuse another number of nodes than the data was made with: its quorum and its topics' copies are of those."""
    first, wanted = _NODES[0], len(nodes(stack))
    if not first.is_formatted(stack):
        return
    written = dict(line.split("=", 1) for line in first.config(stack).read_text().splitlines())
    made = len(written[_VOTERS].split(","))
    if made != wanted:
        raise SettingsError(
            f"the Kafka in {stack.layout.root} was made as {made} broker{'s' * (made > 1)} and cannot become {wanted}. "
            f"`make up BROKERS={made}` goes on with it; `make up BROKERS={wanted} DIR=…` makes another stack"
        )


def _prepare(stack: Stack, node: Node) -> None:
    config = node.config(stack)
    write_if_changed(config, properties(stack, node))
    if not node.is_formatted(stack):
        cluster = stack.settings["ETAR_STACK_KAFKA_CLUSTER_ID"]
        format_storage = _java(
            "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(config), "--ignore-formatted"
        )
        subprocess.run(format_storage, check=True)


@lru_cache
def _admin(bootstrap_server: str) -> AdminClient:
    """One client for all the times a start asks; librdkafka's own lines about a broker that comes up are no news."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap_server, "log_level": 2})


def _is_ready(stack: Stack, node: Node) -> bool:
    port = stack.settings.port(node.port)
    if not listens(port):
        return False
    # It listens before the controller lets it in, and no topic gets a copy on it until then.
    return node.number in _admin(f"127.0.0.1:{port}").list_topics(timeout=5).brokers


def _create_topic(stack: Stack, stream: Stream) -> None:
    create_topic(
        stream,
        stack.settings.of(KafkaSettings),
        copies=replication_factor(stack),
        in_sync=min_in_sync(stack),
        retention=stack.settings.of(RetentionSettings),
    )


def _part(node: Node) -> Part:
    return Part(
        name=node.name,
        prepare=lambda stack: _prepare(stack, node),
        command=lambda stack: _command(stack, node),
        ready=lambda stack: _is_ready(stack, node),
        address=lambda stack: f"127.0.0.1:{stack.settings.link(node.port)}",
        enabled=lambda stack: node in nodes(stack),
        require=_require_same_nodes if node.number == 1 else lambda _: None,
    )


BROKERS = tuple(_part(node) for node in _NODES)


def topic_step(stream: Stream) -> Step:
    """Makes the stream's topic."""
    return Step(
        name=topic_of(stream),
        needs=tuple(node.name for node in _NODES),
        action=lambda stack: _create_topic(stack, stream),
        stream=stream.name,
    )


def topic_of(stream: Stream) -> str:
    """Name of the step that makes the stream's topic."""
    return f"topic-{stream.name}"

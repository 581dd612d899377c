"""Apache Kafka, one node in KRaft mode, from Maven jars; and the topic of each stream."""

from __future__ import annotations

import subprocess

from etar.streams import USER_INTERACTIONS
from stack.layout import BUILD
from stack.parts.base import Part, Stack, Step, listens, write_if_changed

PARTITIONS = 6
RETENTION_HOURS = 48
"""Twice the table's horizon: what the table still holds can always be compared with, or read again from, Kafka."""

_JAVA = ["-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


def _java(main: str, *arguments: str) -> list[str]:
    return ["java", *_JAVA, "-cp", f"{BUILD}/jars/kafka/*", main, *arguments]


def _properties(stack: Stack) -> str:
    port, controller = stack.settings.port("KAFKA"), stack.settings.port("KAFKA_CONTROLLER")
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{stack.settings.link('KAFKA')}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "log.dirs": str(stack.layout.data("kafka")),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.hours": str(RETENTION_HOURS),
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _prepare(stack: Stack) -> None:
    config = stack.layout.data("kafka-config") / "server.properties"
    write_if_changed(config, _properties(stack))
    if not (stack.layout.data("kafka") / "meta.properties").exists():
        cluster = stack.settings["ETAR_STACK_KAFKA_CLUSTER_ID"]
        format_storage = _java(
            "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(config), "--ignore-formatted"
        )
        subprocess.run(format_storage, check=True)


def _create_topic(stack: Stack) -> None:
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"], "log_level": 2})
    topic = NewTopic(
        USER_INTERACTIONS.topic,
        num_partitions=PARTITIONS,
        replication_factor=1,
        # The broker's clock, not the producer's, says when a record arrived: "what Kafka held at 10:32:02" is then a
        # question with one answer.
        config={"message.timestamp.type": "LogAppendTime"},
    )
    try:
        admin.create_topics([topic], request_timeout=30)[topic.topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


KAFKA = Part(
    name="kafka",
    prepare=_prepare,
    command=lambda stack: _java("kafka.Kafka", str(stack.layout.data("kafka-config") / "server.properties")),
    ready=lambda stack: listens(stack.settings.port("KAFKA")),
    address=lambda stack: stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"],
)
TOPICS = Step(name="topics", needs=("kafka",), action=_create_topic)

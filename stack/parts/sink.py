"""The native sink: our consumer, from the same connector file that Kafka Connect reads."""

from __future__ import annotations

import sys

from etar.streams import USER_INTERACTIONS
from stack.layout import REPOSITORY
from stack.parts.base import Part, Stack


def _command(_: Stack) -> list[str]:
    connector = REPOSITORY / "connect" / f"{USER_INTERACTIONS.connector}.json"
    return [sys.executable, "-m", "connect.native_sink", "--connector", str(connector)]


def _is_consuming(stack: Stack) -> bool:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"]})
    group = admin.describe_consumer_groups([USER_INTERACTIONS.sink_group], request_timeout=5)
    members = group[USER_INTERACTIONS.sink_group].result().members
    return any(member.assignment.topic_partitions for member in members)


SINK = Part(
    name="sink",
    needs=("topics", "compatibility", "tables"),
    command=_command,
    environment=lambda stack: stack.settings.starting_with(
        "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_PIPELINE_", "ETAR_SINK_"
    ),
    ready=_is_consuming,
    stop_seconds=30,
)

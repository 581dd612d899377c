"""The native sink: our consumer, from the same connector file that Kafka Connect reads."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from etar.streams import USER_INTERACTIONS
from stack.layout import REPOSITORY
from stack.parts.base import Part, Stack

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient


def _command(_: Stack) -> list[str]:
    connector = REPOSITORY / "connect" / f"{USER_INTERACTIONS.connector}.json"
    return [sys.executable, "-m", "connect.native_sink", "--connector", str(connector)]


@lru_cache
def _admin(bootstrap_servers: str) -> AdminClient:
    """One client for all the times a start asks; librdkafka's own lines about a broker that comes up are no news."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})


def _is_consuming(stack: Stack) -> bool:
    admin = _admin(stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"])
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

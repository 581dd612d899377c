"""The native sink: our consumer, from the same connector file that Kafka Connect reads."""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from etar.streams import USER_INTERACTIONS
from stack.layout import REPOSITORY
from stack.parts.base import Part, Stack

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_BEAT_SECONDS = 60
"""Many times what a step takes, on a busy machine too: what takes longer is a wait."""


def _beat(stack: Stack) -> Path:
    return stack.layout.run / "sink.beat"


def _command(stack: Stack) -> list[str]:
    connector = REPOSITORY / "connect" / f"{USER_INTERACTIONS.connector}.json"
    beat = str(_beat(stack))
    return [sys.executable, "-m", "connect.native_sink", "--connector", str(connector), "--beat", beat]


@lru_cache
def _admin(bootstrap_servers: str) -> AdminClient:
    """One client for all the times a start asks; librdkafka's own lines about a broker that comes up are no news."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})


def _goes_on(stack: Stack) -> bool:
    return time.time() - _beat(stack).stat().st_mtime < _BEAT_SECONDS and _is_consuming(stack)


def _is_consuming(stack: Stack) -> bool:
    admin = _admin(stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"])
    # Not describe_consumer_groups, which follows it: with several brokers, one of which may not know the group's
    # coordinator yet, that ends the whole process (librdkafka: eonce->refcnt > 0).
    groups = admin.list_groups(USER_INTERACTIONS.sink_group, timeout=5)
    # An assignment begins with its version (2 bytes) and the number of topics in it (4).
    return any(int.from_bytes(member.assignment[2:6], "big") for group in groups for member in group.members)


SINK = Part(
    name="sink",
    needs=("topics", "compatibility", "tables"),
    # A beat is the running sink's own. (Kafka keeps a dead member, which comes back by its name, for ten seconds.)
    prepare=lambda stack: _beat(stack).unlink(missing_ok=True),
    command=_command,
    environment=lambda stack: stack.settings.starting_with(
        "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_PIPELINE_", "ETAR_SINK_"
    ),
    ready=_goes_on,
    stop_seconds=30,
    enabled=lambda stack: stack.settings.shape("SINK") == "native",
)

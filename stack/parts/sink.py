"""The native sink: our consumer, one process a stream, so that what one cannot store holds up no other."""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from etar.streams import Stream
from stack.parts.base import Part, Stack
from stack.parts.kafka import topic_of
from stack.parts.warehouse import table_of

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_BEAT_SECONDS = 60
"""Many times what a step takes, on a busy machine too: what takes longer is a wait."""


def _beat(stack: Stack, stream: Stream) -> Path:
    return stack.layout.run / f"{stream.sink_part}.beat"


def _command(stack: Stack, stream: Stream) -> list[str]:
    beat = str(_beat(stack, stream))
    return [sys.executable, "-m", "connect.native_sink", "--stream", stream.name, "--beat", beat]


@lru_cache
def _admin(bootstrap_servers: str) -> AdminClient:
    """One client for all the times a start asks; librdkafka's own lines about a broker that comes up are no news."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})


def _goes_on(stack: Stack, stream: Stream) -> bool:
    return time.time() - _beat(stack, stream).stat().st_mtime < _BEAT_SECONDS and _is_consuming(stack, stream)


def _is_consuming(stack: Stack, stream: Stream) -> bool:
    admin = _admin(stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"])
    # Not describe_consumer_groups, which follows it: with several brokers, one of which may not know the group's
    # coordinator yet, that ends the whole process (librdkafka: eonce->refcnt > 0).
    groups = admin.list_groups(stream.sink_group, timeout=5)
    # An assignment begins with its version (2 bytes) and the number of topics in it (4).
    return any(int.from_bytes(member.assignment[2:6], "big") for group in groups for member in group.members)


def part(stream: Stream) -> Part:
    """The sink of one stream."""
    return Part(
        name=stream.sink_part,
        needs=(topic_of(stream), table_of(stream), "compatibility"),
        # A beat is the running sink's own. (Kafka keeps a dead member, which comes back by its name, for ten seconds.)
        prepare=lambda stack: _beat(stack, stream).unlink(missing_ok=True),
        command=lambda stack: _command(stack, stream),
        environment=lambda stack: stack.settings.starting_with(
            "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_PIPELINE_", "ETAR_SINK_"
        ),
        ready=lambda stack: _goes_on(stack, stream),
        stop_seconds=30,
        enabled=lambda stack: stack.settings.shape("SINK") == "native",
        stream=stream.name,
    )

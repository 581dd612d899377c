"""What one worker of a run is told and what it tells, and how parent and workers wait for the parts they need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from etar.settings import KafkaSettings, RegistrySettings, get_settings
from etar.streams import stream_named
from producer.account import RejectReason
from producer.encoding import Encoding
from producer.options import ProduceOptions
from producer.publisher import require_topic
from producer.waiting import until_there
from producer.wire import open_encoding


class WorkerTask(BaseModel):
    """What one worker has to do. ``options.seed`` is always set for made-up traffic.

    ``tally`` is the descriptor it counts in. ``incarnation`` is how many were killed in this worker's place before it,
    and ``made`` how many of its records they made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: ProduceOptions
    worker: int
    workers: int
    tally: int
    incarnation: int = 0
    made: int = 0

    @property
    def chance(self) -> int:
        """What tells its events apart from those of every other worker of the run, dead ones included.

        One that is started in place of another must not send the same event ids again: an id counts once.
        """
        return self.worker + self.incarnation * self.workers


class WorkerReport(BaseModel):
    """That a worker is ready; ``final``: that it has ended. ``error`` says why it could not do all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    final: bool = False
    error: str | None = None
    rejects: tuple[RejectReason, ...] = ()


class Connected(NamedTuple):
    """What registry and Kafka say of the topic."""

    encoding: Encoding
    partitions: int


def connect(options: ProduceOptions, stopping: Callable[[], bool]) -> Connected | None:
    """Wait for registry and Kafka; None when ``stopping()`` came first.

    Raises:
        SchemaRefusedError: the registry does not take the schema.
        TopicMissingError: Kafka has no such topic.
    """
    kafka, registry, stream = get_settings(KafkaSettings), get_settings(RegistrySettings), stream_named(options.stream)
    encoding = until_there(lambda: open_encoding(registry, stream, options.topic), stopping=stopping, pause=time.sleep)
    partitions = until_there(lambda: require_topic(kafka, options.topic), stopping=stopping, pause=time.sleep)
    return None if encoding is None or partitions is None or stopping() else Connected(encoding, partitions)

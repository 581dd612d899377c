"""What is done to the topic of a stack that takes records nobody has read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from etar.bootstrap.places import create_topic
from etar.kafka.offsets import TopicOffsets, UnknownTopicError
from etar.settings import KafkaSettings, RetentionSettings
from etar.streams import default_stream
from stack.parts import Stack
from stack.waiting import wait_until

_SECONDS = 30
_COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
_TOPIC = default_stream().topic


def make_topic_anew(stack: Stack) -> None:
    """Delete the topic, and make it again as `etar bootstrap` does."""
    kafka = stack.settings.of(KafkaSettings)
    with AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2}) as admin:
        admin.delete_topics([_TOPIC])[_TOPIC].result(_SECONDS)
    with TopicOffsets.connect(_TOPIC, settings=kafka) as offsets:

        def gone() -> bool:
            try:
                offsets.partitions()
            except UnknownTopicError:
                return True
            return False

        wait_until(gone, timeout=_SECONDS, what="the topic to be gone")
    create_topic(default_stream(), kafka, retention=stack.settings.of(RetentionSettings))


@contextmanager
def compacted_topic(stack: Stack) -> Iterator[None]:
    """Afterwards it has the settings again that it had."""
    kafka = stack.settings.of(KafkaSettings)
    with TopicOffsets.connect(_TOPIC, settings=kafka) as offsets:
        before = {name: value for name, value in offsets.settings().items() if name in _COMPACTED}
    _alter(kafka, _COMPACTED)
    try:
        yield
    finally:
        _alter(kafka, before)


def _alter(kafka: KafkaSettings, settings: Mapping[str, str]) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, _TOPIC, incremental_configs=entries)
    with AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2}) as admin:
        admin.incremental_alter_configs([resource])[resource].result(_SECONDS)

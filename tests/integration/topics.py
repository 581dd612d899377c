"""Topics of the tests' own."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from etar.kafka.offsets import TopicOffsets
from etar.settings import KafkaSettings
from stack.waiting import wait_until

_SECONDS = 30


def admin_of(kafka: KafkaSettings) -> AdminClient:
    """For a `with`: a client that is left to garbage collection may be destroyed by its own thread, while that still
    tells of an answer, and then librdkafka 2.16 ends the whole process.
    """
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2})


def make_topic(kafka: KafkaSettings, name: str, partitions: int, **config: str) -> None:
    """With the broker's clock, unless ``config`` says otherwise. Its brokers know it when this returns."""
    settings = {"message.timestamp.type": "LogAppendTime", **config}
    with admin_of(kafka) as admin:
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(_SECONDS)
        _wait_for(admin, name, partitions)


def give_partitions(kafka: KafkaSettings, name: str, partitions: int) -> None:
    """Let a topic have so many, which are more than it has. Its brokers know them when this returns."""
    with admin_of(kafka) as admin:
        admin.create_partitions([NewPartitions(name, partitions)])[name].result(_SECONDS)
        _wait_for(admin, name, partitions)


def _wait_for(admin: AdminClient, name: str, partitions: int) -> None:
    def known() -> bool:
        topic = admin.list_topics(name, timeout=_SECONDS).topics[name]
        return len(topic.partitions) == partitions and all(each.leader >= 0 for each in topic.partitions.values())

    # The controller answers when it has made it; a broker hears of it some milliseconds later.
    wait_until(known, timeout=_SECONDS, what=f"the brokers to know the topic {name}", interval=0.02)


def delete_topics(kafka: KafkaSettings, names: Sequence[str]) -> None:
    if not names:
        return  # Kafka's client refuses an empty list
    with admin_of(kafka) as admin:
        for deleted in admin.delete_topics(list(names)).values():
            deleted.result(_SECONDS)


def make_anew(kafka: KafkaSettings, name: str, partitions: int, **config: str) -> None:
    """As :func:`make_topic`, in place of the one that there is."""
    with TopicOffsets.connect(name, settings=kafka) as offsets:
        before = offsets.topic_id()
        delete_topics(kafka, [name])
        make_topic(kafka, name, partitions, **config)
        wait_until(lambda: offsets.topic_id() != before, timeout=_SECONDS, what="the topic made anew")

"""Topics of the tests' own."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka.admin import AdminClient, NewTopic

from etar.settings import KafkaSettings

_SECONDS = 30


def admin_of(kafka: KafkaSettings) -> AdminClient:
    """For a `with`: a client that is left to garbage collection may be destroyed by its own thread, while that still
    tells of an answer, and then librdkafka 2.16 ends the whole process.
    """
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2})


def make_topic(kafka: KafkaSettings, name: str, partitions: int, **config: str) -> None:
    """With the broker's clock, unless ``config`` says otherwise."""
    settings = {"message.timestamp.type": "LogAppendTime", **config}
    with admin_of(kafka) as admin:
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(_SECONDS)


def delete_topics(kafka: KafkaSettings, names: Sequence[str]) -> None:
    if not names:
        return  # Kafka's client refuses an empty list
    with admin_of(kafka) as admin:
        for deleted in admin.delete_topics(list(names)).values():
            deleted.result(_SECONDS)

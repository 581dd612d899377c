"""What etar's places must have before the first event: each function makes it if it is missing, and may run again.

The native stack's steps call these, and so does ``etar bootstrap`` in containers and on a cluster. None waits for a
place that is away.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from etar.bootstrap.retention import kept_for
from etar.clients import object_store_client, warehouse_client
from etar.kafka.topic_settings import BROKERS_CLOCK, CLEANUP, TIMESTAMPS, topic_faults
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    RegistrySettings,
    RetentionSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream

COMPATIBILITY = "BACKWARD"
"""New readers must be able to read old events: what is in Kafka stays readable. A registry may come with NONE."""

_KAFKA_SECONDS = 30.0

_log = logging.getLogger(__name__)


class BootstrapError(Exception):
    """A place has what etar needs in another form; the message says what and how to change it."""


def create_topic(
    stream: Stream,
    settings: KafkaSettings,
    *,
    copies: int = 1,
    in_sync: int = 1,
    retention: RetentionSettings | None = None,
) -> bool:
    """Make the stream's topic, and say whether it was missing.

    Args:
        copies: brokers that keep each record.
        in_sync: brokers that must have a record before it is acknowledged.
        retention: how long an outage may take; by default as the environment says.

    Raises:
        BootstrapError: the topic is there, but its records carry the producer's clock, or it is compacted.
        KafkaUnavailableError: Kafka went away after it had said that the topic is there.
        confluent_kafka.KafkaException: Kafka is away or refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = NewTopic(
        stream.topic,
        num_partitions=stream.partitions,
        replication_factor=copies,
        # The broker's clock, not the producer's, says when a record arrived: "what Kafka held at 10:32:02" is then
        # a question with one answer.
        config={TIMESTAMPS: BROKERS_CLOCK, CLEANUP: "delete", "min.insync.replicas": str(in_sync)},
    )
    with AdminClient({"bootstrap.servers": settings.bootstrap_servers, "log_level": 2}) as admin:
        try:
            admin.create_topics([topic], request_timeout=_KAFKA_SECONDS)[topic.topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            return True
    _require_kept_records(stream, settings, retention or get_settings(RetentionSettings))
    return False


def _require_kept_records(stream: Stream, settings: KafkaSettings, retention: RetentionSettings) -> None:
    # Here, as every part's launcher imports this module, and Kafka's client takes 40 ms of each.
    from etar.kafka.offsets import TopicOffsets

    with TopicOffsets.connect(stream.topic, settings=settings, timeout=_KAFKA_SECONDS) as topic:
        found = topic_faults(topic.settings(), needed=retention.retention)
    for fault in found:
        if fault.refused:
            raise BootstrapError(fault.told_of(stream.topic))
        _log.warning("%s", fault.told_of(stream.topic))


def require_compatibility(settings: RegistrySettings) -> None:
    """Have the registry refuse, for every subject without a rule of its own, a schema that cannot read old events.

    Raises:
        Exception: the registry is away or refuses; the client has an error of its own for each.
    """
    from confluent_kafka.schema_registry import SchemaRegistryClient

    SchemaRegistryClient({"url": settings.url, "timeout": 10}).set_compatibility(level=COMPATIBILITY)


def require_retention(stream: Stream, warehouse: WarehouseSettings, settings: RetentionSettings) -> None:
    """See that the stream's table keeps a minute for as long as the pipeline believes: it would take one that has
    expired for an empty one, and report that.

    Raises:
        BootstrapError: its TTL is shorter.
        clickhouse_connect.driver.exceptions.Error: the warehouse is away, or has no such table.
    """
    with warehouse_client(warehouse) as client:
        engine = client.command(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
            parameters={"table": stream.table},
        )
        kept = kept_for(str(engine), lambda query: client.query(query).result_rows[0][0])
    if kept is not None and kept < settings.retention:
        hours = kept / timedelta(hours=1)
        raise BootstrapError(
            f"the table {stream.table} keeps a minute for {hours:g} h, and ETAR_PIPELINE_RETENTION_HOURS is "
            f"{settings.retention_hours:g}: set that to {hours:g} or less, or have the table keep more: "
            f"ALTER TABLE {stream.table} MODIFY TTL event_minute + INTERVAL {settings.retention_hours:g} HOUR"
        )


def create_bucket(settings: ObjectStoreSettings) -> bool:
    """Make the bucket, and say whether it was missing.

    Raises:
        botocore.exceptions.ClientError: the key may not do that, or the bucket is another account's.
        botocore.exceptions.EndpointConnectionError: the object store is away.
    """
    from botocore.exceptions import ClientError

    try:
        object_store_client(settings).create_bucket(Bucket=settings.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
        return False
    return True

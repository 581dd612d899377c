"""What one would write first: an event at a time, Confluent's AvroSerializer, a delivery callback that counts.

    .venv/bin/python -m bench.plain.producer --events 100000 --topic T

The baseline of ``bench/produce.py``, with the settings of librdkafka that etar has. Prints as JSON how many records
were acknowledged and how many seconds it sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from random import Random
from typing import Any

from confluent_kafka import KafkaError, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from etar.settings import KafkaSettings, RegistrySettings, get_settings
from etar.streams import default_stream

_TYPES = ["view", "click", "add_to_cart", "checkout", "purchase", "search"]
_COUNTRIES = ["DE", "US", "GB", "FR", "ES", "IT", "NL", "PL", "JP", "BR"]


def some_event(random: Random, users: list[uuid.UUID]) -> dict[str, Any]:
    """Each field by itself, without visits or carts."""
    failed = random.random() < 0.05
    kind = random.choice(_TYPES)
    return {
        "event_id": uuid.uuid4(),
        "user_id": random.choice(users),
        "session_id": uuid.uuid4(),
        "event_type": kind,
        "status": "error" if failed else "success",
        "event_time": int(time.time() * 1000),
        "product_id": None if kind == "search" else f"P{random.randrange(2000):05}",
        "amount": random.randrange(100, 20_000) if kind in {"add_to_cart", "checkout", "purchase"} else None,
        "error_code": "upstream_timeout" if failed else None,
        "device": random.choice(["mobile", "desktop", "tablet"]),
        "country": random.choice(_COUNTRIES),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--topic", required=True)
    asked = parser.parse_args()
    kafka, registry = get_settings(KafkaSettings), get_settings(RegistrySettings)
    random = Random()  # noqa: S311  made-up events
    users = [uuid.uuid4() for _ in range(20_000)]
    serializer = AvroSerializer(SchemaRegistryClient({"url": registry.url}), default_stream().schema_text)
    context = SerializationContext(asked.topic, MessageField.VALUE)
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 50,
            "compression.type": default_stream().compression,
            "partitioner": "murmur2_random",
        }
    )
    acknowledged = failed = 0

    def delivered(error: KafkaError | None, _message: object) -> None:
        nonlocal acknowledged, failed
        if error is None:
            acknowledged += 1
        else:
            failed += 1

    began = time.monotonic()
    for _ in range(asked.events):
        event = some_event(random, users)
        value = serializer(event, context)
        while True:
            try:
                producer.produce(asked.topic, value, event["user_id"].bytes, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    print(json.dumps({"acknowledged": acknowledged, "seconds": time.monotonic() - began}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Records read again from a real Kafka, whatever time their reader takes over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from etar.kafka.records import KafkaRecords
from tests.integration.audit.conftest import World

BATCH = 10_000
HANDLED = 3600.0


def test_a_reader_that_takes_its_time_is_not_told_that_kafka_is_away(
    new_world: Callable[..., World],
) -> None:
    world = new_world()
    world.send([b"record"] * (BATCH + 1), partition=0)
    at = 0.0

    def taken(batches: Iterator[list]) -> Iterator[int]:
        nonlocal at
        for batch in batches:
            yield len(batch)
            at += HANDLED

    with KafkaRecords(world.stream.topic, world.kafka, now=lambda: at) as records:
        assert sum(taken(records.read(0, range(BATCH + 1)))) == BATCH + 1

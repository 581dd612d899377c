"""The sink: every record that Kafka acknowledged is stored exactly once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Producer

from etar.dead_letters import Reason
from tests.integration.connect.conftest import PARTITIONS, Lane
from tests.scenarios.model import Check
from tests.scenarios.streams import new_stream, running_sink

_GOOD = 100
"""Of a batch; a null and a record that is not Avro are in it as well."""
_PAUSE_SECONDS = 0.1


class Traffic:
    """Batches that are sent all the time until the end, however Kafka is; ``batch`` makes the one of a number."""

    def __init__(self, lane: Lane, batch: Callable[[int], Sequence[bytes | None]]) -> None:
        self.batches = 0
        self._lane, self._batch = lane, batch
        self._producer = Producer(
            {"bootstrap.servers": lane.kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 2}
        )
        self._failed: list[Any] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def send(self) -> None:
        """One batch; while it is sent all the time, that is its own thread's business."""
        for number, value in enumerate(self._batch(self.batches)):
            self._produce(value, partition=number % PARTITIONS)
        self.batches += 1
        self._producer.poll(0)

    def _produce(self, value: bytes | None, *, partition: int) -> None:
        while True:
            try:
                self._producer.produce(self._lane.topic, value=value, partition=partition, on_delivery=self._delivered)
            except BufferError:  # Kafka has been away for long
                self._producer.poll(0.2)
            else:
                return

    def _delivered(self, error: Any, _message: object) -> None:
        if error:
            self._failed.append(error)

    def finish(self) -> None:
        """End it with one batch more; all that was sent is acknowledged then."""
        self.end()
        self.send()
        assert self._producer.flush(120) == 0
        assert not self._failed

    def end(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_PAUSE_SECONDS):
            self.send()


class Sink(Check):
    """Good records are rows and bad ones are dead letters, each once, under constant traffic."""

    def prepare_first(self) -> None:
        made = self.closing.enter_context(new_stream(partitions=PARTITIONS))
        self.lane, self.sink = self.closing.enter_context(running_sink(self.parts, made))
        self.traffic = Traffic(self.lane, lambda number: [*self.lane.good(_GOOD, first=number * _GOOD), None, b"junk"])
        self.closing.callback(self.traffic.end)

    def prepare_second(self) -> None:
        self.traffic.finish()

    def validate(self) -> None:
        self.lane.settle(self.sink, timeout=180)
        sent = self.traffic.batches
        assert self.lane.rows("count(), uniqExact(event_id)") == [(sent * _GOOD, sent * _GOOD)]
        reasons = Counter(reason for reason, _, _ in self.lane.dead_letters().values())
        assert reasons == {Reason.NULL_VALUE.value: sent, Reason.NOT_AVRO.value: sent}
        self.lane.assert_every_offset_is_in_one_place()

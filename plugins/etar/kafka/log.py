"""Kafka's log below its records: what lies at offsets that readers get no record from.

librdkafka shows no control batches, so the headers of batches are read with kafka-python; records are librdkafka's.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from etar.kafka.offsets import KafkaUnavailableError
from etar.kafka.records import KafkaRecords
from etar.offsets import Span
from etar.settings import KafkaSettings

_FETCH_BYTES = 1024 * 1024
"""Asked for at once; a broker gives one whole batch at least."""

_READ_UNCOMMITTED = 0


class Batch(NamedTuple):
    """A batch of the log: its offsets, and whether it is a transaction's marker."""

    offsets: Span
    is_marker: bool


@dataclass(frozen=True)
class Explained:
    """Offsets without a record, and why: ``markers`` of transactions, records that were ``taken_back`` with theirs."""

    markers: frozenset[int] = frozenset()
    taken_back: frozenset[int] = frozenset()

    @property
    def offsets(self) -> frozenset[int]:
        return self.markers | self.taken_back


class PartitionLogs:
    """The logs of one topic. A context manager; connects on the first question, and few audits have one."""

    def __init__(self, topic: str, settings: KafkaSettings, *, timeout: float = 30.0) -> None:
        self._topic = topic
        self._settings = settings
        self._timeout = timeout
        self._headers: _Headers | None = None

    def explain(self, partition: int, offsets: Collection[int]) -> Explained:
        """What the log says of offsets that it still covers, and that readers of committed records got none from.

        What is in neither set is a hole. Kafka gives out offsets one by one, so a record was there, and something has
        taken it out of the log: compaction, records deleted, a log that was cut and filled again. The markers that
        compaction has removed are holes too: nothing tells them from records any more.

        Raises:
            KafkaUnavailableError: no answer within the timeout, or none that covers the offsets.
        """
        if not offsets:
            return Explained()
        with KafkaRecords(self._topic, self._settings, timeout=self._timeout, committed_only=False) as records:
            taken_back = frozenset(
                record.offset for batch in records.read(partition, sorted(offsets)) for record in batch
            )
        left = sorted(frozenset(offsets) - taken_back)
        if not left:
            return Explained(taken_back=taken_back)
        headers = self._headers = self._headers or _Headers(self._topic, self._settings, self._timeout)
        return Explained(markers_among(left, lambda offset: headers.since(partition, offset)), taken_back)

    def close(self) -> None:
        if self._headers is not None:
            self._headers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def markers_among(offsets: Sequence[int], batches_since: Callable[[int], Sequence[Batch]]) -> frozenset[int]:
    """Those of the offsets, ascending, that are markers.

    Args:
        batches_since: some batches of the log in order, from the one that holds an offset, or the next one, on.
    """
    markers: set[int] = set()
    at = 0
    while at < len(offsets):
        batches = batches_since(offsets[at])
        for batch in batches:
            if batch.is_marker:
                first, end = (bisect_left(offsets, bound) for bound in batch.offsets)
                markers.update(offsets[first:end])
        at = bisect_left(offsets, batches[-1].offsets.end)
    return frozenset(markers)


class _Headers:
    """Reads batches without looking into them."""

    def __init__(self, topic: str, settings: KafkaSettings, timeout: float) -> None:
        from kafka.net.manager import KafkaConnectionManager
        from kafka.net.selector import NetworkSelector

        logging.getLogger("kafka").setLevel(logging.WARNING)  # it tells of every connection
        self._topic = topic
        self._timeout_ms = int(timeout * 1000)
        self._net = NetworkSelector()
        self._net.start()
        self._manager = KafkaConnectionManager(
            self._net,
            bootstrap_servers=settings.bootstrap_servers,
            client_id="etar-audit",
            request_timeout_ms=self._timeout_ms,
            receive_message_max_bytes=100_000_000,
        )
        self._manager.cluster.set_topics([topic])
        try:
            self._manager.bootstrap(self._timeout_ms)
        except Exception as error:
            self.close()
            raise self._unavailable(error) from error

    def since(self, partition: int, offset: int) -> list[Batch]:
        """Batches from the one that holds the offset, or the next one, on.

        Raises:
            KafkaUnavailableError: no answer, or no such batch.
        """
        from kafka.errors import for_code
        from kafka.record import MemoryRecords

        try:
            answer = self._manager.run(self._fetch, partition, offset)
        except Exception as error:
            raise self._unavailable(error) from error
        ((held,),) = ((topic.partitions) for topic in answer.responses)
        if held.error_code:
            raise self._unavailable(for_code(held.error_code).__name__)
        records, batches = MemoryRecords(held.records or b""), []
        while records.has_next():
            batch = records.next_batch()
            if batch.next_offset > offset:
                batches.append(Batch(Span(batch.base_offset, batch.next_offset), batch.is_control_batch))
        if not batches:
            raise self._unavailable(f"nothing at offset {offset} of partition {partition} or beyond")
        return batches

    async def _fetch(self, partition: int, offset: int) -> Any:
        from kafka.protocol.consumer import FetchRequest
        from kafka.structs import TopicPartition

        wanted = FetchRequest.FetchTopic.FetchPartition(
            partition=partition, fetch_offset=offset, partition_max_bytes=_FETCH_BYTES
        )
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=_FETCH_BYTES,
            isolation_level=_READ_UNCOMMITTED,
            topics=[FetchRequest.FetchTopic(topic=self._topic, partitions=[wanted])],
            # Later ones name a topic by its id.
            max_version=12,
        )
        leader = self._manager.cluster.leader_for_partition(TopicPartition(self._topic, partition))
        return await self._manager.send(request, node_id=leader)

    def close(self) -> None:
        self._manager.close()
        self._net.stop()

    def _unavailable(self, why: object) -> KafkaUnavailableError:
        return KafkaUnavailableError(f"Kafka does not show the log of {self._topic!r}: {why}")

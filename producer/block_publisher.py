"""Hands blocks of made-up records to Kafka, and counts them a block at a time.

A report of each record that arrives would cost as much as sending it. So only failures are reported, and a block is
counted once nothing of it is under way any more: what has not failed by then is acknowledged. Each record is given its
partition here, so that it is known how many went where (docs/decisions/0023-traffic-in-blocks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError, KafkaException, Producer

from producer.account import NO_PARTITION
from producer.avro_columns import as_objects
from producer.encoding import Encoding
from producer.event_log import EventLog
from producer.kinds import Draft, Kind
from producer.made_up import KINDS, RecordBlock
from producer.partitions import partitions_of
from producer.publisher import Queue, Stop, span_of
from producer.tally import Tally

_Report = Callable[..., None]
_GOOD = np.array([not kind.malformed for kind in KINDS])


class BlockPublisher:
    """Sends blocks to one topic, one at a time. Every record of them ends in the tally, acknowledged or failed, after
    :meth:`close`.

    Args:
        producer: configured by :func:`producer.publisher.producer_configuration`, to report all where there is an event
            log, and only failures where there is none.
        encoding: from :func:`producer.wire.open_encoding`.
        partitions: how many the topic has.
    """

    def __init__(
        self,
        producer: Producer,
        topic: str,
        encoding: Encoding,
        *,
        partitions: int,
        tally: Tally,
        stop: Stop,
        event_log: EventLog | None = None,
    ) -> None:
        self._queue = Queue(producer, stop)
        self._producer = producer
        self._topic = topic
        self._encoding = encoding
        self._partitions = partitions
        self._tally = tally
        self._stop = stop
        self._event_log = event_log
        self._random = np.random.default_rng()
        self._under_way: _UnderWay | None = None

    def send(self, block: RecordBlock) -> int | None:
        """Hand over a block, once the one before it is counted, waiting while the queue is full; how many records it
        had. None: stopped first; records before that were handed over."""
        while not self._settled(self._queue.is_empty()):
            if self._stop.requested:
                return None
        partitions = partitions_of(block.hashes, self._partitions, self._random)
        sent = self._under_way = _UnderWay(
            block, partitions, self._partitions, self._encoding, self._tally, self._event_log
        )
        produce, topic, reports = self._producer.produce, self._topic, sent.reports(block.malformed)
        rows = zip(block.values, block.keys, partitions.tolist(), reports, strict=True)
        for value, key, partition, report in rows:
            while True:
                try:
                    produce(topic, value, key, partition, report)
                except BufferError:
                    if not self._queue.wait_for_room():
                        sent.end_before(len(block.values) - 1 - sum(1 for _ in rows))
                        return None
                    continue
                except KafkaException as error:
                    report(error.args[0], _Refused(value))
                break
        return len(block.values)

    def wait(self, seconds: float) -> None:
        """Wait for up to ``seconds``; returns early once a block is counted."""
        if self._under_way:
            self._settled(self._queue.is_empty(seconds))
        else:
            self._producer.poll(seconds)

    def close(self, stop_timeout: timedelta) -> None:
        """As :meth:`producer.publisher.Queue.empty`."""
        self._queue.empty(stop_timeout)
        self._settled(True)
        if self._event_log:
            self._event_log.flush()

    def _settled(self, empty: bool) -> bool:
        """Count the block that was under way, if nothing is any more."""
        if empty and self._under_way:
            self._under_way.settle()
            self._under_way = None
        return empty


class _Refused(NamedTuple):
    """In place of the message of a report, of a record that the client did not take."""

    content: bytes | None

    def value(self) -> bytes | None:
        return self.content

    def partition(self) -> None:
        return None


class _UnderWay:
    """A block that has been handed over, and what has failed of it."""

    def __init__(  # noqa: PLR0917
        self,
        block: RecordBlock,
        partitions: npt.NDArray[np.int64],
        of_topic: int,
        encoding: Encoding,
        tally: Tally,
        event_log: EventLog | None,
    ) -> None:
        # Not the block: keys and values are the client's now, and the next block's may stand where they stood.
        self._kinds, self._happened = block.kinds, block.happened
        self._codes = block.kinds * np.int64(of_topic) + partitions
        self._groups = as_objects(
            [
                _Group(KINDS[code // of_topic], code % of_topic, count, encoding, tally, event_log)
                for code, count in enumerate(np.bincount(self._codes, minlength=1).tolist())
            ]
        )
        self._tally = tally
        for kind, records in self._by_kind(0).items():
            tally.made(kind, records)

    def reports(self, malformed: Mapping[int, Draft]) -> list[_Report]:
        """What takes the report of each record."""
        reports: list[_Report] = self._groups[self._codes].tolist()
        for row, draft in malformed.items():
            reports[row] = partial(reports[row], draft=draft)
        return reports

    def end_before(self, row: int) -> None:
        """Those from ``row`` on were not handed over."""
        for kind, records in self._by_kind(row).items():
            self._tally.withdrawn(kind, records)
        for code in self._codes[row:].tolist():
            self._groups[code].left -= 1
        self._kinds, self._happened = self._kinds[:row], self._happened[:row]

    def settle(self) -> None:
        """Count those that have not failed as acknowledged."""
        failed = [happened for group in self._groups for happened in group.failed]
        times = self._happened[_GOOD[self._kinds]]
        if span := span_of(times, failed):
            self._tally.seen(*span)
        for group in self._groups:
            if group.left:
                self._tally.acknowledged(group.kind, group.partition, group.left)

    def _by_kind(self, first: int) -> dict[Kind, int]:
        """How many there are of each kind, from a row on."""
        counts = np.bincount(self._kinds[first:], minlength=len(KINDS)).tolist()
        return {kind: count for kind, count in zip(KINDS, counts, strict=True) if count}


class _Group:
    """Records of a block that are of one kind and go to one partition; takes their reports."""

    def __init__(  # noqa: PLR0917
        self,
        kind: Kind,
        partition: int,
        records: int,
        encoding: Encoding,
        tally: Tally,
        event_log: EventLog | None,
    ) -> None:
        self.kind = kind
        self.partition = partition
        self.left = records
        """Those that have not failed."""
        self.failed: list[int] = []
        """When those that have failed happened, in milliseconds since the epoch; none of malformed ones."""
        self._encoding = encoding
        self._tally = tally
        self._event_log = event_log

    def __call__(self, error: KafkaError | None, message: Any, draft: Draft | None = None) -> None:
        """Take the report of a record; of a malformed one ``draft`` says what it is."""
        if error is not None:
            partition = message.partition()
            self._tally.failed(self.kind, NO_PARTITION if partition is None else partition, error)
            self.left -= 1
            if draft is None:
                self.failed.append(self._draft(message).happened)
        elif self._event_log:
            self._event_log.add(draft or self._draft(message), message.partition(), message.offset())

    def _draft(self, message: Any) -> Draft:
        event = self._encoding.event_of(message.value())
        return Draft(self.kind, event, self._encoding.time_of(event))

"""What one worker counts while it runs, in memory that outlives it: a worker killed with -9 leaves an exact account."""

from __future__ import annotations

import mmap
import os

from confluent_kafka import KafkaError

from producer.account import Counts, Outcome
from producer.kinds import Kind

_KINDS = tuple(Kind)
_PLACES = {kind: place for place, kind in enumerate(_KINDS)}

# The memory is 64-bit words: records made of each kind, the seven words below, and a row of four words for each (kind,
# partition, error code) that was met: these three, and how many. A count is one word, written in one go: there is no
# moment at which a kill would leave it half done.
_REJECTED, _DISBELIEVED, _READ, _TIMED, _FIRST, _LAST, _ROWS = range(len(_KINDS), len(_KINDS) + 7)
_TABLE = _ROWS + 1
_ROW_WORDS = 4
_BYTES = 8 * 1024 * 1024
"""Room for every kind in each of 20,000 partitions; only what is written to takes memory."""

_NO_ERROR: int = KafkaError.NO_ERROR


def shared_memory() -> int:
    """Descriptor of memory for one worker's tally. The memory is gone when no process holds it any more."""
    descriptor = os.memfd_create("etar-tally")
    os.ftruncate(descriptor, _BYTES)
    return descriptor


class Tally:
    """The counts of one worker; :meth:`counts` is what they are at that moment.

    One process writes. Others that hold the same memory see what it has counted, also after it was killed.

    Args:
        descriptor: from :func:`shared_memory`; may be closed afterwards. -1: memory of this process alone.
    """

    def __init__(self, descriptor: int = -1) -> None:
        self._words = memoryview(mmap.mmap(descriptor, _BYTES)).cast("q")
        self._rows: dict[tuple[Kind, int, int], int] = {}

    def made(self, kind: Kind, records: int = 1) -> None:
        """Count records that are about to be handed to Kafka's client.

        Before and not after: the client sends on its own, and a record that Kafka holds must not be unknown here.
        """
        self._words[_PLACES[kind]] += records

    def withdrawn(self, kind: Kind, records: int = 1) -> None:
        """Take back what :meth:`made` counted: the client did not take it."""
        self._words[_PLACES[kind]] -= records

    def acknowledged(self, kind: Kind, partition: int, records: int = 1) -> None:
        self._count(kind, partition, _NO_ERROR, records)

    def failed(self, kind: Kind, partition: int, error: KafkaError) -> None:
        self._count(kind, partition, error.code(), 1)

    def seen(self, first: int, last: int) -> None:
        """Take note of the earliest and the latest of some acknowledged events, in milliseconds since the epoch."""
        words = self._words
        if not words[_TIMED]:
            words[_FIRST], words[_LAST] = first, last
            words[_TIMED] = 1
            return
        words[_FIRST] = min(words[_FIRST], first)
        words[_LAST] = max(words[_LAST], last)

    def rejected(self) -> None:
        """Count a line of the input file that is no event."""
        self._words[_REJECTED] += 1

    def disbelieved(self) -> None:
        """Count an event of the input file whose time the pipeline refuses."""
        self._words[_DISBELIEVED] += 1

    def read(self, size: int) -> None:
        """Take note of how many bytes of the input files have been read by now."""
        self._words[_READ] = size

    @property
    def bytes_read(self) -> int:
        return self._words[_READ]

    def counts(self) -> Counts:
        words = self._words
        by_kind: dict[Kind, Outcome] = {}
        by_partition: dict[int, Outcome] = {}
        failures: dict[str, int] = {}
        for row in range(words[_ROWS]):
            start = _TABLE + row * _ROW_WORDS
            place, partition, code, number = words[start : start + _ROW_WORDS]
            if code == _NO_ERROR:
                outcome = Outcome(acknowledged=number)
            else:
                outcome = Outcome(failed=number)
                error = KafkaError(code).name()
                failures[error] = failures.get(error, 0) + number
            kind = _KINDS[place]
            by_kind[kind] = by_kind.get(kind, Outcome()) + outcome
            by_partition[partition] = by_partition.get(partition, Outcome()) + outcome
        return Counts(
            generated={kind: words[place] for kind, place in _PLACES.items() if words[place]},
            kinds=by_kind,
            partitions=by_partition,
            failures=failures,
            rejected=words[_REJECTED],
            disbelieved=words[_DISBELIEVED],
            first_event_time=words[_FIRST] if words[_TIMED] else None,
            last_event_time=words[_LAST] if words[_TIMED] else None,
        )

    def _count(self, kind: Kind, partition: int, code: int, records: int) -> None:
        key = kind, partition, code
        at = self._rows.get(key)
        if at is None:
            at = self._rows[key] = self._new_row(key)
        self._words[at] += records

    def _new_row(self, key: tuple[Kind, int, int]) -> int:
        """Where the new row's count is. The row counts as there only once it is whole."""
        words = self._words
        start = _TABLE + words[_ROWS] * _ROW_WORDS
        words[start], words[start + 1], words[start + 2] = _PLACES[key[0]], key[1], key[2]
        words[_ROWS] += 1
        return start + 3

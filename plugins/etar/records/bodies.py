"""Values of many records in one buffer, read side by side: a step reads the same field of all of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etar.records.batch import Batch, Flags, Integers
from etar.records.framing import HEADER_BYTES

_SLACK = 1 << 16
"""Bytes behind the last value, so that whatever is read of a broken record is in the buffer."""

MOST_STEPS = 1_000
"""Fields and branches that a record may have: a step goes at most 18 bytes past a broken record's end."""

_LARGEST = (1 << 31) - 1 - _SLACK
"""Bytes of a buffer: Arrow has 32 bits for a place in it."""

_ENDS = np.uint64(0x8080808080808080)
"""In each byte of a number but its last, this bit is set."""


@dataclass(frozen=True)
class Bodies:
    """Values of a batch, one after the other.

    ``identifiers``: the schema's id in front of each value; 0 where there is none, or where headers may name another.
    """

    data: npt.NDArray[np.uint8]
    begins: Integers
    ends: Integers
    identifiers: Integers

    @classmethod
    def of(cls, batch: Batch) -> Self | None:
        """None where they do not fit into one buffer."""
        values = [value or b"" for value in batch.values]
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        ends = sizes.cumsum()
        if len(ends) and ends[-1] > _LARGEST:
            return None
        data = np.frombuffer(b"".join([*values, bytes(_SLACK)]), np.uint8)
        begins = ends - sizes
        header = _windows(data, np.dtype((np.void, HEADER_BYTES)))[begins].view(np.uint8).reshape(-1, HEADER_BYTES)
        identifiers = header[:, 1:].copy().view(">u4").ravel().astype(np.int64)
        identifiers[(header[:, 0] != 0) | (sizes < HEADER_BYTES) | batch.headed] = 0
        return cls(data, begins, ends, identifiers)

    def at(self, places: Integers) -> Lanes:
        """The bodies of the records at these places, in ascending order."""
        return Lanes(self.data, self.begins[places] + HEADER_BYTES, self.ends[places])


class Lanes:
    """Bodies that are read side by side.

    ``good``: those in which nothing was met so far that is not as it nearly always is. What is read of the others means
    nothing, and is in the buffer all the same.
    """

    def __init__(self, data: npt.NDArray[np.uint8], at: Integers, ends: Integers) -> None:
        """``at``, ``ends``: where each is being read, and where it ends; one is before the other in the buffer."""
        self._data = data
        self._at = at
        self._ends = ends
        self.good: Flags = np.ones(len(at), np.bool_)

    def __len__(self) -> int:
        return len(self._at)

    def at_end(self) -> Flags:
        """Which have been read exactly to their end."""
        return np.equal(self._at, self._ends)

    def some(self, chosen: Integers) -> Lanes:
        """These of them, to be read on by themselves until :meth:`join`."""
        lanes = Lanes(self._data, self._at[chosen], self._ends[chosen])
        lanes.good = self.good[chosen]
        return lanes

    def join(self, chosen: Integers, lanes: Lanes) -> None:
        self._at[chosen] = lanes._at
        self.good[chosen] = lanes.good

    def doubt(self, doubted: Flags) -> None:
        self.good &= ~doubted

    def integers(self) -> Integers:
        """Of Avro's int or long; those of ten bytes are doubted."""
        first = self._data[self._at]
        if not (first > 0x7F).any():
            self._at = self._at + 1
            number = first.astype(np.int64)
        else:
            word = _windows(self._data, np.dtype("<u8"))[self._at]
            ends = ~word & _ENDS
            below = (ends & -ends) - np.uint64(1)
            number = _seven_of_eight(word & below).view(np.int64)
            at = self._at + ((np.bitwise_count(below).astype(np.int64) + 1) >> 3)
            longer = np.flatnonzero(ends == 0)
            ninth = self._data[at[longer]].astype(np.int64)
            number[longer] |= ninth << 56
            at[longer] += 1
            self.good[longer] &= ninth < 0x80
            self._at = at
        return (number >> 1) ^ -(number & 1)

    def booleans(self) -> Flags:
        byte = self._data[self._at]
        self.doubt(byte > 1)
        self._at = self._at + 1
        return np.equal(byte, 1)

    def fixed(self, size: int) -> Spans:
        """Bytes of a number that is the same for all."""
        found = self._skip(np.full(len(self), size))
        self.doubt(found.sizes != size)
        return found

    def spans(self) -> Spans:
        """Of Avro's string or bytes."""
        sizes = self.integers()
        broken = (sizes < 0) | (sizes > self._ends - self._at)
        self.doubt(broken)
        return self._skip(np.where(broken, 0, sizes))

    def _skip(self, sizes: Integers) -> Spans:
        """None of a body that ends before."""
        begins = np.minimum(self._at, self._ends)
        sizes = np.where(sizes > self._ends - self._at, 0, sizes)
        self._at = self._at + sizes
        return Spans(self._data, begins, sizes)


@dataclass(frozen=True)
class Spans:
    """Bytes of each lane: where they begin, and how many there are."""

    data: npt.NDArray[np.uint8]
    begins: Integers
    sizes: Integers

    def arrow(self) -> pa.Array:
        """As Arrow's binary."""
        count = len(self.begins)
        if not count:
            return pa.array([], pa.binary())
        # In the buffer a gap follows each of them, up to the next: with the gaps they are an Arrow array as they lie.
        offsets = np.empty((count, 2), np.int32)
        offsets[:, 0] = self.begins
        offsets[:, 1] = self.begins + self.sizes
        with_gaps = pa.Array.from_buffers(
            pa.binary(), 2 * count - 1, [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        )
        return with_gaps.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32)))

    def rows(self, size: int) -> npt.NDArray[np.uint8]:
        """As many bytes of each, whatever there are: one row each."""
        kind = np.dtype((np.void, size))
        return _windows(self.data, kind)[self.begins].view(np.uint8).reshape(-1, size)

    def integers(self) -> Integers:
        """Of signed numbers of one to eight bytes, the first the highest."""
        highest = _windows(self.data, np.dtype(">u8"))[self.begins].astype(np.uint64).view(np.int64)
        shifted: Integers = highest >> (64 - 8 * self.sizes.clip(1, 8))
        return shifted


def _windows(data: npt.NDArray[np.uint8], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """What a value of this type would be at each place of the buffer."""
    return np.ndarray((len(data) - kind.itemsize + 1,), kind, data, strides=(1,))


def _seven_of_eight(word: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The lower seven bits of each byte, put together: of two neighbours each, then of two pairs, then of two fours."""
    for shift, (lower, upper) in enumerate(_NEIGHBOURS):
        word = (word & lower) | ((word & upper) >> np.uint64(1 << shift))
    return word


_NEIGHBOURS = [
    (np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000)),
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000)),
]

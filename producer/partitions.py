"""Which partition a key's records go to: the one of Java's client, so that events of one key meet whoever sends them.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NO_KEY = -1
"""In place of the hash of a key that there is not."""

_SEED = np.uint32(0x9747B28C)
_M = np.uint32(0x5BD1E995)
_POSITIVE = np.uint32(0x7FFFFFFF)
_WORD = 4


def partitions_of(hashes: npt.NDArray[np.int64], partitions: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """The partition of each key by its hash, from 0 on; any, where there is no key."""
    without = np.flatnonzero(hashes == NO_KEY)
    found = hashes % partitions
    found[without] = random.integers(0, partitions, len(without))
    return found


def hashes_of(keys: Sequence[bytes | None]) -> npt.NDArray[np.int64]:
    """What each key's partition follows from; :data:`NO_KEY` of None."""
    lengths = np.array([NO_KEY if key is None else len(key) for key in keys], np.int64)
    found = np.full(len(keys), NO_KEY, np.int64)
    for length in np.unique(lengths[lengths != NO_KEY]).tolist():
        rows = np.flatnonzero(lengths == length)
        content = b"".join([keys[row] or b"" for row in rows.tolist()])
        found[rows] = positive(murmur2(np.frombuffer(content, np.uint8).reshape(len(rows), length)))
    return found


def positive(hashes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """As Java's client makes a hash a number that is not negative."""
    return (hashes & _POSITIVE).astype(np.int64)


def murmur2(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The hash of each row's bytes, as Kafka's clients compute it."""
    rows, length = keys.shape
    whole = length // _WORD * _WORD
    words = np.ascontiguousarray(keys[:, :whole]).view("<u4")
    found = np.full(rows, _SEED ^ np.uint32(length), np.uint32)
    for word in words.T:
        mixed = word * _M
        mixed ^= mixed >> 24
        found *= _M
        found ^= mixed * _M
    if length > whole:
        for place in range(length - 1, whole - 1, -1):
            found ^= keys[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        found *= _M
    found ^= found >> 13
    found *= _M
    found ^= found >> 15
    return found

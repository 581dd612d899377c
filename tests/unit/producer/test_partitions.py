"""Which partition a key goes to."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from etar.rows.blocks import chance_of
from producer.partitions import hashes_of, murmur2, partitions_of


@pytest.mark.parametrize(
    ("key", "found"),
    [
        # Of Kafka's own test, org.apache.kafka.common.utils.UtilsTest.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_hash_is_that_of_kafkas_java_client(key: bytes, found: int) -> None:
    hashed = murmur2(np.frombuffer(key, np.uint8).reshape(1, -1))
    assert hashed.view(np.int32).tolist() == [found]


def test_keys_of_every_length_are_each_in_the_partition_of_their_own() -> None:
    chance = chance_of("keys")
    keys = [chance.bytes(int(size)) for size in chance.integers(0, 20, 500)]
    alone = [int(partitions_of(hashes_of([key]), 7, chance)[0]) for key in keys]
    assert partitions_of(hashes_of(keys), 7, chance).tolist() == alone
    assert set(alone) == set(range(7))


def test_a_record_without_a_key_is_in_any_partition_and_the_others_in_theirs() -> None:
    chance = chance_of("none")
    keys = [None, b"foobar"] * 3000
    found = partitions_of(hashes_of(keys), 3, chance).tolist()
    assert set(found[1::2]) == {(-790332482 & 0x7FFFFFFF) % 3}
    without = Counter(found[::2])
    assert without.keys() == {0, 1, 2}
    assert min(without.values()) > 800


def test_no_keys_have_no_partitions() -> None:
    assert partitions_of(hashes_of([]), 3, chance_of("none")).tolist() == []

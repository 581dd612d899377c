"""ClickHouse's native block framing: whatever is wrong with a body is noticed."""

import struct

import lz4.block
import pytest
import zstandard
from clickhouse_cityhash.cityhash import CityHash128
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.chdb_http.blocks import MAX_BLOCK, BlockWriter
from stack.chdb_http.errors import (
    CANNOT_DECOMPRESS,
    CANNOT_READ_ALL_DATA,
    CHECKSUM_DOESNT_MATCH,
    NOT_IMPLEMENTED,
    TOO_LARGE_SIZE_COMPRESSED,
    UNKNOWN_COMPRESSION_METHOD,
    FrontError,
)
from stack.chdb_http.framing import BodyDecoder

# What com.clickhouse:client-v2 sent for these rows, recorded on the wire: 0.9.5 compresses by LZ4, 0.11.0 by ZSTD.
ROWS = b"".join(struct.pack("<Q", number) + b"\x02ab" for number in range(5))
RECORDED = {
    "LZ4": (
        b"\xfa\xe8\x84B>\x97\x9b\x0c \xeb%H\x91\x99\xcfT\x82(\x00\x00\x007\x00\x00\x00\x13\x00\x01\x00F\x02ab\x01"
        b"\x0b\x00\x16\x02\x0b\x00\x16\x03\x0b\x00\xb0\x04\x00\x00\x00\x00\x00\x00\x00\x02ab"
    ),
    "ZSTD": (
        b"<[#\x05\x898\xac_7Qp\x94}\x02\x92D\x904\x00\x00\x007\x00\x00\x00(\xb5/\xfd 7\x15\x01\x00\xc8\x00\x00\x02ab"
        b"\x01\x00\x02ab\x02\x00\x02ab\x03\x00\x02ab\x04\x00\x02ab\x05\x14\x00\x03Zk\x8d\x05"
    ),
}
BODIES = st.lists(st.binary(max_size=300), min_size=1, max_size=5)


def block(method: int, packed: bytes, size: int) -> bytes:
    body = struct.pack("<BII", method, 9 + len(packed), size) + packed
    number = CityHash128(body)
    return struct.pack("<QQ", number >> 64, number & (1 << 64) - 1) + body


def decode(body: bytes, step: int = 1 << 20) -> bytes:
    decoder = BodyDecoder("", blocks=True)
    out = b"".join(piece for at in range(0, len(body), step) for piece in decoder.feed(body[at : at + step]))
    decoder.close()
    return out


def encode(pieces: list[bytes]) -> bytes:
    writer = BlockWriter()
    return b"".join(writer.compress(piece) for piece in pieces) + writer.flush()


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_what_the_java_client_sends_is_read(recorded):
    assert decode(recorded) == ROWS
    assert decode(recorded * 3, step=7) == ROWS * 3


@given(pieces=BODIES, step=st.integers(1, 400))
def test_blocks_are_read_as_they_were_written(pieces, step):
    assert decode(encode(pieces), step) == b"".join(pieces)


@given(data=st.binary(max_size=5000))
def test_all_methods_are_read(data):
    packed = {0x82: lz4.block.compress(data, store_size=False), 0x90: zstandard.compress(data), 0x02: data}
    body = b"".join(block(method, content, len(data)) for method, content in packed.items())
    assert decode(body, 100) == data * 3


@settings(max_examples=20)
@given(pieces=BODIES, change=st.integers(1, 255))
def test_a_change_of_any_byte_is_noticed(pieces, change):
    body = bytearray(encode(pieces))
    for at in range(len(body)):
        body[at] ^= change
        with pytest.raises(FrontError):
            decode(bytes(body))
        body[at] ^= change


@settings(max_examples=20)
@given(pieces=BODIES)
def test_a_cut_inside_a_block_is_noticed(pieces):
    blocks = [encode([piece]) for piece in pieces]
    whole = b"".join(blocks[:-1])
    for length in range(1, len(blocks[-1])):
        with pytest.raises(FrontError, match="ends inside a native block") as refused:
            decode(whole + blocks[-1][:length])
        assert (refused.value.code, refused.value.status) == (CANNOT_READ_ALL_DATA, 400)
    # Between two blocks nothing tells; there HTTP's own end of the body does.
    assert decode(whole) == b"".join(pieces[:-1])


def test_a_wrong_checksum_hands_nothing_on():
    body = bytearray(encode([b"first", b"second"]))
    body[-1] ^= 1
    decoder = BodyDecoder("", blocks=True)
    pieces: list[bytes] = []
    with pytest.raises(FrontError, match="does not match its checksum") as refused:
        pieces += decoder.feed(bytes(body[len(encode([b"first"])) :]))
    assert (refused.value.code, pieces) == (CHECKSUM_DOESNT_MATCH, [])


@pytest.mark.parametrize(
    ("method", "packed", "size", "code"),
    [
        (0x82, lz4.block.compress(b"abc" * 10, store_size=False), 29, CANNOT_DECOMPRESS),
        (0x82, lz4.block.compress(b"abc" * 10, store_size=False), 31, CANNOT_DECOMPRESS),
        (0x82, b"\xff" * 20, 100, CANNOT_DECOMPRESS),
        (0x90, zstandard.compress(b"abc" * 10), 29, CANNOT_DECOMPRESS),
        (0x90, zstandard.compress(b"abc" * 10), 31, CANNOT_DECOMPRESS),
        (0x90, zstandard.compress(bytes(64 << 20)), 100, CANNOT_DECOMPRESS),
        (0x90, b"not zstd", 8, CANNOT_DECOMPRESS),
        (0x02, b"abc", 4, CANNOT_DECOMPRESS),
        (0x91, b"abc", 3, UNKNOWN_COMPRESSION_METHOD),
        (0x82, b"", MAX_BLOCK + 1, TOO_LARGE_SIZE_COMPRESSED),
    ],
)
def test_a_block_that_says_other_than_it_holds_is_refused(method, packed, size, code):
    with pytest.raises(FrontError) as refused:
        decode(block(method, packed, size))
    assert (refused.value.code, refused.value.status) == (code, 400)


def test_of_a_zstd_block_no_more_is_unpacked_than_it_says():
    # Where it is unpacked to its end, it breaks there.
    whole = zstandard.compress(bytes(range(256)) * 8192)
    cut = whole[:-4] + bytes(4)
    with pytest.raises(zstandard.ZstdError):
        zstandard.decompress(cut)
    with pytest.raises(FrontError, match="does not hold the 10 bytes that it says"):
        decode(block(0x90, cut, 10))


@pytest.mark.parametrize("block_size", [0, 8, MAX_BLOCK + 1, (1 << 32) - 1])
def test_a_block_of_an_impossible_size_is_refused_at_its_head(block_size):
    with pytest.raises(FrontError, match="too large, or not in") as refused:
        list(BodyDecoder("", blocks=True).feed(bytes(16) + struct.pack("<BII", 0x82, block_size, 10)))
    assert refused.value.code == TOO_LARGE_SIZE_COMPRESSED


def test_the_largest_block_is_read():
    data = bytes(MAX_BLOCK)
    assert decode(encode([data]), step=65536) == data


def test_an_empty_body_is_one_of_no_blocks():
    assert decode(b"") == b""
    assert encode([]) == b""


def test_blocks_in_a_content_encoding_are_refused():
    with pytest.raises(FrontError) as refused:
        BodyDecoder("gzip", blocks=True)
    assert refused.value.code == NOT_IMPLEMENTED

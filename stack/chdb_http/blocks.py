"""ClickHouse's native block framing: what its Java clients ask for with ``compress=1`` and send with ``decompress=1``.

A body is a sequence of blocks, numbers little endian::

    16 bytes  CityHash128 of the rest of the block, the high half first
     1 byte   method: 0x82 LZ4, 0x90 ZSTD, 0x02 not compressed
     4 bytes  size of the block without the checksum
     4 bytes  size of the data
     …        the data, compressed

Source: ClickHouse, src/Compression/CompressedReadBufferBase.cpp.
"""

from __future__ import annotations

import struct

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from stack.chdb_http.errors import (
    CANNOT_DECOMPRESS,
    CHECKSUM_DOESNT_MATCH,
    TOO_LARGE_SIZE_COMPRESSED,
    UNKNOWN_COMPRESSION_METHOD,
    FrontError,
)

_CHECKSUM = struct.Struct("<QQ")
_HEADER = struct.Struct("<BII")
_PLAIN, _LZ4, _ZSTD = 0x02, 0x82, 0x90

MAX_BLOCK = 16 << 20
"""Bytes that a block may measure, compressed or not; clients cut theirs at 1 MiB or below."""


class BlockReader:
    """One block of a request's body, read in the manner of ``framing.Frame``: all of it at once, as it is checked."""

    needs_input = True

    def __init__(self) -> None:
        self._held = bytearray()
        self.eof = False
        self.unused_data = b""

    def decompress(self, data: bytes, _max_length: int) -> bytes:
        """The data of the block once all of it is there, until then nothing. Raises FrontError for a broken one."""
        self._held += data
        if len(self._held) < _CHECKSUM.size + _HEADER.size:
            return b""
        method, block_size, size = _HEADER.unpack_from(self._held, _CHECKSUM.size)
        if not _HEADER.size <= block_size <= MAX_BLOCK or size > MAX_BLOCK:
            says = f"says that it has {block_size} bytes and unpacks to {size}, where {MAX_BLOCK} is the most"
            raise _refused(TOO_LARGE_SIZE_COMPRESSED, f"{says}: it is too large, or not in ClickHouse's native framing")
        end = _CHECKSUM.size + block_size
        if len(self._held) < end:
            return b""
        self.eof, self.unused_data = True, bytes(self._held[end:])
        block = bytes(self._held[_CHECKSUM.size : end])
        if self._held[: _CHECKSUM.size] != _checksum(block):
            raise _refused(CHECKSUM_DOESNT_MATCH, "does not match its checksum")
        return _unpack(method, block[_HEADER.size :], size)


class BlockWriter:
    """A response's body in blocks, in the manner of ``framing.Encoder``: one for every piece of the result."""

    def compress(self, data: bytes) -> bytes:
        packed = lz4.block.compress(data, store_size=False)
        block: bytes = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(data)) + packed
        return _checksum(block) + block

    def push(self) -> bytes:
        return b""

    def flush(self) -> bytes:
        return b""


def _unpack(method: int, packed: bytes, size: int) -> bytes:
    """Never more than ``size`` bytes and one, whatever the compressed data says of itself."""
    try:
        if method == _LZ4:
            data = bytes(lz4.block.decompress(packed, uncompressed_size=size))
        elif method == _ZSTD:
            data = zstandard.ZstdDecompressor(max_window_size=MAX_BLOCK).stream_reader(packed).read(size + 1)
        elif method == _PLAIN:
            data = packed
        else:
            known = "LZ4 (0x82) or ZSTD (0x90)"
            raise _refused(UNKNOWN_COMPRESSION_METHOD, f"is compressed by method 0x{method:02x}; use {known}")
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise _refused(CANNOT_DECOMPRESS, f"cannot be decompressed: {error}") from error
    if len(data) != size:
        raise _refused(CANNOT_DECOMPRESS, f"does not hold the {size} bytes that it says")
    return data


def _checksum(block: bytes) -> bytes:
    number: int = CityHash128(block)
    return _CHECKSUM.pack(number >> 64, number & (1 << 64) - 1)


def _refused(code: int, what: str) -> FrontError:
    return FrontError(code, f"A block of the body {what}; nothing was inserted", status=400)

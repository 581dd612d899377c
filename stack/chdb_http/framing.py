"""Bytes on the wire: request bodies of many compressed frames, response bodies of one, and the exception trailer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import lz4.frame
import zstandard

from stack.chdb_http.blocks import BlockReader
from stack.chdb_http.errors import CANNOT_READ_ALL_DATA, NOT_IMPLEMENTED, UNKNOWN_COMPRESSION_METHOD, FrontError

PIECE = 1 << 20
"""Decoded bytes handed on at a time: a small body that unpacks to gigabytes never does so in memory."""

_ZSTD_SLICE = 256
"""zstandard has no limit on what one call returns, so it is fed little: at worst 128 KiB a 4 bytes of input, 8 MiB."""


class Frame(Protocol):
    """One compressed frame being decoded, in the manner of ``bz2.BZ2Decompressor``."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _GzipFrame:
    needs_input = True

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        # A full answer may leave more inside zlib even when all input is consumed.
        self.needs_input = not self._inflate.unconsumed_tail and len(out) < max_length
        return out

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data


class _ZstdFrame:
    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._waiting = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        waiting, at = memoryview(self._waiting + data), 0
        out = bytearray()
        while at < len(waiting) and not self._frame.eof and len(out) < max_length:
            out += self._frame.decompress(waiting[at : at + _ZSTD_SLICE])
            at += _ZSTD_SLICE
        self._waiting = bytes(waiting[at:])
        return bytes(out)

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data + self._waiting


_FRAMES: dict[str, Callable[[], Frame]] = {
    "gzip": _GzipFrame,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": _ZstdFrame,
}
_BROKEN = (RuntimeError, zlib.error, zstandard.ZstdError, EOFError)


class BodyDecoder:
    """Undoes a request's Content-Encoding, or its native ``blocks``, over as many frames as the body holds.

    clickhouse-connect sends each insert block as a frame of its own. A decoder stops at the end of its first frame
    without a word, so every frame gets a new one, and a frame still open at the end of the body is an error.
    """

    def __init__(self, encoding: str, *, blocks: bool = False) -> None:
        if encoding not in {"", "identity", *_FRAMES}:
            supported = ", ".join(_FRAMES)
            raise FrontError(
                UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding {encoding!r} is not supported; use one of {supported}"
            )
        if blocks and encoding in _FRAMES:
            raise FrontError(NOT_IMPLEMENTED, f"A body of native blocks (decompress=1) in {encoding} is not supported")
        self._encoding = "native block" if blocks else encoding
        self._new_frame = BlockReader if blocks else _FRAMES.get(encoding)
        self._frame: Frame | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of about ``PIECE`` bytes at most. Raises FrontError where the data is not of the encoding."""
        if self._new_frame is None:
            yield data
            return
        while data or self._frame is not None:
            frame = self._frame = self._frame or self._new_frame()
            try:
                piece = frame.decompress(data, PIECE)
            except _BROKEN as error:
                raise FrontError(
                    CANNOT_READ_ALL_DATA, f"The body is not valid {self._encoding}: {error}", status=400
                ) from error
            if piece:
                yield piece
            data = b""
            if frame.eof:
                data, self._frame = frame.unused_data or b"", None
            elif frame.needs_input:
                return

    def close(self) -> None:
        """To be called at the end of the body. Raises FrontError where a frame is still open."""
        if self._frame is not None:
            raise FrontError(
                CANNOT_READ_ALL_DATA, f"The body ends inside a {self._encoding} frame; nothing was inserted", status=400
            )


class Encoder(Protocol):
    """One response body being compressed; clients decode exactly one frame."""

    def compress(self, data: bytes) -> bytes: ...

    def push(self) -> bytes:
        """What is still held back; the frame stays open, and what reads it knows that it is not whole."""

    def flush(self) -> bytes:
        """The end of the frame."""


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._head: bytes = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._frame.compress(data))

    def push(self) -> bytes:
        return b""

    def flush(self) -> bytes:
        return self._head + bytes(self._frame.flush())


class _ZstdEncoder:
    def __init__(self) -> None:
        self._frame = zstandard.ZstdCompressor(level=1).compressobj()
        self.compress, self.flush = self._frame.compress, self._frame.flush

    def push(self) -> bytes:
        return self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


class _GzipEncoder:
    def __init__(self) -> None:
        self._frame = zlib.compressobj(level=3, wbits=31)
        self.compress, self.flush = self._frame.compress, self._frame.flush

    def push(self) -> bytes:
        return self._frame.flush(zlib.Z_SYNC_FLUSH)


# In the order of preference, which is ClickHouse's.
_ENCODERS: dict[str, Callable[[], Encoder]] = {"lz4": _Lz4Encoder, "zstd": _ZstdEncoder, "gzip": _GzipEncoder}


def choose_encoding(accept_encoding: str) -> str | None:
    """The response encoding for an Accept-Encoding header, None for plain."""
    offered = {part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((name for name in _ENCODERS if name in offered), None)


def new_encoder(encoding: str) -> Encoder:
    """An encoder for one of the names that ``choose_encoding`` returns."""
    return _ENCODERS[encoding]()


def exception_trailer(tag: str, message: str) -> bytes:
    """What follows the bytes of a result that failed on the way; ``tag`` was announced in a header.

    Source: ClickHouse, WriteBufferFromHTTPServerResponse::cancelWithException; at most 16 KiB in all.
    """
    text = message.encode()[: 15 * 1024] + b"\n"
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag.encode(), text, len(text), tag.encode())

"""Results on their way: from the engine through a pipe to the client, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.types import Send

from stack.chdb_http.engine import Progress
from stack.chdb_http.errors import FrontError
from stack.chdb_http.framing import PIECE, Encoder, exception_trailer

_IN_MEMORY = 4 << 20
"""Bytes of a held-back response that stay in memory; the rest goes to a temporary file."""

_HELD_BACK = 1 << 20
"""Bytes of result held back before the status is sent, as in ClickHouse: an error among them is a clean error."""


@contextlib.asynccontextmanager
async def piped(
    write: Callable[[int], Awaitable[Progress]],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.Future[Progress]]]:
    """Run ``write`` with the writing end of a pipe; yields what it writes, and its outcome.

    The writer is slowed down to the reader's pace. Leaving early closes the pipe and cancels ``write``, which must
    not return before nothing uses the descriptor any more.
    """
    read_end, write_end = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # beyond what this user may have: the default size does
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIECE)
    reader = asyncio.StreamReader(limit=PIECE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )

    async def run() -> Progress:
        try:
            return await write(write_end)
        finally:
            os.close(write_end)  # the reader sees the end only now: the engine opened the pipe a second time

    writing = asyncio.create_task(run())
    try:
        yield reader, writing
    finally:
        transport.close()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


class Outgoing:
    """One response body, begun as late as the client allows, so that most errors still have a status of their own.

    ``headers`` is called when the response starts: with the progress if the result is complete by then.
    What has to wait and is large waits in the directory ``spool``.
    """

    def __init__(
        self,
        send: Send,
        headers: Callable[[Progress | None], dict[str, str]],
        *,
        encoder: Encoder | None,
        wait_for_end: bool,
        spool: Path,
    ) -> None:
        self._send = send
        self._headers = headers
        self._encoder = encoder
        self._held_back = None if wait_for_end else _HELD_BACK
        self._hold = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(spool))  # noqa: SIM115 - closed in close()
        self.started = False
        self.sent = 0

    def close(self) -> None:
        """Drop what is held back."""
        self._hold.close()

    async def write(self, chunk: bytes) -> None:
        """Take one piece of the result."""
        if self._encoder is not None:
            chunk = await asyncio.to_thread(self._encoder.compress, chunk)
        if self.started:
            await self._send_body(chunk)
            return
        self._hold.write(chunk)
        if self._held_back is not None and self._hold.tell() >= self._held_back:
            await self._start(self._headers(None))
            await self._release()

    async def finish(self, progress: Progress) -> None:
        """End a result that is complete."""
        tail = self._encoder.flush() if self._encoder is not None else b""
        if not self.started:
            self._hold.write(tail)
            tail = b""
            await self._start(self._headers(progress) | {"Content-Length": str(self._hold.tell())})
            await self._release()
        await self._send_body(tail, more=False)

    async def break_off(self, error: FrontError, tag: str) -> None:
        """Tell of an error behind the bytes already sent.

        The compressed frame stays open and the response is left without its last chunk, and the server then closes
        the connection: a client that does not know the trailer still cannot take the result for complete.
        """
        trailer = exception_trailer(tag, str(error))
        if self._encoder is not None:
            trailer = self._encoder.compress(trailer) + self._encoder.push()
        await self._send_body(trailer)

    async def _start(self, headers: dict[str, str]) -> None:
        self.started = True
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _release(self) -> None:
        self._hold.seek(0)
        while piece := self._hold.read(PIECE):
            await self._send_body(piece)
        self._hold.seek(0)
        self._hold.truncate()

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        self.sent += len(body)
        if body or not more:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

"""Refuses request bodies that are too large, before they are held in memory."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: 413 as soon as a body is known to be, or turns out to be, larger than ``max_bytes``.

    The length that a client declares is only a hint: a chunked body declares none. So the bytes are counted as the
    application reads them.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        received = 0

        async def limited() -> Message:
            nonlocal received
            if declared.isdigit() and int(declared) > self._max_bytes:
                raise self._too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, limited, send)

    def _too_large(self) -> HTTPException:
        # Raised inside the application's own read, so that its handlers write the answer.
        return HTTPException(413, f"the body is larger than {self._max_bytes} bytes")

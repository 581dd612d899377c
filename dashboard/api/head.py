"""HEAD, which whoever checks an address asks first: what GET answers, without its body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = "etar.head"
"""In the scope of a GET that was a HEAD: for a route whose answer would not end."""


class HeadOfEveryGet:
    """ASGI middleware. FastAPI's routes, unlike Starlette's, take HEAD for a method of its own and refuse it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", HEAD: True}, receive, without_body)

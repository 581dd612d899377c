"""The API's version in an address: ``/v1/report`` is ``/report``, and stays so when there is another version."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX: Final = "/v1"


class Versioned:
    """ASGI middleware. The prefix becomes a part of ``root_path``, so that ``/v1/openapi.json`` names it as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # A proxy's own prefix stands before it, in the path as in the root path.
            root = scope.get("root_path", "")
            if f"{scope['path'].removeprefix(root)}/".startswith(f"{PREFIX}/"):
                scope = {**scope, "root_path": root + PREFIX}
        await self._app(scope, receive, send)

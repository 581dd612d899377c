"""Answers that a client has already: it sends the tag of what it has, and is told that this is still so."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import Header, Response

KnownTag = Annotated[
    str | None,
    Header(description="`ETag` of an answer that the client has: 304, without a body, while it is the answer"),
]
NOT_CHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The answer is the one of `If-None-Match`"}}


def unless_known(body: bytes, known: str | None, headers: Mapping[str, str] | None = None) -> Response:
    """The JSON of ``body`` under its tag, or 304 where ``known`` (``If-None-Match``) names that tag; with ``headers``
    either way."""
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    if known and tag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers={"ETag": tag, **(headers or {})})
    return Response(body, media_type="application/json", headers={"ETag": tag, **(headers or {})})

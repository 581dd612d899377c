"""Long answers, page by page: each page is of the newest items that its request asks for, and names the next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import Request

LINK: dict[str, Any] = {
    "description": 'Where there may be earlier ones, `<…>; rel="next"` (RFC 8288): the same with an earlier `to`',
    "schema": {"type": "string"},
}


def next_page(request: Request, first: datetime | None, limit: int, starts: list[datetime]) -> dict[str, str]:
    """The header ``Link`` of an answer with the items that begin then, oldest first; none where it has all there is
    from ``first`` on."""
    if len(starts) < limit or (first is not None and starts[0] <= first):
        return {}
    to = starts[0]
    on_the_minute = not (to.second or to.microsecond)
    earlier = request.url.include_query_params(to=f"{to:%Y-%m-%dT%H:%MZ}" if on_the_minute else to.isoformat())
    return {"Link": f'<?{earlier.query}>; rel="next"'}

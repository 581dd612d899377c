"""Reading live windows: what a stream's newest minutes come to while they fill."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead, RangeEnd, RangeStart, StreamName, require_range
from dashboard.api.pages import LINK, next_page
from dashboard.api.problems import AUTHENTICATED, INVALID, NO_WINDOWS, STORE_AWAY, example
from dashboard.api.tags import NOT_CHANGED, KnownTag, unless_known
from etar.minute import MINUTES_A_DAY
from etar.streams import DEFAULT_STREAM, catalogue
from etar.windows import StreamWindows

router = APIRouter(tags=["windows"])

_COMPARED = {"now": "1349.48", "streamed": "1349.48", "difference": "0.00"}
_EXAMPLE: dict[str, Any] = {
    "stream": "sales",
    "title": "Sales by shop",
    "by": "shop",
    "groups": ["Berlin"],
    "values": [{"column": "total", "title": "Sales", "form": "decimal"}],
    "windows": [
        {
            "start": "2026-11-21T10:31:00Z",
            "end": "2026-11-21T10:32:00Z",
            "final": True,
            "revision": 1,
            "updated_at": "2026-11-21T10:32:09Z",
            "groups": {"Berlin": {"final": True, "revision": 1, "values": {"total": _COMPARED}}},
            "totals": {"total": _COMPARED},
        }
    ],
}


@router.get(
    "/windows",
    summary="The newest live windows of a stream, oldest first",
    response_model=StreamWindows,
    dependencies=[MayRead],
    responses={
        200: {"headers": {"Link": LINK}, **example(_EXAMPLE)},
        **NOT_CHANGED,
        **AUTHENTICATED,
        **NO_WINDOWS,
        **INVALID,
        **STORE_AWAY,
    },
)
async def windows(
    *,
    request: Request,
    connection: Connection,
    stream: StreamName = DEFAULT_STREAM,
    start: RangeStart = None,
    end: RangeEnd = None,
    group: Annotated[str | None, Query(max_length=200, description="Only this group of each window")] = None,
    limit: Annotated[
        int, Query(ge=1, le=MINUTES_A_DAY, description="At most this many windows: the newest of the range")
    ] = 100,
    if_none_match: KnownTag = None,
) -> Response:
    """What each window that begins in `[from, to)` comes to by now, and beside it what the stream's job said of it.

    While a window is not `final`, both are the job's, and may still grow. Once its minute is reported, the report's
    numbers stand in place of the job's: `difference` is what came too late for the job.
    """
    require_range(start, end)
    known = catalogue().streams.get(stream)
    if known is None or known.windows is None:
        raise HTTPException(404, f"{stream!a} is no stream with live windows")
    found = await queries.windows(connection, known, start=start, end=end, group=group, limit=limit)
    page = next_page(request, start, limit, [each.start for each in found.windows])
    return unless_known(found.model_dump_json().encode(), if_none_match, page)

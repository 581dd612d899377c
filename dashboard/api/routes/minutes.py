"""Reading the ledger: what became of each minute, and of each revision of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead, Minute, RangeEnd, RangeStart, StreamName, require_range
from dashboard.api.pages import LINK, next_page
from dashboard.api.problems import AUTHENTICATED, INVALID, MINUTE_NOT_FOUND, STORE_AWAY, example
from etar.ledger import LedgerEntry, MinuteHistory, State
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.streams import DEFAULT_STREAM

router = APIRouter(tags=["minutes"])

_EXAMPLE: dict[str, Any] = {
    "stream": DEFAULT_STREAM,
    "minute": "2026-11-21T10:31:00Z",
    "state": "reported",
    "run_id": "etar_pipeline/scheduled__2026-11-21T10:31:00+00:00",
    "received": 1002,
    "duplicates": 2,
    "unique_events": 1000,
    "late_events": 0,
    "dead_letters": 3,
    "offsets": {"0": {"first": 48210, "last": 48711, "rows": 501}, "1": {"first": 47995, "last": 48496, "rows": 501}},
    "settled_offsets": {"0": 48712, "1": 48498},
    "object_key": f"extracts/{DEFAULT_STREAM}/2026-11-21_10-31.parquet",
    "object_size": 48213,
    "object_etag": "5d41402abc4b2a76b9719d911017c592",
    "stages": {
        "settle": {
            "started_at": "2026-11-21T10:32:01.105Z",
            "ended_at": "2026-11-21T10:32:03.210Z",
            "cost": {"rows": None, "bytes": None, "cpu_seconds": 0.061},
        },
        "extract": {
            "started_at": "2026-11-21T10:32:03.902Z",
            "ended_at": "2026-11-21T10:32:04.377Z",
            "cost": {"rows": 1002, "bytes": 48213, "cpu_seconds": 0.118},
        },
        "analyse": {
            "started_at": "2026-11-21T10:32:05.014Z",
            "ended_at": "2026-11-21T10:32:13.140Z",
            "cost": {"rows": 1002, "bytes": 48213, "cpu_seconds": 1.402},
        },
        "report": {
            "started_at": "2026-11-21T10:32:13.802Z",
            "ended_at": "2026-11-21T10:32:13.951Z",
            "cost": {"rows": 1, "bytes": 412, "cpu_seconds": 0.019},
        },
    },
    "revision": 1,
    "error": None,
    "updated_at": "2026-11-21T10:32:13.951Z",
}


@router.get(
    "/minutes",
    summary="The ledger of a range of minutes, oldest first",
    dependencies=[MayRead],
    responses={200: {"headers": {"Link": LINK}, **example([_EXAMPLE])}, **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def minutes(
    *,
    request: Request,
    response: Response,
    connection: Connection,
    stream: StreamName = DEFAULT_STREAM,
    start: RangeStart = None,
    end: RangeEnd = None,
    state: Annotated[
        list[State] | None, Query(description="Only minutes in this state; may be given several times")
    ] = None,
    limit: Annotated[
        int,
        Query(ge=1, le=MINUTES_A_DAY, description="At most this many minutes: the newest of the range in such a state"),
    ] = 60,
) -> list[LedgerEntry]:
    """How far each minute whose start is in `[from, to)` has come, and its counts; a minute no run began has no row."""
    require_range(start, end)
    found = await queries.minutes_between(connection, stream, start=start, end=end, states=state or (), limit=limit)
    response.headers.update(next_page(request, start, limit, [entry.minute for entry in found]))
    return found


@router.get(
    "/minutes/{minute}",
    summary="The ledger of one minute, with its revisions",
    dependencies=[MayRead],
    responses={
        200: example({**_EXAMPLE, "revisions": [_EXAMPLE]}),
        **AUTHENTICATED,
        **MINUTE_NOT_FOUND,
        **INVALID,
        **STORE_AWAY,
    },
)
async def minute(
    connection: Connection,
    minute: Annotated[Minute, Path(description="Start of the minute", examples=["2026-11-21T10:31Z"])],
    stream: StreamName = DEFAULT_STREAM,
) -> MinuteHistory:
    """The minute as it is now; under `revisions`, as it was when each revision of its report was published."""
    found = await queries.minute_with_history(connection, stream, minute)
    if found is None:
        raise HTTPException(404, f"no run of {stream} has begun {MinuteWindow(minute)}")
    return found

"""Reading the ledger: what became of each minute, and of each revision of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead, Minute, RangeEnd, RangeStart, StreamName, require_range
from dashboard.api.problems import AUTHENTICATED, INVALID, MINUTE_NOT_FOUND, STORE_AWAY, example
from etar.ledger import LedgerEntry, MinuteHistory, State
from etar.minute import MinuteWindow
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
        "settle": {"started_at": "2026-11-21T10:32:01.105Z", "ended_at": "2026-11-21T10:32:03.210Z"},
        "extract": {"started_at": "2026-11-21T10:32:03.902Z", "ended_at": "2026-11-21T10:32:04.377Z"},
        "analyse": {"started_at": "2026-11-21T10:32:05.014Z", "ended_at": "2026-11-21T10:32:13.140Z"},
        "report": {"started_at": "2026-11-21T10:32:13.802Z", "ended_at": "2026-11-21T10:32:13.951Z"},
    },
    "revision": 1,
    "error": None,
    "updated_at": "2026-11-21T10:32:13.951Z",
}


@router.get(
    "/minutes",
    summary="The ledger of a range of minutes, oldest first",
    dependencies=[MayRead],
    responses={200: example([_EXAMPLE]), **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def minutes(
    *,
    connection: Connection,
    stream: StreamName = DEFAULT_STREAM,
    start: RangeStart = None,
    end: RangeEnd = None,
    state: Annotated[
        list[State] | None, Query(description="Only minutes in this state; may be given several times")
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=1440, description="At most this many minutes: the newest of the range in such a state")
    ] = 60,
) -> list[LedgerEntry]:
    """How far each minute whose start is in `[from, to)` has come, and its counts; a minute no run began has no row."""
    require_range(start, end)
    return await queries.minutes_between(connection, stream, start=start, end=end, states=state or (), limit=limit)


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

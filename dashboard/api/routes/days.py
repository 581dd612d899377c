"""Reading a day of the ledger at a glance, and all revisions of one minute's report."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BeforeValidator

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead, Minute, Now, StreamName
from dashboard.api.problems import AUTHENTICATED, INVALID, STORE_AWAY, example, invalid
from dashboard.api.tags import NOT_CHANGED, KnownTag, unless_known
from etar.minute import MINUTES_A_DAY
from etar.pipeline.standing import Day, Standing, day_of
from etar.report import PublishedReport
from etar.settings import PipelineSettings, ReconcileSettings, get_settings
from etar.streams import DEFAULT_STREAM

router = APIRouter(tags=["minutes"])


def _parse_day(value: object) -> date:
    # Left to pydantic, a number of seconds would be a day, too.
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a day; write it like 2026-11-21") from None


_NIGHT = MINUTES_A_DAY - 2
_EXAMPLE: dict[str, Any] = {
    "stream": DEFAULT_STREAM,
    "day": "2026-11-21",
    "newest": "2026-11-21T00:01:00Z",
    "reportable_from": 0,
    "standings": [Standing.REPORTED, Standing.REVISED] + [Standing.AHEAD] * _NIGHT,
    "revisions": [1, 2] + [None] * _NIGHT,
    "events": [1000, 1002] + [None] * _NIGHT,
    "dead_letters": [0, 3] + [None] * _NIGHT,
}


@router.get(
    "/days/{day}",
    summary="How each minute of a UTC day stands",
    response_model=Day,
    dependencies=[MayRead],
    responses={200: example(_EXAMPLE), **NOT_CHANGED, **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def day(
    connection: Connection,
    now: Now,
    day: Annotated[
        date, BeforeValidator(_parse_day), Path(description="A day that has begun, UTC", examples=["2026-11-21"])
    ],
    stream: StreamName = DEFAULT_STREAM,
    if_none_match: KnownTag = None,
) -> Response:
    """Also minutes that no run has begun have a standing: due, overdue, missing, or one that nobody can report any
    more. A whole day is less than 50 kB; `/minutes` has all that is known of each minute.
    """
    if day > now.date():
        raise invalid(("path", "day"), f"{day} has not begun: it is {now:%Y-%m-%dT%H:%M:%SZ} by the API's clock")
    rows, newest = await queries.begun_on(connection, stream, day)
    found = day_of(
        stream,
        day,
        rows,
        newest=newest,
        now=now,
        pipeline=get_settings(PipelineSettings),
        policy=get_settings(ReconcileSettings),
    )
    return unless_known(found.model_dump_json().encode(), if_none_match)


@router.get(
    "/minutes/{minute}/reports",
    summary="The revisions of one minute's report, oldest first",
    response_model=list[PublishedReport],
    dependencies=[MayRead],
    responses={**NOT_CHANGED, **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def revisions(
    connection: Connection,
    minute: Annotated[Minute, Path(description="Start of the minute", examples=["2026-11-21T10:31Z"])],
    stream: StreamName = DEFAULT_STREAM,
    limit: Annotated[int, Query(ge=1, le=100, description="At most this many revisions: the newest")] = 10,
    if_none_match: KnownTag = None,
) -> Response:
    """What was reported of the minute each time; none of a minute without a report."""
    found = await queries.revisions(connection, stream, minute, limit)
    return unless_known(b"[" + b",".join(answer.body for answer in found) + b"]", if_none_match)

"""Publishing and reading reports."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Response

from dashboard.api import queries
from dashboard.api.deps import (
    Connection,
    MayRead,
    MayWrite,
    Minute,
    Now,
    RangeEnd,
    RangeStart,
    StreamName,
    require_range,
)
from dashboard.api.problems import AUTHENTICATED, BAD_BODY, INVALID, NOT_FOUND, STORE_AWAY, TOO_LARGE, example, invalid
from etar.minute import MinuteWindow
from etar.report import PublishedReport, Report
from etar.streams import USER_INTERACTIONS

_log = logging.getLogger(__name__)

router = APIRouter(tags=["reports"])

_EXAMPLE: dict[str, Any] = {
    "schema_version": 1,
    "stream": "user_interactions",
    "minute": "2026-11-21T10:31:00Z",
    "total_events": 1000,
    "total_errors": 12,
    "event_types": {
        "view": {"success": 612, "error": 5},
        "click": {"success": 240, "error": 3},
        "add_to_cart": {"success": 61, "error": 2},
        "checkout": {"success": 22, "error": 1},
        "purchase": {"success": 14, "error": 1},
        "search": {"success": 39, "error": 0},
    },
    "unique_users": 431,
    "rows_read": 1002,
    "source_object": "s3://etar/extracts/user_interactions/2026-11-21_10-31.parquet",
}
_PUBLISHED = {**_EXAMPLE, "error_rate": 0.012, "revision": 1, "published_at": "2026-11-21T10:32:11.412Z"}


def require_begun(window: MinuteWindow, now: datetime) -> None:
    """Refuse a minute of the future: published, it would stay the newest one until it has come.

    A minute is reported after its end, so that its beginning leaves whoever posts a clock one minute behind ours.
    """
    if window.start > now:
        raise invalid(
            ("body", "minute"),
            f"{window} has not begun: it is {now:%Y-%m-%dT%H:%M:%SZ} by the API's clock; compare it with the poster's",
        )


@router.post(
    "/report",
    summary="Publish the report of a minute",
    dependencies=[MayWrite],
    responses={
        200: {"description": "The minute already had this content: that revision", **example(_PUBLISHED)},
        201: {
            "model": PublishedReport,
            "description": "New content: the next revision of the minute",
            **example(_PUBLISHED),
        },
        **AUTHENTICATED,
        **BAD_BODY,
        **TOO_LARGE,
        **INVALID,
        **STORE_AWAY,
    },
)
async def publish(
    report: Annotated[Report, Body(openapi_examples={"minute": {"summary": "One minute", "value": _EXAMPLE}})],
    connection: Connection,
    response: Response,
    now: Now,
) -> PublishedReport:
    """Idempotent: content that the minute already has keeps its revision, other content is the next revision."""
    require_begun(report.window, now)
    published, is_new = await queries.publish(connection, report)
    if is_new:
        response.status_code = 201
    _log.info(
        "report published" if is_new else "report known",
        extra={"stream": report.stream, "minute": str(report.window), "revision": published.revision},
    )
    return published


@router.get(
    "/report",
    summary="The newest minute's report, or one minute's",
    dependencies=[MayRead],
    responses={200: example(_PUBLISHED), **AUTHENTICATED, **NOT_FOUND, **INVALID, **STORE_AWAY},
)
async def report(
    connection: Connection,
    stream: StreamName = USER_INTERACTIONS.name,
    minute: Annotated[
        Minute | None, Query(description="Start of the minute; the newest unless given", examples=["2026-11-21T10:31Z"])
    ] = None,
    revision: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="An earlier revision of `minute`; the latest unless given")
    ] = None,
) -> PublishedReport:
    """Without `minute`: the latest revision of the newest minute, which is not always the newest arrival."""
    if minute is None:
        if revision is not None:
            raise invalid(("query", "revision"), "a revision is one of a minute: give `minute` too")
        found = await queries.newest(connection, stream)
        what = f"no report of {stream} yet"
    else:
        found = await queries.of_minute(connection, stream, minute, revision)
        which = f"revision {revision} of the report" if revision else "report"
        what = f"no {which} of {stream} for {MinuteWindow(minute)}"
    if found is None:
        raise HTTPException(404, what)
    return found


@router.get(
    "/reports",
    summary="Reports of a range of minutes, oldest first",
    dependencies=[MayRead],
    responses={200: example([_PUBLISHED]), **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def reports(
    connection: Connection,
    stream: StreamName = USER_INTERACTIONS.name,
    start: RangeStart = None,
    end: RangeEnd = None,
    limit: Annotated[int, Query(ge=1, le=1440, description="At most this many minutes: the newest of the range")] = 60,
) -> list[PublishedReport]:
    """The latest revision of each minute whose start is in `[from, to)`."""
    require_range(start, end)
    return await queries.between(connection, stream, start, end, limit)

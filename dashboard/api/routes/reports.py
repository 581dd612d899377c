"""Publishing and reading reports."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Request, Response

from dashboard.api import queries
from dashboard.api.bodies import posted
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
from dashboard.api.pages import LINK, next_page
from dashboard.api.problems import AUTHENTICATED, BAD_BODY, INVALID, NOT_FOUND, STORE_AWAY, TOO_LARGE, invalid
from dashboard.api.tags import NOT_CHANGED, KnownTag, unless_known
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.report import PublishedReport
from etar.streams import DEFAULT_STREAM

_log = logging.getLogger(__name__)

router = APIRouter(tags=["reports"])


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
    response_model=PublishedReport,
    dependencies=[MayWrite],
    responses={
        200: {"description": "The minute already had this content: that revision"},
        201: {"model": PublishedReport, "description": "New content: the next revision of the minute"},
        **AUTHENTICATED,
        **BAD_BODY,
        **TOO_LARGE,
        **INVALID,
        **STORE_AWAY,
    },
)
async def publish(
    body: Annotated[dict[str, Any], Body()],
    connection: Connection,
    now: Now,
) -> Response:
    """Idempotent: content that the minute already has keeps its revision, other content is the next revision.

    What a report has beside the envelope is its stream's: `stream` says which of the shapes it is.
    """
    report = posted(body)
    require_begun(report.window, now)
    published, is_new = await queries.publish(connection, report)
    _log.info(
        "report published" if is_new else "report known",
        extra={"stream": report.stream, "minute": str(report.window), "revision": published.revision},
    )
    return Response(published.body, 201 if is_new else 200, media_type="application/json")


@router.get(
    "/report",
    summary="The newest minute's report, or one minute's",
    response_model=PublishedReport,
    dependencies=[MayRead],
    responses={**NOT_CHANGED, **AUTHENTICATED, **NOT_FOUND, **INVALID, **STORE_AWAY},
)
async def report(
    connection: Connection,
    stream: StreamName = DEFAULT_STREAM,
    minute: Annotated[
        Minute | None, Query(description="Start of the minute; the newest unless given", examples=["2026-11-21T10:31Z"])
    ] = None,
    revision: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="An earlier revision of `minute`; the latest unless given")
    ] = None,
    if_none_match: KnownTag = None,
) -> Response:
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
    return unless_known(found.body, if_none_match)


@router.get(
    "/reports",
    summary="Reports of a range of minutes, oldest first",
    response_model=list[PublishedReport],
    dependencies=[MayRead],
    responses={200: {"headers": {"Link": LINK}}, **NOT_CHANGED, **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def reports(
    *,
    request: Request,
    connection: Connection,
    stream: StreamName = DEFAULT_STREAM,
    start: RangeStart = None,
    end: RangeEnd = None,
    limit: Annotated[
        int, Query(ge=1, le=MINUTES_A_DAY, description="At most this many minutes: the newest of the range")
    ] = 60,
    if_none_match: KnownTag = None,
) -> Response:
    """The latest revision of each minute whose start is in `[from, to)`."""
    require_range(start, end)
    found = await queries.between(connection, stream, start, end, limit)
    page = next_page(request, start, limit, [answer.minute for answer in found])
    return unless_known(b"[" + b",".join(answer.body for answer in found) + b"]", if_none_match, page)

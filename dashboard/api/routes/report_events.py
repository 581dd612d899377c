"""Reports as they are published, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from dashboard.api.deps import DATABASE_SECONDS, Instant, MayRead, connected, may_still_read
from dashboard.api.feed import LOOK_BACK, Publication, ReportFeed, published_since
from dashboard.api.head import HEAD
from dashboard.api.problems import AUTHENTICATED, INVALID, STORE_AWAY

_EXAMPLE = """\
event: report
data: {"stream":"sales","minute":"2026-11-21T10:31:00Z","revision":1,"published_at":"2026-11-21T10:32:11.412Z"}
id: 2026-11-21T10:32:11.412000+00:00
"""

router = APIRouter(tags=["reports"])


async def _publications(
    request: Request,
    streams: Annotated[
        list[str] | None, Query(alias="stream", description="Only of this stream; may be given several times")
    ] = None,
    last_event_id: Annotated[
        Instant | None, Header(description="`id` of the last event that the client has: what came after it comes first")
    ] = None,
) -> AsyncIterator[AsyncIterable[Publication]]:
    if request.scope.get(HEAD):
        yield _nothing()
        return
    feed: ReportFeed = request.app.state.feed
    async with feed.listening(DATABASE_SECONDS) as live:
        yield _since(request, live, streams, last_event_id)


async def _nothing() -> AsyncIterator[Publication]:
    nothing: tuple[Publication, ...] = ()
    for publication in nothing:
        yield publication


async def _since(
    request: Request, live: AsyncIterator[Publication], streams: list[str] | None, last: datetime | None
) -> AsyncIterator[Publication]:
    """What was published since ``last``, then what is: it is listened to already, so that nothing is in between."""
    sent: dict[Publication, None] = {}
    if last is not None:
        async with connected(request.app) as connection:
            sent = {each: None async for each in published_since(connection, last - LOOK_BACK, streams)}
        for publication in sent:
            yield publication
    async for publication in live:
        if not await may_still_read(request):
            return
        if publication not in sent and (streams is None or publication.stream in streams):
            yield publication


@router.get(
    "/reports/events",
    summary="Each report and each revision when it is published, as server-sent events",
    response_class=EventSourceResponse,
    dependencies=[MayRead],
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
        **AUTHENTICATED,
        **INVALID,
        **STORE_AWAY,
    },
)
async def report_events(
    publications: Annotated[AsyncIterable[Publication], Depends(_publications)],
) -> AsyncIterable[ServerSentEvent]:
    """Events of the type `report`: which report is new; `GET /report` has it.

    A client that was away sends the `id` that it has as `Last-Event-ID` (a browser does), and is told what it missed;
    what was published within ten seconds before that `id` comes again. Stream, minute and revision tell it apart.
    """
    async for publication in publications:
        yield ServerSentEvent(data=publication, event="report", id=publication.published_at.isoformat())

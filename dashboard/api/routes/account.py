"""Reading the account: what arrived in a range of minutes, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead, Minute, Now, StreamName, require_range
from dashboard.api.problems import AUTHENTICATED, INVALID, STORE_AWAY, example, invalid
from dashboard.api.tags import NOT_CHANGED, KnownTag, unless_known
from etar.account import Account, Answer, Range
from etar.minute import MINUTE, MINUTES_A_DAY, MinuteWindow
from etar.settings import PipelineSettings, get_settings
from etar.streams import DEFAULT_STREAM

router = APIRouter(tags=["minutes"])

_DAY = timedelta(days=1)
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)

_LINE: dict[str, Any] = {
    "partition": 0,
    "answer": Answer.EXACT,
    "records": 61_250,
    "in_reports": 60_960,
    "too_late": 40,
    "bad": 250,
    "lost": 0,
    "not_reported": 0,
    "only_reported": 0,
    "no_record": 0,
    "why": None,
}
_EXAMPLE: dict[str, Any] = {
    "stream": DEFAULT_STREAM,
    "first": "2026-11-21T10:00:00Z",
    "end": "2026-11-21T11:00:00Z",
    "compared_to": "2026-11-21T11:00:00Z",
    "verified_through": "2026-11-21T11:04:00Z",
    "answer": Answer.EXACT,
    "reasons": [],
    "records": 61_250,
    "events": 60_110,
    "duplicates": 850,
    "too_late": 40,
    "bad": 250,
    "lost": 0,
    "not_reported": 0,
    "only_reported": 0,
    "no_record": 0,
    "partitions": [_LINE],
    "command": None,
}


@router.get(
    "/account",
    summary="What arrived in a range of minutes, and what became of it",
    response_model=Account,
    dependencies=[MayRead],
    responses={200: example(_EXAMPLE), **NOT_CHANGED, **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def account(
    *,
    connection: Connection,
    now: Now,
    stream: StreamName = DEFAULT_STREAM,
    start: Annotated[
        Minute | None,
        Query(
            alias="from",
            description="First minute of arrival; by default so many `minutes` before the end",
            examples=["2026-11-21T10:00Z"],
        ),
    ] = None,
    end: Annotated[
        Minute | None,
        Query(
            alias="to",
            description="End of the range, exclusive, a day after its start at most; by default what is audited",
            examples=["2026-11-21T11:00Z"],
        ),
    ] = None,
    minutes: Annotated[
        int, Query(ge=1, le=MINUTES_A_DAY, description="Length of the range where no `from` is given")
    ] = 60,
    if_none_match: KnownTag = None,
) -> Response:
    """Each record that Kafka acknowledged is an event of a report, a duplicate of one, or a bad record with its reason,
    or it is in the difference. What nobody can tell is `not verified`, with why; it is never `exact`.
    """
    require_range(start, end)
    for name, instant in (("from", start), ("to", end)):
        if instant is not None and instant < _EARLIEST:
            raise invalid(("query", name), f"{instant.isoformat()} is before anything can have arrived")
    if start is not None and start > now:
        raise invalid(("query", "from"), f"{MinuteWindow(start)} has not begun: it is {now:%Y-%m-%dT%H:%M:%SZ}")
    if start is not None and end is not None and end - start > _DAY:
        raise invalid(("query", "to"), "the range is longer than a day; ask for a day at a time")

    def choose(through: datetime | None) -> Range:
        last = end or through or MinuteWindow.containing(now).start
        first = start or last - minutes * MINUTE
        if end is None:
            last = min(max(last, first + MINUTE), first + _DAY)
        return Range(MinuteWindow(first), MinuteWindow(last))

    found = await queries.account(connection, stream, choose, now=now, pipeline=get_settings(PipelineSettings))
    return unless_known(found.model_dump_json().encode(), if_none_match)

"""Where one event is: the answer of ``etar trace``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from dashboard.api.deps import MayRead, Now, StreamName
from dashboard.api.lookups import looked_up, stream_of
from dashboard.api.problems import AUTHENTICATED, INVALID, NO_LOOK_UP, NO_STREAM, example, invalid
from etar.settings import EventTimeSettings, get_settings
from etar.streams import DEFAULT_STREAM, Stream
from etar.trace.answer import Trace
from etar.trace.question import Question, UnfitQuestionError

router = APIRouter(tags=["trace"])

_RECORD: dict[str, Any] = {
    "log": DEFAULT_STREAM,
    "partition": 3,
    "offset": 1042,
    "standing": "counted",
    "says": "record 3:1042 is counted in 2026-11-21T10:31Z since revision 1",
    "appended_at": "2026-11-21T10:31:07.250000Z",
    "event_at": "2026-11-21T10:31:07.113000Z",
    "minute": "2026-11-21T10:31:00Z",
    "late": False,
    "reason": None,
    "detail": None,
    "replayed_as": [],
    "replay_of": None,
    "counts_as": None,
    "object_key": f"extracts/{DEFAULT_STREAM}/2026-11-21_10-31.parquet",
    "in_object": True,
    "revision": 1,
    "published_at": "2026-11-21T10:32:13.951000Z",
    "steps": [
        {
            "name": "kafka",
            "state": "done",
            "at": "2026-11-21T10:31:07.250000Z",
            "says": f"partition 3, offset 1042 of {DEFAULT_STREAM}",
        },
        {
            "name": "report",
            "state": "done",
            "at": "2026-11-21T10:32:13.951000Z",
            "says": "revision 1 of 2026-11-21T10:31Z was made with it",
        },
    ],
}
_EXAMPLE: dict[str, Any] = {
    "stream": DEFAULT_STREAM,
    "asked_at": "2026-11-21T10:40:00Z",
    "identity": {"event_id": "5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11"},
    "record": None,
    "since": "2026-11-21T07:40:00Z",
    "until": "2026-11-21T10:45:00Z",
    "found": True,
    "complete": True,
    "says": "record 3:1042 is counted in 2026-11-21T10:31Z since revision 1.",
    "records": [_RECORD],
    "places": [
        {
            "place": "object store",
            "asked": False,
            "says": "not asked: the object store does not give the extract: it is away",
        }
    ],
}


@router.get(
    "/trace",
    summary="Where one event is, step by step",
    dependencies=[MayRead],
    responses={200: example(_EXAMPLE), **AUTHENTICATED, **NO_STREAM, **INVALID, **NO_LOOK_UP},
)
async def trace(
    *,
    now: Now,
    stream: StreamName = DEFAULT_STREAM,
    identity: Annotated[
        list[str] | None,
        Query(
            alias="id",
            max_length=20,
            description="The event's id: a value for each column that makes it, in the order of stream.toml",
        ),
    ] = None,
    record: Annotated[
        str | None, Query(max_length=40, description="In place of an id: PARTITION:OFFSET", examples=["3:1042"])
    ] = None,
    log: Annotated[
        int | None, Query(ge=1, le=10**6, description="`record` is of the topic's log of this number that has ended")
    ] = None,
    since: Annotated[
        str | None,
        Query(max_length=40, description="Search from this minute on, or how long ago: `90m`. Default: `3h`"),
    ] = None,
    until: Annotated[
        str | None, Query(max_length=40, description="Search before this minute; after the newest unless given")
    ] = None,
) -> Trace:
    """What each place says of it, and what is waited for. A place that is away is not one without the event: `complete`
    is false where it would know. Without the settings of a place, as of the warehouse, it is not asked."""
    chosen = stream_of(stream)
    if (identity is None) == (record is None):
        raise invalid(("query",), "give either `id`, the event's, or `record`, a place in Kafka")
    try:
        asked = Question.of(
            chosen,
            identity or [record or ""],
            now=now,
            ahead=get_settings(EventTimeSettings).max_ahead,
            since=since,
            until=until,
            log=log,
            as_id=record is None,
        )
    except UnfitQuestionError as error:
        raise invalid(("query",), str(error)) from error
    if record is not None and asked.record is None:
        raise invalid(("query", "record"), f"{record!a} is no PARTITION:OFFSET, like 3:1042")
    try:
        return await looked_up(_traced, asked, chosen)
    except UnfitQuestionError as error:
        raise invalid(("query", "id"), str(error)) from error


def _traced(question: Question, stream: Stream) -> Trace:
    # Its clients take a second to load, and most APIs never need them.
    from etar.trace.tracer import trace as traced

    return traced(question, stream=stream)

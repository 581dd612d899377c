"""Records that could not become a row: a list of them, how many there are of which reason, and one in full."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import AfterValidator

from dashboard.api.deps import Instant, MayRead, StreamName, require_range
from dashboard.api.deps import RangeEnd as MaybeEnd
from dashboard.api.deps import RangeStart as MaybeStart
from dashboard.api.lookups import looked_up, stream_of
from dashboard.api.problems import AUTHENTICATED, INVALID, NO_LETTER, NO_LOOK_UP, NO_STREAM, example, invalid
from etar.dead_letters import Reason
from etar.dead_letters.answer import LetterCounts, ListedLetter, WholeLetter
from etar.dead_letters.letters import LetterId, Place, Selection, State, UnknownLetterError
from etar.instants import from_milliseconds, to_milliseconds
from etar.streams import DEFAULT_STREAM, Stream

router = APIRouter(tags=["dead letters"])

_BUCKETS_MAX = 1_500

_KEPT_BY_NOBODY = {"Cache-Control": "no-store"}
"""What producers wrote may be about people."""


class Per(StrEnum):
    """Length of a bucket."""

    MINUTE = "minute"
    HOUR = "hour"

    @property
    def length(self) -> timedelta:
        return timedelta(hours=1) if self is Per.HOUR else timedelta(minutes=1)


def _place(text: str) -> Place:
    try:
        appended, partition, offset = map(int, text.split("."))
        return Place(from_milliseconds(appended), *LetterId.parse(f"{partition}:{offset}"))
    except (ValueError, OverflowError, UnknownLetterError):
        raise invalid(("query", "before"), f"{text!a} is no place in a list; take it from the Link of a page") from None


def _filed(state: State) -> State:
    if state is State.UNFILED:
        raise ValueError("what is not filed yet is in no list; `etar dead-letters list --state unfiled` has it")
    return state


Reasons = Annotated[list[Reason] | None, Query(description="Only this reason; may be given several times")]
FieldPath = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=500,
        description="Only where the reason is about this field: its path, joined by points",
        examples=["basket.2.price"],
    ),
]
States = Annotated[
    list[Annotated[State, AfterValidator(_filed)]] | None,
    Query(description="Only letters of which this became: open, replayed or discarded; may be given several times"),
]
Before = Annotated[
    str | None,
    Query(max_length=60, description="Go on behind this place, which the `Link` of the page before names"),
]
_LINK = {
    "description": 'Where there may be older ones, `<…>; rel="next"` (RFC 8288): the same with another `before`',
    "schema": {"type": "string"},
}
_ROUTE: dict[int | str, dict[str, Any]] = {**AUTHENTICATED, **INVALID, **NO_LOOK_UP}

_LISTED: dict[str, Any] = {
    "partition": 3,
    "offset": 1042,
    "appended_at": "2026-11-21T10:31:07.250000Z",
    "reason": Reason.MISSING_OR_WRONG_FIELD,
    "detail": "amount: expected a number, got text of logical type decimal",
    "field": "amount",
    "state": State.OPEN,
    "size": 77,
}
_COUNTS: dict[str, Any] = {
    "stream": DEFAULT_STREAM,
    "start": "2026-11-21T00:00:00Z",
    "end": "2026-11-22T00:00:00Z",
    "seconds": 3600,
    "total": 8,
    "buckets": [{"start": "2026-11-21T10:00:00Z", "reasons": {Reason.TRUNCATED: 1, Reason.OUT_OF_RANGE: 7}}],
    "fields": {"amount": 7},
}
_WHOLE: dict[str, Any] = {
    **_LISTED,
    "stream": DEFAULT_STREAM,
    "form": "Avro",
    "schema_id": 1,
    "fault": None,
    "leaves": [
        {"path": "event_id", "value": '"cfdec6b5-ec43-54b1-a81b-55158ad2df7c"', "failing": False},
        {"path": "amount", "value": '"a lot"', "failing": True},
    ],
    "leaves_left_out": 0,
    "pointer": "/amount",
    "there": True,
    "key": {"size": 2, "lines": ["00000000  6b 6b                                            kk"]},
    "value": {"size": 2, "lines": ["00000000  00 00                                            .."]},
    "fixed": None,
    "headers": [],
    "changes": [
        {
            "at": "2026-11-21T11:02:00Z",
            "by": "ana",
            "action": "replayed",
            "command": "etar dead-letters replay 3:1042 --apply",
            "detail": "{}",
        }
    ],
    "replays": [
        {
            "log": DEFAULT_STREAM,
            "partition": 3,
            "offset": 1107,
            "begun_at": "2026-11-21T11:02:00Z",
            "sent_at": "2026-11-21T11:02:00.031000Z",
            "withdrawn_at": None,
        }
    ],
}


@router.get(
    "/dead-letters",
    summary="Dead letters, the newest first",
    dependencies=[MayRead],
    responses={200: {"headers": {"Link": _LINK}, **example([_LISTED])}, **_ROUTE, **NO_STREAM},
)
async def dead_letters(
    *,
    request: Request,
    response: Response,
    stream: StreamName = DEFAULT_STREAM,
    start: MaybeStart = None,
    end: MaybeEnd = None,
    reason: Reasons = None,
    field: FieldPath = None,
    state: States = None,
    before: Before = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most this many letters")] = 100,
) -> list[ListedLetter]:
    """Those that the broker took in `[from, to)`. With `state`, a page may have fewer letters than there are, or none,
    and a `Link` to the next: each looks through 10,000 letters at most."""
    require_range(start, end)
    chosen = stream_of(stream)
    selection = _selection(start, end, reason, state)
    behind = None if before is None else _place(before)
    found, last = await looked_up(_listed, chosen, selection, field=field, before=behind, most=limit)
    response.headers.update(_KEPT_BY_NOBODY)
    if last is not None:
        at = f"{to_milliseconds(last.appended)}.{last.partition}.{last.offset}"
        response.headers["Link"] = f'<?{request.url.include_query_params(before=at).query}>; rel="next"'
    return found


@router.get(
    "/dead-letters/counts",
    summary="How many dead letters there are of which reason, over time",
    dependencies=[MayRead],
    responses={200: example(_COUNTS), **_ROUTE, **NO_STREAM},
)
async def counts(
    *,
    response: Response,
    stream: StreamName = DEFAULT_STREAM,
    start: Annotated[Instant, Query(alias="from", description="First instant of the range, inclusive")],
    end: Annotated[Instant, Query(alias="to", description="End of the range, exclusive")],
    per: Annotated[Per, Query(description="Length of a bucket")] = Per.HOUR,
    reason: Reasons = None,
    field: FieldPath = None,
) -> LetterCounts:
    """Of all letters that the broker took in `[from, to)`, whatever became of them. Buckets without one are left out;
    `fields` are of the range and the reasons, whichever `field` is asked for."""
    require_range(start, end)
    if (end - start) / per.length > _BUCKETS_MAX:
        raise invalid(
            ("query", "to"), f"that is more than {_BUCKETS_MAX:,} {per}s; ask for a shorter range, or per=hour"
        )
    chosen = stream_of(stream)
    selection = _selection(start, end, reason, None)
    found = await looked_up(
        _counted, chosen, selection, first=start, end=end, field=field, seconds=int(per.length.total_seconds())
    )
    response.headers.update(_KEPT_BY_NOBODY)
    return found


@router.get(
    "/dead-letters/{partition}/{offset}",
    summary="One dead letter, as far as it can be read, and what became of it",
    dependencies=[MayRead],
    responses={200: example(_WHOLE), **_ROUTE, **NO_LETTER},
)
async def dead_letter(
    *,
    response: Response,
    partition: Annotated[int, Path(ge=0, le=10**9 - 1, description="Of Kafka's topic", examples=[3])],
    offset: Annotated[int, Path(ge=0, le=10**18 - 1, description="In the partition", examples=[1042])],
    stream: StreamName = DEFAULT_STREAM,
) -> WholeLetter:
    """Its values with the failing field marked, its first bytes, its headers, its history. All of it is text that
    anybody may have written."""
    chosen = stream_of(stream)
    try:
        found = await looked_up(_whole, chosen, LetterId(partition, offset))
    except UnknownLetterError as error:
        raise HTTPException(404, str(error)) from None
    response.headers.update(_KEPT_BY_NOBODY)
    return found


def _selection(
    start: datetime | None, end: datetime | None, reasons: list[Reason] | None, states: list[State] | None
) -> Selection:
    return Selection(reasons=frozenset(reasons or ()), first=start, end=end, states=frozenset(states or ()))


# The clients of the places take a second to load, and most APIs never need them.
def _listed(stream: Stream, selection: Selection, **asked: Any) -> tuple[list[ListedLetter], Place | None]:
    from etar.dead_letter_office.answers import listed

    return listed(stream, selection, **asked)


def _counted(stream: Stream, selection: Selection, **asked: Any) -> LetterCounts:
    from etar.dead_letter_office.answers import counted

    return counted(stream, selection, **asked)


def _whole(stream: Stream, letter: LetterId) -> WholeLetter:
    from etar.dead_letter_office.answers import whole

    return whole(stream, letter)

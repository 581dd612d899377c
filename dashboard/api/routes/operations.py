"""What an operator does, and what operators did."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dashboard.api import actions
from dashboard.api.actions import Action, OperatorAction
from dashboard.api.deps import Asking, Connection, MayOperate, Now, RangeEnd, RangeStart, require_range
from dashboard.api.pages import LINK, next_page
from dashboard.api.problems import (
    AUTHENTICATED,
    BAD_BODY,
    INVALID,
    NOT_SILENCED,
    STORE_AWAY,
    TOO_LARGE,
    example,
    invalid,
)
from etar.alerts.silences import UnfitSilenceError, wanted
from etar.alerts.states import Silence
from etar.settings import AlertRuleSettings, get_settings
from etar.streams import DEFAULT_STREAM

router = APIRouter(tags=["operations"])

_ALERT = "SinkBehind"
_ACTION: dict[str, Any] = {
    "at": "2026-11-21T10:31:07.250000Z",
    "token": "anna",
    "action": "silence",
    "subject": _ALERT,
    "parameters": {"stream": DEFAULT_STREAM, "for": "2h", "why": "upgrade of Kafka"},
    "outcome": "done",
}

_Stream = Annotated[str | None, Query(max_length=200, description="Of this stream; of all if left out")]


class WantedSilence(BaseModel):
    """Which alert nobody is to be told of, for how long, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"alert": _ALERT, "stream": DEFAULT_STREAM, "for": "2h", "why": "upgrade of Kafka"}]
        },
    )

    alert: str = Field(max_length=200, description="Name of the rule")
    stream: str | None = Field(default=None, max_length=200, description="Of this stream; of all if left out")
    for_: str = Field(alias="for", max_length=20, description="Like 30m, 2h or 1d; 30d at most")
    why: str = Field(max_length=1000, description="For whoever looks meanwhile")


@router.post(
    "/silences",
    status_code=201,
    summary="Tell nobody of an alert for a while",
    dependencies=[MayOperate],
    responses={**AUTHENTICATED, **BAD_BODY, **TOO_LARGE, **INVALID, **STORE_AWAY},
)
async def silence(body: WantedSilence, asking: Asking, connection: Connection, now: Now) -> Silence:
    """As `etar alerts silence`: the alert is evaluated and shown as before. Of several silences the last to end
    counts."""
    action = Action(asking.name, "silence", body.alert, body.model_dump(by_alias=True, exclude={"alert"}))
    try:
        made = wanted(
            body.alert,
            stream=body.stream,
            time=body.for_,
            why=body.why,
            by=asking.name,
            settings=get_settings(AlertRuleSettings),
            now=now,
        )
    except UnfitSilenceError as error:
        await actions.refuse(connection, action, str(error))
        raise invalid(("body", error.part), str(error)) from error
    await actions.silence(connection, made, action)
    return made


@router.delete(
    "/silences/{alert}",
    status_code=204,
    summary="End the silences of an alert before their time",
    dependencies=[MayOperate],
    responses={
        204: {"description": "What fires by then is told"},
        **AUTHENTICATED,
        **NOT_SILENCED,
        **INVALID,
        **STORE_AWAY,
    },
)
async def unsilence(
    alert: Annotated[str, Path(max_length=200, description="Name of the rule", examples=[_ALERT])],
    asking: Asking,
    connection: Connection,
    now: Now,
    stream: _Stream = None,
) -> None:
    """As `etar alerts unsilence`: the silences that were made for just this stream, or for all streams."""
    action = Action(asking.name, "unsilence", alert, {"stream": stream})
    if not await actions.lift_silences(connection, action, stream=stream, now=now):
        raise HTTPException(
            404, f"{alert!a}{f' of {stream!a}' if stream else ''} is not silenced; `stream` has to be as it was then"
        )


@router.get(
    "/operator-actions",
    summary="What operators did by this API, oldest first",
    dependencies=[MayOperate],
    responses={200: {"headers": {"Link": LINK}, **example([_ACTION])}, **AUTHENTICATED, **INVALID, **STORE_AWAY},
)
async def operator_actions(
    *,
    request: Request,
    response: Response,
    connection: Connection,
    start: RangeStart = None,
    end: RangeEnd = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most this many actions: the newest of the range")] = 100,
) -> list[OperatorAction]:
    """Those in `[from, to)`, also what was refused; not what `etar` commands do. Of the instant of the first one, there
    are all."""
    require_range(start, end)
    found = await actions.between(connection, start, end, limit)
    response.headers.update(next_page(request, start, limit, [action.at for action in found]))
    return found

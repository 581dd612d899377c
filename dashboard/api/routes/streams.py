"""Which streams there are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead
from dashboard.api.problems import AUTHENTICATED, STORE_AWAY, example
from etar.ledger import FAILED_TOLD_FOR
from etar.stream_code import StreamCodeError, report_model
from etar.streams import DEFAULT_STREAM, Catalogue, Stream, catalogue

router = APIRouter(tags=["streams"])

_EXAMPLE: dict[str, Any] = {
    "name": DEFAULT_STREAM,
    "title": "User interactions",
    "newest_minute": "2026-11-21T10:31:00Z",
    "audited_through": "2026-11-21T10:30:00Z",
    "lost": 0,
    "failed": 0,
    "first_failed": None,
    "fault": None,
    "windows": None,
}


class StreamOverview(BaseModel):
    """A stream that is reported, or has been."""

    name: str
    title: str = Field(description="The same for people")
    newest_minute: AwareDatetime | None = Field(description="Newest minute that has a report; null before the first")
    audited_through: AwareDatetime | None = Field(
        description="All that arrived before is accounted for, offset by offset; null before the first audit"
    )
    lost: int = Field(description="Records that the audit found in no place, and that nobody has taken note of")
    failed: int = Field(description=f"Minutes of the last {FAILED_TOLD_FOR.days} days whose newest run failed")
    first_failed: AwareDatetime | None = Field(description="The oldest of them")
    fault: str | None = Field(description="Why its reports cannot be made now, and what to do; null as a rule")
    windows: str | None = Field(description="Title of its live windows; null where it has none")


@router.get(
    "/streams",
    summary="The streams, by name",
    dependencies=[MayRead],
    responses={200: example([_EXAMPLE]), **AUTHENTICATED, **STORE_AWAY},
)
async def streams(connection: Connection) -> list[StreamOverview]:
    """Those that have a folder, and those that have not any more but have reports."""
    known = catalogue()
    standings = await queries.standings(connection)
    reported = (name for name, each in standings.items() if each.newest_minute is not None)
    names = {*known.streams, *reported, *(fault.stream for fault in known.faults if fault.stream)}
    return [
        StreamOverview(
            name=name,
            title=(known.streams.get(name) or Stream(name)).title or name,
            **standings.get(name, queries.Standing())._asdict(),
            fault=_fault(known, name),
            windows=_windows_of(known, name),
        )
        for name in sorted(names)
    ]


def _fault(known: Catalogue, name: str) -> str | None:
    if own := [str(fault) for fault in known.faults if fault.stream == name]:
        return "; ".join(own)
    stream = known.streams.get(name)
    if stream is None:
        return f"stream {name} has no folder; its past reports stay"
    try:
        report_model(stream)
    except StreamCodeError as error:
        return str(error)
    return None


def _windows_of(known: Catalogue, name: str) -> str | None:
    stream = known.streams.get(name)
    return stream.windows.title if stream and stream.windows else None

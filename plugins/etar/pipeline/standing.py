"""How each minute of a day stands: reported, at work, failed, overdue, or one that nobody can report any more.

Pure, and by the rules by which ``etar_reconcile`` chooses (:mod:`etar.pipeline.affected`): what is overdue here is what
it takes next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from etar.ledger import State
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.pipeline.affected import has_to_be_reported, span
from etar.settings import PipelineSettings, ReconcileSettings


class Standing(StrEnum):
    """Every minute has exactly one."""

    REPORTED = "reported"
    """Its report is there, as it was first made."""

    REVISED = "revised"
    """Its report is there, and is not the first."""

    UNDER_WAY = "under way"
    """A run is at work on it."""

    DUE = "due"
    """It is over, and its own run may still begin it."""

    STALLED = "stalled"
    """Its run has written nothing for so long that it is taken for dead; the minute is begun again."""

    FAILED = "failed"
    """The last run gave it up; it is tried again."""

    MISSING = "missing"
    """No run has begun it, though later ones have been begun; it will be."""

    OVERDUE = "overdue"
    """No run has begun it, nor any later one, and one should have."""

    GIVEN_UP = "given up"
    """It was begun and has no report of what is known of it, and its rows have left the table: no run can succeed."""

    UNKNOWN = "unknown"
    """No run has begun it and its rows, if it had any, have left the table: whether it had any is not known."""

    NOT_EXPECTED = "not expected"
    """It is from before the deployment, and nothing is known of it."""

    AHEAD = "ahead"
    """It is not over yet."""


@dataclass(frozen=True)
class Begun:
    """What the ledger says of a minute, as far as its standing depends on it, and what is told beside it."""

    minute: datetime
    state: State
    revision: int | None
    unique_events: int | None
    dead_letters: int | None
    updated_at: datetime


_OfMinutes = Field(min_length=MINUTES_A_DAY, max_length=MINUTES_A_DAY)


class Day(BaseModel):
    """A stream's minutes of a UTC day in columns: the first entry of each is of 00:00, the last of 23:59. Half an hour
    of a range of the ledger is as large."""

    model_config = ConfigDict(frozen=True)

    stream: str
    day: date
    newest: AwareDatetime | None = Field(description="Newest minute of any day that a run has begun; null before one")
    reportable_from: int = Field(
        ge=0,
        le=MINUTES_A_DAY,
        description="First of these minutes that can still be reported (again); 1440 if none can",
    )
    standings: Annotated[tuple[Standing, ...], _OfMinutes] = Field(description="How each minute stands")
    revisions: Annotated[tuple[int | None, ...], _OfMinutes] = Field(description="Newest revision; null without one")
    events: Annotated[tuple[int | None, ...], _OfMinutes] = Field(description="Unique events; null if not known (yet)")
    dead_letters: Annotated[tuple[int | None, ...], _OfMinutes] = Field(
        description="Bad records that arrived in it; null if not known (yet)"
    )

    @property
    def windows(self) -> list[MinuteWindow]:
        return windows_of(self.day)


def windows_of(day: date) -> list[MinuteWindow]:
    """The minutes of a UTC day."""
    window = MinuteWindow(datetime.combine(day, time(), UTC))
    found = [window]
    while len(found) < MINUTES_A_DAY:
        found.append(found[-1].next)
    return found


def day_of(
    stream: str,
    day: date,
    rows: Iterable[Begun],
    *,
    newest: datetime | None,
    now: datetime,
    pipeline: PipelineSettings,
    policy: ReconcileSettings,
) -> Day:
    """A day by the ledger's rows of it.

    Args:
        newest: newest minute of the whole ledger.
    """
    begun = {row.minute: row for row in rows}
    windows = windows_of(day)
    kept_from, _ = span(now, pipeline)
    found = [begun.get(window.start) for window in windows]
    return Day(
        stream=stream,
        day=day,
        newest=newest,
        reportable_from=sum(window < kept_from for window in windows),
        standings=tuple(
            _standing(window, row, newest=newest, now=now, pipeline=pipeline, policy=policy)
            for window, row in zip(windows, found, strict=True)
        ),
        revisions=tuple(row.revision if row else None for row in found),
        events=tuple(row.unique_events if row else None for row in found),
        dead_letters=tuple(row.dead_letters if row else None for row in found),
    )


def _standing(
    window: MinuteWindow,
    row: Begun | None,
    *,
    newest: datetime | None,
    now: datetime,
    pipeline: PipelineSettings,
    policy: ReconcileSettings,
) -> Standing:
    kept_from, _ = span(now, pipeline)
    if row is not None:
        return _of_row(row, gone=window < kept_from, now=now, policy=policy)
    if window.end > now:
        return Standing.AHEAD
    if not has_to_be_reported(window, pipeline, held=False):
        return Standing.NOT_EXPECTED
    if window < kept_from:
        return Standing.UNKNOWN
    if window.end + policy.allowance > now:
        return Standing.DUE
    return Standing.MISSING if newest is not None and newest > window.start else Standing.OVERDUE


def _of_row(row: Begun, *, gone: bool, now: datetime, policy: ReconcileSettings) -> Standing:
    if row.state is State.REPORTED:
        return Standing.REVISED if (row.revision or 0) > 1 else Standing.REPORTED
    if row.state is State.FAILED:
        return Standing.GIVEN_UP if gone else Standing.FAILED
    if row.updated_at + policy.stale > now:
        return Standing.UNDER_WAY
    return Standing.GIVEN_UP if gone else Standing.STALLED

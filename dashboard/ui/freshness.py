"""How old the newest report is, and which notice the page shows about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from dashboard.ui.client import Snapshot
from dashboard.ui.times import IN_UTC, Clock
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport


class Level(Enum):
    """How much a notice matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Notice:
    """What a viewer must know before believing the numbers below it."""

    level: Level
    text: str


def age(window: MinuteWindow, now: datetime) -> timedelta:
    """Time since the end of a minute; negative while it lasts."""
    return now - window.start - MINUTE


def notice(
    snapshot: Snapshot[PublishedReport], clock: Clock = IN_UTC, *, now: datetime, overdue_after: timedelta
) -> Notice | None:
    """What is wrong with a snapshot, if anything.

    While the API is away nobody knows whether reports are overdue: only the first is said. A report is overdue once
    the newest minute's end is more than ``overdue_after`` ago.
    """
    if snapshot.problem is not None:
        return away(snapshot, clock)
    if snapshot.newest is None:
        return Notice(
            Level.INFO, "**No reports yet.** The first appears some seconds after the first whole minute has ended."
        )
    newest = snapshot.newest.window
    behind = age(newest, now)
    if behind > overdue_after:
        return Notice(
            Level.WARNING,
            f"**Reports are overdue.** The newest is of {newest}, which ended {words(behind)} ago. "
            "The pipeline may have stopped, or may be catching up.",
        )
    return None


def away(snapshot: Snapshot[Any], clock: Clock = IN_UTC) -> Notice:
    """What is said while the API does not answer."""
    taken_at = snapshot.taken_at
    shown = f"Below is what it said at {clock.said(taken_at)}." if taken_at else "There is nothing to show yet."
    return Notice(Level.ERROR, f"**The report API is away.** {snapshot.problem}. {shown}")


def published(report: PublishedReport, clock: Clock = IN_UTC) -> str:
    """When the shown report was published, and as which revision if it is not the first."""
    revised = f" as revision {report.revision}" if report.revision > 1 else ""
    return f"Last updated {clock.said(report.published_at)}{revised}"


def words(duration: timedelta) -> str:
    """A duration as a person says it: ``45 s``, ``3 min``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = int(duration.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"

"""Reports and rows of the ledger for the tests of the report API and the dashboard."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from etar.extracts import OffsetSpan
from etar.ledger import LedgerEntry, Stage, StageTimes, State
from etar.minute import MinuteWindow
from etar.report import PublishedReport
from tests.interactions import EVENT_TYPES, Outcomes, Report

MINUTE = MinuteWindow.parse("2025-11-21T10:31Z")


def minutes_after(count: int) -> MinuteWindow:
    """The minute so many after :data:`MINUTE`."""
    return MinuteWindow(MINUTE.start + timedelta(minutes=count))


def a_report(window: MinuteWindow = MINUTE, *, views: int = 100, view_errors: int = 4, **other: Any) -> Report:
    """A report with ``views`` successful views, ``view_errors`` failed ones and ten clicks."""
    types = {name: Outcomes() for name in EVENT_TYPES}
    types |= {"view": Outcomes(success=views, error=view_errors), "click": Outcomes(success=10)}
    total = views + view_errors + 10
    fields: dict[str, Any] = {
        "minute": window.start,
        "total_events": total,
        "total_errors": view_errors,
        "event_types": types,
        "unique_users": total // 2,
        "rows_read": total + 1,
        "source_object": f"s3://etar/extracts/user_interactions/{window.slug}.parquet",
    }
    return Report(**(fields | other))


def a_published_report(window: MinuteWindow = MINUTE, *, at: datetime | None = None, **report: Any) -> PublishedReport:
    """The same as the API serves it: revision 1, published at the minute's end unless told."""
    content = a_report(window, **report).model_dump(mode="json")
    return PublishedReport(**content, revision=1, published_at=at or window.end)


def an_entry(window: MinuteWindow = MINUTE, **other: Any) -> LedgerEntry:
    """A reported minute's row: 102 rows received, 100 events, 2 of the rows late, 3 dead letters, each step 2.5 s."""
    began = {stage: window.end + count * timedelta(seconds=3) for count, stage in enumerate(Stage)}
    fields: dict[str, Any] = {
        "stream": "user_interactions",
        "minute": window.start,
        "state": State.REPORTED,
        "run_id": f"etar_pipeline/scheduled__{window.end.isoformat()}",
        "received": 102,
        "duplicates": 2,
        "unique_events": 100,
        "late_events": 2,
        "dead_letters": 3,
        "offsets": {0: OffsetSpan(first=5, last=66, rows=60), 1: OffsetSpan(first=7, last=48, rows=42)},
        "settled_offsets": {0: 67, 1: 49},
        "object_key": f"extracts/user_interactions/{window.slug}.parquet",
        "object_size": 4821,
        "object_etag": "0123456789abcdef0123456789abcdef",
        "stages": {
            stage: StageTimes(started_at=at, ended_at=at + timedelta(seconds=2.5)) for stage, at in began.items()
        },
        "revision": 1,
        "error": None,
        "updated_at": window.end + timedelta(seconds=12),
    }
    return LedgerEntry.model_validate(fields | other)


def an_open_entry(window: MinuteWindow = MINUTE, state: State = State.OPEN, **other: Any) -> LedgerEntry:
    """The row of a minute whose first run has nothing to say yet."""
    columns = ("received", "duplicates", "unique_events", "late_events", "dead_letters", "offsets", "settled_offsets")
    unknown = dict.fromkeys((*columns, "object_key", "object_size", "object_etag", "revision"))
    stages = {Stage.SETTLE: StageTimes(started_at=window.end)}
    return an_entry(window, **(unknown | {"state": state, "stages": stages} | other))


def a_failed_entry(window: MinuteWindow = MINUTE, **other: Any) -> LedgerEntry:
    """The row of a minute whose first run gave up while it settled."""
    return an_open_entry(window, State.FAILED, **({"error": "the sink is <away>"} | other))

"""Reports for the tests of the report API and the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from etar.minute import MinuteWindow
from etar.report import EVENT_TYPES, Outcomes, PublishedReport, Report

MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")


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
    content = a_report(window, **report).model_dump()
    return PublishedReport(**content, revision=1, published_at=at or window.end)

"""What the page shows of a shop's user interactions."""

from __future__ import annotations

from etar.page import EVENTS, EVENTS_A_MINUTE, Bars, Form, Line, Lines, Metric, Part, Tone

from .report import EVENT_TYPES

METRICS = (
    EVENTS,
    Metric("total_errors", "Errors", about="Events with status error"),
    Metric("error_rate", "Error rate", Form.PERCENT, "Errors / events"),
    Metric("unique_users", "Unique users", about="Different users with at least one event"),
)
CHARTS = (
    Bars(
        "Newest minute by event type",
        field="event_types",
        parts=(Part("success", "Success"), Part("error", "Error", Tone.BAD, counted="error")),
        order=EVENT_TYPES,
    ),
    Lines((EVENTS_A_MINUTE, Line("error_rate", "Error rate", Form.PERCENT, Tone.BAD))),
)

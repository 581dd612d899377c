"""The first stream's report: what adds up is one, what does not is refused, and JSON takes it there and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from etar.minute import MinuteWindow
from tests.interactions import EVENT_TYPES, Outcomes, Report

MINUTE = datetime(2025, 8, 9, 10, 30, tzinfo=UTC)
VALID: dict[str, Any] = {
    "minute": MINUTE,
    "total_events": 10,
    "total_errors": 3,
    "event_types": {"view": {"success": 5, "error": 2}, "purchase": {"success": 2, "error": 1}},
    "unique_users": 4,
    "rows_read": 12,
    "source_object": "s3a://etar/extracts/user_interactions/2025-08-09_10-30.parquet",
}


def test_json_takes_a_report_there_and_back() -> None:
    report = Report.model_validate(VALID)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_error_rate_is_in_the_json_but_is_never_believed_from_it() -> None:
    written = json.loads(Report.model_validate(VALID).model_dump_json())
    assert written["error_rate"] == pytest.approx(0.3)
    assert Report.model_validate(written | {"error_rate": 0.99}).error_rate == pytest.approx(0.3)


def test_an_empty_minute_has_every_type_at_zero_and_no_source() -> None:
    empty = Report.empty(MinuteWindow(MINUTE), stream="user_interactions")
    assert empty.event_types == {name: Outcomes(success=0, error=0) for name in EVENT_TYPES}
    assert (empty.total_events, empty.total_errors, empty.unique_users, empty.rows_read) == (0, 0, 0, 0)
    assert (empty.error_rate, empty.source_object, empty.window) == (0.0, None, MinuteWindow(MINUTE))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"total_events": 11}, "add up to 10 events", id="total above the types"),
        pytest.param({"total_errors": 2}, "add up to 10 events with 3 errors", id="errors below the types"),
        pytest.param({"rows_read": 9}, "more than rows_read 9", id="more events than rows"),
        pytest.param({"unique_users": 11}, "more than total_events 10", id="more users than events"),
        pytest.param({"unique_users": -1}, "greater than or equal to 0", id="negative"),
        pytest.param({"minute": MINUTE.replace(second=1)}, "not the start of a minute", id="unaligned minute"),
        pytest.param({"minute": MINUTE.replace(tzinfo=None)}, "timezone", id="minute without a zone"),
        pytest.param({"revenue": 1}, "Extra inputs are not permitted", id="unknown field"),
        pytest.param({"schema_version": 2}, "Input should be 1", id="another schema version"),
    ],
)
def test_what_does_not_add_up_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Report.model_validate(VALID | change)


@pytest.mark.parametrize("users", [0, 10])
def test_the_bounds_themselves_are_allowed(users: int) -> None:
    assert Report.model_validate(VALID | {"unique_users": users, "rows_read": 10}).unique_users == users


def test_equal_content_is_the_same_report_whatever_the_order_of_types() -> None:
    turned = VALID | {"event_types": dict(reversed(VALID["event_types"].items()))}
    assert Report.model_validate(turned) == Report.model_validate(VALID)


def test_a_report_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Report.model_validate(VALID).total_events = 0


def test_event_types_are_in_funnel_order_and_unknown_ones_after_them() -> None:
    counted = {name: Outcomes(success=1) for name in ("zoom", "purchase", "ask", "view")}
    report = Report(
        minute=datetime(2026, 11, 21, 10, 31, tzinfo=UTC),
        total_events=4,
        total_errors=0,
        event_types=counted,
        unique_users=1,
        rows_read=4,
        source_object=None,
    )
    assert list(report.event_types) == ["view", "purchase", "ask", "zoom"]


EARLIER = (
    '{"schema_version":1,"stream":"user_interactions","minute":"2026-11-21T10:31:00Z","total_events":10,"total_errors":3,'
    '"event_types":{"view":{"success":5,"error":2},"purchase":{"success":2,"error":1},"zoom":{"success":0,"error":0}},'
    '"unique_users":4,"rows_read":12,'
    '"source_object":"s3a://etar/extracts/user_interactions/2026-11-21_10-31.parquet","error_rate":0.3}'
)
"""Written by the model before it was an envelope and a body."""


def test_the_json_is_that_of_earlier_versions_byte_for_byte() -> None:
    """Another content would be another revision of every minute that is reported again."""
    assert Report.model_validate_json(EARLIER).model_dump_json() == EARLIER

"""A page of plain values: how values are written, and the page of a report whose stream has none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from etar.page import EVENTS, EVENTS_A_MINUTE, Bars, Form, Line, Lines, Metric, Table, page_of


@pytest.mark.parametrize(
    ("form", "value", "written"),
    [
        (Form.NUMBER, 1234567, "1,234,567"),
        (Form.NUMBER, 1234.5, "1,234.50"),
        (Form.NUMBER, 0, "0"),
        (Form.NUMBER, "12", "-"),
        (Form.PERCENT, 0.0273, "2.73%"),
        (Form.PERCENT, 0, "0.00%"),
        (Form.DECIMAL, "1234567.10", "1,234,567.10"),
        (Form.DECIMAL, "0.00", "0.00"),
        # More digits than a float has.
        (Form.DECIMAL, "12345678901234567890.12", "12,345,678,901,234,567,890.12"),
        (Form.DECIMAL, Decimal("-5.50"), "-5.50"),
        (Form.DECIMAL, "1e30", "1,000,000,000,000,000,000,000,000,000,000"),
        (Form.DECIMAL, "NaN", "-"),
        (Form.DECIMAL, "many", "-"),
        (Form.TEXT, "2026-11-21T10:31:00Z", "2026-11-21T10:31:00Z"),
        (Form.NUMBER, True, "true"),
        (Form.NUMBER, {"a": 1}, "-"),
        *((form, None, "-") for form in Form),
    ],
)
def test_a_value_is_written_as_people_read_it(form: Form, value: Any, written: str) -> None:
    assert form.written(value) == written


@pytest.mark.parametrize(
    ("form", "value", "before", "written"),
    [
        (Form.NUMBER, 1234, 200, "+1,034"),
        (Form.NUMBER, 200, 1234, "-1,034"),
        (Form.NUMBER, 7, 7, "±0"),
        (Form.NUMBER, 2.5, 1, "+1.50"),
        (Form.PERCENT, 0.0325, 0.01, "+2.25pp"),
        (Form.DECIMAL, "12345678901234567890.50", "0.25", "+12,345,678,901,234,567,890.25"),
        (Form.DECIMAL, "1.00", "1", "±0"),
        (Form.TEXT, "b", "a", None),
        (Form.NUMBER, None, 1, None),
        (Form.NUMBER, 1, None, None),
        (Form.NUMBER, {"a": 1}, 1, None),
        (Form.NUMBER, float("nan"), 1, None),
    ],
)
def test_a_change_has_its_sign(form: Form, value: Any, before: Any, written: str | None) -> None:
    assert form.changed(value, before) == written


def test_without_a_page_the_report_itself_is_shown() -> None:
    body = {
        "revenue": "1234.50",
        "rides": 12,
        "longest": "Airport",
        "by_category": {"home": "12.00", "sports": "8.50"},
        "by_city": {"Berlin": {"rides": 3, "revenue": "9.00"}},
        "slowest": [{"ride": "a", "seconds": 12}],
        "nothing": {},
    }

    page = page_of(body)

    assert page.metrics == (
        EVENTS,
        Metric("revenue", "Revenue", Form.DECIMAL),
        Metric("rides", "Rides"),
        Metric("longest", "Longest", Form.TEXT),
    )
    assert page.charts == (
        Lines((EVENTS_A_MINUTE, Line("revenue", "Revenue", Form.DECIMAL), Line("rides", "Rides"))),
        Bars("By category", "by_category", form=Form.DECIMAL),
        Table("By city", "by_city"),
        Table("Slowest", "slowest"),
        Table("Nothing", "nothing"),
    )


def test_a_report_without_a_body_has_a_page_too() -> None:
    assert page_of({}).metrics == (EVENTS,)
    assert page_of({}).charts == (Lines((EVENTS_A_MINUTE,)),)


def test_of_many_numbers_the_first_are_shown_as_metrics() -> None:
    page = page_of({f"number_{index}": index for index in range(50)})
    assert [metric.field for metric in page.metrics] == ["total_events", *(f"number_{index}" for index in range(5))]
    [lines] = page.charts
    assert isinstance(lines, Lines)
    assert len(lines.lines) == 3

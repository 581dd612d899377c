from __future__ import annotations

from datetime import timedelta

import pytest

from dashboard.ui import figures
from etar.minute import MinuteWindow
from etar.report import Outcomes, Report
from tests.unit.dashboard.samples import MINUTE, a_report

FUNNEL = ["View", "Click", "Add to cart", "Checkout", "Purchase", "Search"]


def test_bars_stack_success_and_error_of_each_type_in_funnel_order() -> None:
    success, error = figures.event_types(a_report(views=1200, view_errors=34)).data

    assert list(success.y) == list(error.y) == FUNNEL
    assert list(success.x) == [1200, 10, 0, 0, 0, 0]
    assert list(error.x) == [34, 0, 0, 0, 0, 0]


def test_bars_name_their_counts_so_that_a_sliver_of_errors_is_read_too() -> None:
    figure = figures.event_types(a_report(views=1200, view_errors=1))

    assert figure.layout.barmode == "stack"
    words = {each.y: each.text for each in figure.layout.annotations}
    assert words["View"] == "1,201 · 1 error"
    assert words["Click"] == "10 · no errors"
    assert set(words) == set(FUNNEL)


def test_a_type_outside_the_funnel_is_shown_after_it() -> None:
    report = a_report(
        event_types={"zoom": Outcomes(success=1), "hover": Outcomes(success=2)},
        total_events=3,
        total_errors=0,
        unique_users=1,
        rows_read=3,
    )

    assert list(figures.event_types(report).data[0].y) == [*FUNNEL, "Hover", "Zoom"]


def test_an_empty_minute_has_bars_of_zero() -> None:
    figure = figures.event_types(Report.empty(MINUTE))

    assert sum(figure.data[0].x) == 0
    assert figure.layout.xaxis.range[1] > 0


def test_success_and_error_differ_in_lightness_not_only_in_hue() -> None:
    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: float, other: float) -> float:
        return (max(one, other) + 0.05) / (min(one, other) + 0.05)

    success, error = luminance(figures.SUCCESS), luminance(figures.ERROR)
    white, dark = luminance("#FFFFFF"), luminance("#0E1117")
    assert error > success * 1.3
    # WCAG 2.2, 1.4.11: graphics need 3:1 against what they lie on.
    assert min(contrast(color, ground) for color in (success, error) for ground in (white, dark)) >= 3


def test_the_lines_break_where_a_minute_has_no_report() -> None:
    third = MINUTE.next.next
    events, rate = figures.history([a_report(views=86, view_errors=4), a_report(third, views=90, view_errors=0)]).data

    assert list(events.x) == [MINUTE.start, MINUTE.next.start, third.start]
    assert list(events.y) == [100, None, 100]
    assert list(rate.y) == [0.04, None, 0.0]
    assert not events.connectgaps
    assert not rate.connectgaps


@pytest.mark.parametrize("count", [0, 1])
def test_few_reports_are_a_figure_too(count: int) -> None:
    events, _ = figures.history([a_report()] * count).data

    assert len(events.x) == count
    assert count == 0 or "markers" in events.mode


def test_recent_is_the_span_that_ends_with_the_newest_minute() -> None:
    def minutes_before(count: int) -> Report:
        return a_report(MinuteWindow(MINUTE.start - timedelta(minutes=count)))

    reports = [minutes_before(count) for count in (9000, 4, 3, 2, 0)]

    assert figures.recent(reports, timedelta(minutes=4)) == [minutes_before(3), minutes_before(2), minutes_before(0)]
    assert figures.recent([], timedelta(minutes=4)) == []

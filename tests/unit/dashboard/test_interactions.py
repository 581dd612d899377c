"""What the page shows of the first stream, by its own page.py."""

from __future__ import annotations

import pytest

from dashboard.ui import drawing
from etar.page import Bars, Lines, Page
from etar.stream_code import stream_page
from etar.streams import default_stream
from tests.interactions import Outcomes
from tests.unit.dashboard.samples import MINUTE, a_published_report

PAGE = stream_page(default_stream()) or Page((), ())
[BARS] = [chart for chart in PAGE.charts if isinstance(chart, Bars)]
[LINES] = [chart for chart in PAGE.charts if isinstance(chart, Lines)]

FUNNEL = ["View", "Click", "Add to cart", "Checkout", "Purchase", "Search"]


def test_bars_stack_success_and_error_of_each_type_in_funnel_order() -> None:
    success, error = drawing.bars(BARS, a_published_report(views=1200, view_errors=34)).data

    assert list(success.y) == list(error.y) == FUNNEL
    assert list(success.x) == [1200, 10, 0, 0, 0, 0]
    assert list(error.x) == [34, 0, 0, 0, 0, 0]


def test_bars_name_their_counts_so_that_a_sliver_of_errors_is_read_too() -> None:
    figure = drawing.bars(BARS, a_published_report(views=1200, view_errors=1))

    assert figure.layout.barmode == "stack"
    words = {each.y: each.text for each in figure.layout.annotations}
    assert words["View"] == "1,201 · 1 error"
    assert words["Click"] == "10 · no errors"
    assert set(words) == set(FUNNEL)


def test_a_type_outside_the_funnel_is_shown_after_it() -> None:
    report = a_published_report(
        event_types={"zoom": Outcomes(success=1), "hover": Outcomes(success=2)},
        total_events=3,
        total_errors=0,
        unique_users=1,
        rows_read=3,
    )

    assert list(drawing.bars(BARS, report).data[0].y) == [*FUNNEL, "Hover", "Zoom"]


def test_an_empty_minute_has_bars_of_zero() -> None:
    figure = drawing.bars(
        BARS, a_published_report(views=0, view_errors=0, event_types={}, total_events=0, unique_users=0)
    )

    assert sum(figure.data[0].x) == 0
    assert figure.layout.xaxis.range[1] > 0


def test_the_lines_break_where_a_minute_has_no_report() -> None:
    third = MINUTE.next.next
    events, rate = drawing.lines(
        LINES, [a_published_report(views=86, view_errors=4), a_published_report(third, views=90, view_errors=0)]
    ).data

    assert list(events.x) == [MINUTE.start, MINUTE.next.start, third.start]
    assert list(events.y) == [100, None, 100]
    assert list(rate.y) == [0.04, None, 0.0]
    assert not events.connectgaps
    assert not rate.connectgaps


@pytest.mark.parametrize("count", [0, 1])
def test_few_reports_are_a_figure_too(count: int) -> None:
    events, _ = drawing.lines(LINES, [a_published_report()] * count).data

    assert len(events.x) == count
    assert count == 0 or "markers" in events.mode


def test_the_metrics_are_the_minutes_figures() -> None:
    shown = {
        metric.name: metric.value for metric in drawing.metrics(PAGE, [a_published_report(views=1200, view_errors=34)])
    }

    assert shown == {"Events": "1,244", "Errors": "34", "Error rate": "2.73%", "Unique users": "622"}


def test_of_a_report_of_another_shape_the_page_shows_what_it_says() -> None:
    known = a_published_report()
    older = known.model_validate(
        known.model_dump(exclude={"error_rate", "unique_users", "event_types"}) | {"visitors": 3}
    )

    shown = {metric.name: metric.value for metric in drawing.metrics(PAGE, [older])}
    assert shown == {"Events": "114", "Errors": "4", "Error rate": "-", "Unique users": "-"}
    assert list(drawing.bars(BARS, older).data[0].x) == [0] * 6
    assert list(drawing.lines(LINES, [older]).data[1].y) == [None]

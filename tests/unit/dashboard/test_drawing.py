"""A page's plain values as figures and rows; the first stream's own are in ``test_interactions.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dashboard.ui import drawing
from etar.minute import MinuteWindow
from etar.page import EVENTS, Bars, Form, Line, Lines, Metric, Page, Part, Table, Tone
from etar.report import PublishedReport
from tests.unit.dashboard.samples import MINUTE


def a_report(window: MinuteWindow = MINUTE, **body: Any) -> PublishedReport:
    return PublishedReport.model_validate(
        {
            "stream": "sales",
            "minute": window.start,
            "total_events": 5,
            "rows_read": 6,
            "source_object": None,
            "revision": 1,
            "published_at": window.end,
            **body,
        }
    )


def words(chart: Bars, **body: Any) -> dict[str, str]:
    return {each.y: each.text for each in drawing.bars(chart, a_report(**body)).layout.annotations}


def test_bars_of_decimals_are_written_exactly() -> None:
    chart = Bars("By category", "sales", form=Form.DECIMAL)
    assert words(chart, sales={"home_goods": "12345678901234567890.12", "sports": "8.50"}) == {
        "Home goods": "12,345,678,901,234,567,890.12",
        "Sports": "8.50",
    }
    [bars] = drawing.bars(chart, a_report(sales={"home_goods": "2.00", "sports": "8.50"})).data
    assert list(bars.x) == [2.0, 8.5]


def test_of_too_many_bars_the_longest_are_shown() -> None:
    counts = {f"city_{index:03}": index for index in range(100)}
    shown = words(Bars("By city", "cities", order=("city_000",), most=4), cities=counts)
    assert list(shown) == ["City 000", "City 097", "City 098", "City 099"]


def test_a_field_that_is_missing_or_of_another_shape_has_no_bars() -> None:
    assert words(Bars("x", "cities")) == {}
    assert words(Bars("x", "cities"), cities=7) == {}
    assert words(Bars("x", "cities", order=("a",)), cities={"b": None}) == {"A": "0", "B": "0"}


def test_each_line_has_a_row_of_its_own() -> None:
    chart = Lines((Line("total_events", "Events"), Line("revenue", "Revenue", Form.DECIMAL), Line("users", "Users")))
    figure = drawing.lines(chart, [a_report(revenue="7.50"), a_report(MINUTE.next, users=3)])
    assert [list(trace.y) for trace in figure.data] == [[5, 5], [7.5, None], [None, 3]]
    assert [annotation.text for annotation in figure.layout.annotations] == ["Events", "Revenue", "Users"]


def test_a_table_has_a_row_for_each_entry() -> None:
    listed, mapped = Table("Slowest", "slowest"), Table("By city", "cities")
    assert drawing.rows(listed, a_report(slowest=[{"ride_id": "a", "seconds": 2}, "odd"])) == [
        {"Ride id": "a", "Seconds": 2},
        {"Value": "odd"},
    ]
    assert drawing.rows(mapped, a_report(cities={"Berlin": {"rides": 3}, "Bonn": 4})) == [
        {"": "Berlin", "Rides": 3},
        {"": "Bonn", "Value": 4},
    ]
    assert drawing.rows(listed, a_report()) == []


def test_a_metric_says_by_how_much_it_is_more_than_a_minute_and_an_hour_ago() -> None:
    page = Page((Metric("users", "Users"), Metric("best", "Best", Form.TEXT)), ())
    minutes = [MinuteWindow(MINUTE.start + timedelta(minutes=count)) for count in (0, 1, 58, 59, 60)]
    users = dict(zip(minutes, (10, 20, 30, 7, 12), strict=True))
    reports = [a_report(each, users=count, best="a") for each, count in users.items()]

    assert [each.change for each in drawing.metrics(page, reports)] == ["+5 · 1h +2", ""]
    assert drawing.metrics(page, [*reports[1:3], reports[4]])[0].change == ""
    assert drawing.metrics(page, reports[1:])[0].change == "+5"


def test_a_page_is_drawn_of_the_newest_minute_and_over_all() -> None:
    page = Page(
        (EVENTS, Metric("revenue", "Revenue", Form.DECIMAL)), (Lines((Line("users", "Users"),)), Table("T", "t"))
    )
    reports = [a_report(users=1, revenue="1.00"), a_report(MINUTE.next, users=2, revenue="2.00", t=[{"a": 1}])]

    assert [each.value for each in drawing.metrics(page, reports)] == ["5", "2.00"]
    history, table = drawing.charts(page, reports)
    assert (history.key, history.title) == ("history", None)
    assert history.figure is not None
    assert list(history.figure.data[0].y) == [1, 2]
    assert history.alt == "Users: a line each, minute by minute"
    assert (table.key, table.title, table.figure, table.rows) == ("t", "T", None, [{"A": 1}])


def test_bars_say_what_they_show_to_who_does_not_see_them() -> None:
    parts = (Part("fine", "Fine"), Part("bad", "Errors", Tone.BAD, counted="error"))
    page = Page((), (Bars("By type", "types", parts=parts), Bars("By city", "cities")))
    by_type, by_city = drawing.charts(page, [a_report(types={"view": {"fine": 1_000, "bad": 2}})])
    assert by_type.alt == "By type: View 1,002 · 2 errors"
    assert by_city.alt == "By city: nothing"
    # Nor by its color alone.
    assert by_type.figure is not None
    assert [list(trace.marker.pattern.shape) for trace in by_type.figure.data] == [[""], ["/"]]

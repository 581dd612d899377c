"""Times in a viewer's zone with UTC beside, in words, tables and charts; half hours, other days and summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard.ui import accounting, drawing, live, minute
from dashboard.ui.accounting import accounted
from dashboard.ui.times import IN_UTC, Clock
from dashboard.ui.trace_view import steps_table
from etar.page import Line, Lines
from etar.trace.answer import RecordTrace, Standing, Step, StepName, StepState
from tests.live_windows import row
from tests.unit.dashboard.samples import MINUTE, a_published_report, an_entry
from tests.unit.dashboard.test_live import shown

KOLKATA = Clock.of("Asia/Kolkata")
INSTANT = datetime(2025, 11, 21, 10, 31, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "said", "beside"),
    [
        ("Europe/Berlin", "2025-11-21 11:31:05 Europe/Berlin (10:31:05 UTC)", "11:31 in Europe/Berlin"),
        ("Asia/Kolkata", "2025-11-21 16:01:05 Asia/Kolkata (10:31:05 UTC)", "16:01 in Asia/Kolkata"),
        ("Asia/Kathmandu", "2025-11-21 16:16:05 Asia/Kathmandu (10:31:05 UTC)", "16:16 in Asia/Kathmandu"),
        (
            "Pacific/Auckland",
            "2025-11-21 23:31:05 Pacific/Auckland (10:31:05 UTC)",
            "23:31 in Pacific/Auckland",
        ),
        (
            "Pacific/Kiritimati",
            "2025-11-22 00:31:05 Pacific/Kiritimati (2025-11-21 10:31:05 UTC)",
            "00:31 in Pacific/Kiritimati",
        ),
        ("Europe/London", "2025-11-21 10:31:05 UTC", None),  # in winter
        ("UTC", "2025-11-21 10:31:05 UTC", None),
        ("Nowhere/At all", "2025-11-21 10:31:05 UTC", None),
        ("../etc/passwd", "2025-11-21 10:31:05 UTC", None),
        ("", "2025-11-21 10:31:05 UTC", None),
        (None, "2025-11-21 10:31:05 UTC", None),
    ],
)
def test_an_instant_is_said_in_the_viewers_zone_with_utc_beside(
    zone: str | None, said: str, beside: str | None
) -> None:
    clock = Clock.of(zone)
    assert (clock.said(INSTANT), clock.beside(INSTANT)) == (said, beside)


def test_a_table_has_a_column_more_where_the_zone_is_not_utc() -> None:
    assert KOLKATA.column("Minute", [INSTANT, None]) == {"Minute (Asia/Kolkata)": ["16:01", "-"]}
    assert KOLKATA.column("Minute", [None]) == {}
    assert IN_UTC.column("Minute", [INSTANT]) == {}
    assert KOLKATA.cells("Minute", [INSTANT, None]) == [
        {"Minute (Asia/Kolkata)": "16:01"},
        {"Minute (Asia/Kolkata)": "-"},
    ]
    assert IN_UTC.cells("Minute", [INSTANT, None]) == [{}, {}]


def test_an_axis_keeps_one_distance_from_utc_over_a_change_to_winter_time() -> None:
    newest = datetime(2025, 10, 26, 1, 30, tzinfo=UTC)  # half an hour after clocks in Berlin went back
    axis = Clock.of("Europe/Berlin").axis(newest)
    assert axis.title == "Europe/Berlin (UTC+01:00)"
    assert [f"{each:%H:%M}" for each in axis.places([newest - timedelta(hours=1), newest])] == ["01:30", "02:30"]
    assert axis.utc([newest]) == ["01:30"]


def test_every_chart_and_table_over_time_is_in_the_viewers_zone() -> None:
    lines = drawing.lines(Lines((Line("total_events", "Events"),)), [a_published_report()], KOLKATA)
    minutes = accounted([an_entry()])
    strip = accounting.figure(minutes, KOLKATA)
    windows = shown(row(MINUTE, "Oslo", "20.30", 3))
    for figure in (lines, strip, live.lines(windows, KOLKATA)):
        titles = [axis.title.text for axis in figure.select_xaxes() if axis.title.text]
        assert titles == ["Asia/Kolkata (UTC+05:30)"]
        assert {f"{x:%H:%M}" for trace in figure.data for x in trace.x} == {"16:01"}
        pointed_at = [
            trace for trace in figure.data if "%{x|%H:%M} Asia/Kolkata (%{customdata} UTC)" in trace.hovertemplate
        ]
        assert {each for trace in pointed_at for each in trace.customdata} == {"10:31"}
    assert strip.data[0].customdata[0] == "10:31 UTC, 16:01 in Asia/Kolkata: reported, revision 1"

    for table in (accounting.table(minutes, KOLKATA), live.table(windows, KOLKATA)):
        assert table.data.iloc[0, :2].tolist() == ["16:01", "10:31"]
    began = minute.steps(an_entry(), KOLKATA)[0]
    assert (began["Began (Asia/Kolkata)"], began["Began (UTC)"]) == ("16:02:00", "10:32:00")
    step = Step(name=StepName.KAFKA, state=StepState.DONE, at=INSTANT, says="")
    record = RecordTrace(log="x", partition=3, offset=1, standing=Standing.COUNTED, says="", steps=(step,))
    assert "2025-11-21\u00a016:01:05<" in steps_table(record, KOLKATA)
    assert "2025-11-21\u00a010:31:05.000<" in steps_table(record, KOLKATA)

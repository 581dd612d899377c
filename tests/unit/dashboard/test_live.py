from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from dashboard.ui import live
from dashboard.ui.client import Snapshot
from dashboard.ui.freshness import Level
from etar.minute import MINUTE as ONE_MINUTE
from etar.windows import StreamWindows
from tests.live_windows import declared, row
from tests.unit.dashboard.samples import MINUTE, minutes_after


def shown(*rows: dict[str, Any]) -> StreamWindows:
    """As the API answers these rows."""
    as_asked = [
        {**each, "window_start": each["start"], "window_end": each["end"], "group": each["city"]} for each in rows
    ]
    return StreamWindows.of("rides", declared("rides"), as_asked)


FINAL = row(MINUTE, "Oslo", "20.30", 3, streamed=("10.10", 1), revision=2)
STREAMED = (row(minutes_after(2), "Oslo", "1234.50", 12), row(minutes_after(2), "Bodø", "0.50", 1))


def of(answer: StreamWindows, **other: Any) -> Snapshot[StreamWindows]:
    return Snapshot((answer,), MINUTE.end, **other)


def test_the_metrics_are_of_the_newest_window_and_of_all() -> None:
    found = {each.key: (each.name, each.value) for each in live.metrics(shown(FINAL, *STREAMED))}

    assert found == {
        "window": ("Newest (UTC) · streamed", "10:33"),
        "total": ("Takings", "1,235.00"),
        "rides": ("Rides", "13"),
        "total-total": ("Takings, 2 windows", "1,255.30"),
        "rides-total": ("Rides, 2 windows", "16"),
        "final": ("Final windows", "1 of 2"),
    }


def test_a_bar_is_hatched_until_its_group_is_final() -> None:
    answer = shown(row(MINUTE, "Oslo", "20.30", 3, revision=1), row(MINUTE, "Bodø", "1.00", 1))
    (bars,) = live.bars(answer).data

    assert list(bars.y) == ["Oslo", "Bergen", "Bodø"]
    assert list(bars.x) == [20.3, 0.0, 1.0]
    # Of Bergen nobody said anything in a window that is not final yet.
    assert list(bars.marker.pattern.shape) == ["", "/", "/"]
    assert [each.text for each in live.bars(answer).layout.annotations] == ["20.30 · 3", "0 · 0", "1.00 · 1"]


def test_lines_have_a_gap_where_there_is_no_window_and_shade_what_is_streamed() -> None:
    figure = live.lines(shown(FINAL, *STREAMED, row(minutes_after(3), "Oslo", "1.00", 1)))

    assert [each.name for each in figure.data] == ["Total", "Oslo", "Bergen", "Bodø"]
    assert len({each.line.dash for each in figure.data[1:]}) == 3  # told apart without color, too
    assert list(figure.data[0].y) == [20.3, None, 1235.0, 1.0]
    assert list(figure.data[3].y) == [0.0, None, 0.5, 0.0]
    assert shades(figure) == [(minutes_after(2).start, minutes_after(3).end)]


def shades(figure: Any) -> Sequence[tuple[datetime, datetime]]:
    """The stretches that are shaded, once though both charts have them."""
    half = ONE_MINUTE / 2
    return sorted({(each.x0 + half, each.x1 + half) for each in figure.layout.shapes})


def test_a_row_says_by_how_much_the_report_corrected_the_stream() -> None:
    frame = live.table(shown(FINAL, *STREAMED)).data

    assert frame.to_dict("records") == [
        {
            "Window (UTC)": "10:33",
            "State": "streamed",
            "Takings": "1,235.00",
            "Takings: stream": "1,235.00",
            "Takings: corrected by": "-",
            "Rides": "13",
            "Rides: stream": "13",
            "Rides: corrected by": "-",
            "Oslo": "1,234.50",
            "Bergen": "0",
            "Bodø": "0.50",
        },
        {
            "Window (UTC)": "10:31",
            "State": "final, revision 2",
            "Takings": "20.30",
            "Takings: stream": "10.10",
            "Takings: corrected by": "+10.20",
            "Rides": "3",
            "Rides: stream": "1",
            "Rides: corrected by": "+2",
            "Oslo": "20.30",
            "Bergen": "0",
            "Bodø": "0",
        },
    ]


@pytest.mark.parametrize(
    ("snapshot", "level", "text"),
    [
        (Snapshot[StreamWindows](), Level.INFO, "No windows yet"),
        (of(shown()), Level.INFO, "No windows yet"),
        (of(shown(FINAL)), Level.WARNING, "Nothing new for 10 min"),
        (of(shown(FINAL), problem="gone"), Level.ERROR, "The report API is away"),
    ],
)
def test_what_a_viewer_must_know(snapshot: Snapshot[StreamWindows], level: Level, text: str) -> None:
    later = MINUTE.end + timedelta(minutes=10)
    notice = live.notice(snapshot, now=later, still_after=timedelta(minutes=2))

    assert notice is not None
    assert (notice.level, text in notice.text) == (level, True)


def test_nothing_is_said_while_windows_grow() -> None:
    now = MINUTE.end + timedelta(minutes=2)
    assert live.notice(of(shown(FINAL)), now=now, still_after=timedelta(minutes=2)) is None

"""What a day's minutes come to on the page: a calendar of cells by standing, their legend, and what is wrong with the
day. Pure functions of the API's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from typing import NamedTuple, TypeVar

import numpy as np
import plotly.graph_objects as go

from dashboard.ui.accounting import REVISED, UNDER_WAY
from dashboard.ui.client import Snapshot
from dashboard.ui.figures import ERROR
from dashboard.ui.freshness import Level, Notice, away
from dashboard.ui.times import IN_UTC, Clock
from etar.minute import MinuteWindow
from etar.pipeline.standing import Day, Standing

HOURS, MINUTES = 24, 60

_Read = TypeVar("_Read", date, time)


class Look(NamedTuple):
    """How a standing is shown: by a color, by a sign that needs no color, and in words."""

    label: str
    color: str
    sign: str
    about: str


LOOKS = {
    Standing.REPORTED: Look("Reported", "#8CBFDC", "", "The report is there, as it was first made."),
    Standing.REVISED: Look(
        "Revised", REVISED, "n", "The report is there, and is not the first: the sign is its revision, + from 10 on."
    ),
    Standing.UNDER_WAY: Look("Under way", UNDER_WAY, "…", "A run is at work on it."),
    Standing.DUE: Look("Due", "#C4C4C4", "·", "It is over, and its run has yet to begin."),
    Standing.STALLED: Look(
        "Stalled", "#E69F00", "~", "Its run has written nothing for minutes and is taken for dead. It is begun again."
    ),
    Standing.FAILED: Look("Failed", ERROR, "X", "Its last run gave it up. It is tried again while its rows are kept."),
    Standing.MISSING: Look(
        "Missing", "#F0E442", "-", "No run has begun it, though later minutes have been begun. `etar_reconcile` will."
    ),
    Standing.OVERDUE: Look(
        "Overdue",
        "#CC79A7",
        "!",
        "No run has begun it, nor any later minute: the pipeline stands still, or catches up.",
    ),
    Standing.GIVEN_UP: Look(
        "Cannot be reported",
        "#5E1A6E",
        "†",
        "Its run failed, and its rows have left the table since: none can succeed.",
    ),
    Standing.UNKNOWN: Look(
        "Unknown",
        "#E4DCC8",
        "?",
        "No run has begun it and its rows, if it had any, have left the table; or the report API has been away since.",
    ),
    Standing.NOT_EXPECTED: Look(
        "Before the deployment", "rgba(128, 128, 128, 0.16)", "", "Nothing is known of it, nor should be."
    ),
    Standing.AHEAD: Look("Not over yet", "rgba(128, 128, 128, 0.07)", "", "Its time has not come."),
}
"""By how much they matter, the usual ones first."""

_WITH_REPORT = (Standing.REPORTED, Standing.REVISED)
WANT_A_LOOK = (Standing.STALLED, Standing.FAILED, Standing.MISSING, Standing.OVERDUE, Standing.GIVEN_UP)
"""What a person may have to do something about."""

_ROW_HEIGHT = 20
_FRAMES = (("#FFFFFF", 4), ("#000000", 2))
"""Color and width of what is around a chosen minute: seen on every color, on white and on dark."""


def as_known(snapshot: Snapshot[Day], now: datetime) -> Day | None:
    """The day as far as it is known. While the API is away, nobody knows of minutes that have ended since."""
    day = snapshot.newest
    if day is None or snapshot.problem is None:
        return day
    standings = (
        Standing.UNKNOWN if standing in (Standing.AHEAD, Standing.DUE) and window.end <= now else standing
        for window, standing in zip(day.windows, day.standings, strict=True)
    )
    return day.model_copy(update={"standings": tuple(standings)})


def notice(snapshot: Snapshot[Day], clock: Clock = IN_UTC) -> Notice | None:
    """What a viewer must know before all else, if anything."""
    if snapshot.problem is not None:
        return away(snapshot, clock)
    day = snapshot.newest
    if day is None:
        return None
    if day.newest is None:
        return Notice(Level.INFO, "**No minutes yet.** The first run begins when the first whole minute has ended.")
    found = {
        standing: [window for window, each in zip(day.windows, day.standings, strict=True) if each is standing]
        for standing in (Standing.GIVEN_UP, Standing.OVERDUE)
    }
    said = []
    if gone := found[Standing.GIVEN_UP]:
        said.append(
            f"**{_minutes(gone)} cannot be reported any more**, the first of them {gone[0]}: its run failed, and its "
            "rows have left the table. Choose one to see why."
        )
    if overdue := found[Standing.OVERDUE]:
        said.append(
            f"**Overdue: {_minutes(overdue)}.** No run has begun any minute after {MinuteWindow(day.newest)}. The "
            "pipeline stands still, or catches up: `etar status` says which."
        )
    if said:
        return Notice(Level.WARNING, "  \n".join(said))
    if not any(standing in day.standings for standing in Standing if standing not in _NOTHING):
        return Notice(
            Level.INFO, f"**The ledger has no minute of {day.day}.** Its newest is {MinuteWindow(day.newest)}."
        )
    return None


_NOTHING = (Standing.UNKNOWN, Standing.NOT_EXPECTED, Standing.AHEAD)


def summary(day: Day) -> str:
    """A sentence in Markdown: how many minutes are reported of those that should be, and what they come to."""
    should_be = sum(each not in (Standing.AHEAD, Standing.NOT_EXPECTED) for each in day.standings)
    reported = sum(each in _WITH_REPORT for each in day.standings)
    events = sum(count or 0 for count, each in zip(day.events, day.standings, strict=True) if each in _WITH_REPORT)
    return f"**{reported:,} of {should_be:,} minutes reported** · {events:,} events"


def legend(day: Day) -> str:
    """The standings that the day has, as HTML: color and sign as in the calendar, name, and how many minutes."""
    counts = Counter(day.standings)
    items = "".join(
        f'<li style="display:flex;align-items:center;gap:0.4rem" title="{look.about}">'
        f'<span aria-hidden="true" style="{_SWATCH};background:{look.color};color:{_ink(look.color)}">'
        f"{look.sign}</span>"
        f"<span>{look.label} <b>{counts[standing]:,}</b></span></li>"
        for standing, look in LOOKS.items()
        if counts[standing]
    )
    return f'<ul style="{_LIST}">{items}</ul>'


_LIST = "list-style:none;display:flex;flex-wrap:wrap;gap:0.35rem 1.1rem;margin:0;padding:0;font-size:0.875rem"
_SWATCH = (
    "display:inline-block;width:1.1rem;height:1.1rem;line-height:1.1rem;text-align:center;border-radius:2px;"
    "font-size:0.8rem;font-weight:600;outline:1px solid rgba(128,128,128,0.5)"
)


def meaning(day: Day, window: MinuteWindow) -> str:
    """What the standing of a minute means, as Markdown; of one that is not reported now, also which report stands."""
    place = day.windows.index(window)
    standing, revision = day.standings[place], day.revisions[place]
    stands = f" Revision {revision} of its report stands." if revision and standing not in _WITH_REPORT else ""
    return LOOKS[standing].about + stands


def next_to_look_at(day: Day, after: MinuteWindow | None) -> MinuteWindow | None:
    """The first minute after ``after`` that somebody may have to do something about; from the day's end, on from its
    beginning."""
    wanted = [window for window, each in zip(day.windows, day.standings, strict=True) if each in WANT_A_LOOK]
    later = (window for window in wanted if after is None or window > after)
    return next(later, wanted[0] if wanted else None)


def cell_of(window: MinuteWindow) -> tuple[int, int]:
    """Column and row of a minute."""
    return window.start.minute, window.start.hour


def window_of(day: date, cell: tuple[int, int]) -> MinuteWindow:
    """The minute at a column and row."""
    column, row = cell
    return MinuteWindow(datetime.combine(day, time(row, column), UTC))


def asked_for(day: str | None, minute: str | None, *, today: date) -> tuple[date, time | None]:
    """What the page's address says: a day, or else today, and a minute, if any.

    Raises:
        ValueError: one is not written like one, or the day has not begun.
    """
    found = _read(date.fromisoformat, day, "a day; write it like 2026-11-21") or today
    if found > today:
        raise ValueError(f"{found} has not begun: it is {today} (UTC)")
    at = _read(time.fromisoformat, minute, "a minute; write it like 10:31")
    if at is not None and at != time(at.hour, at.minute):
        raise ValueError(f"{minute!r} is not the start of a minute; write it like 10:31")
    return found, at


def _read(read: Callable[[str], _Read], text: str | None, what: str) -> _Read | None:
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not {what}") from error


def figure(day: Day) -> go.Figure:
    """The calendar: a row an hour, a column a minute. Each cell has its standing's color and sign, and says the rest
    when it is pointed at."""
    order = list(LOOKS)
    places = np.array([order.index(standing) for standing in day.standings], np.uint8)
    columns, rows = (
        np.tile(np.arange(MINUTES, dtype=np.uint8), HOURS),
        np.repeat(np.arange(HOURS, dtype=np.uint8), MINUTES),
    )
    traces = [
        go.Heatmap(
            z=places.reshape(HOURS, MINUTES),
            text=np.array(list(_signs(day))).reshape(HOURS, MINUTES).tolist(),
            texttemplate="%{text}",
            colorscale=[
                [edge / len(order), look.color]
                for place, look in enumerate(LOOKS.values())
                for edge in (place, place + 1)
            ],
            zmin=-0.5,
            zmax=len(order) - 0.5,
            xgap=1,
            ygap=1,
            showscale=False,
            hoverinfo="skip",
        )
    ]
    # A heat map's cells cannot be clicked on in Streamlit: points that are not seen lie over them.
    for place, (standing, look) in enumerate(LOOKS.items()):
        here = np.flatnonzero(places == place)
        if not here.size:
            continue
        traces.append(
            go.Scatter(
                x=columns[here],
                y=rows[here],
                customdata=_told(day, here, standing),
                mode="markers",
                marker={"symbol": "square", "size": 12, "opacity": 0},
                selected={"marker": {"opacity": 0}},
                unselected={"marker": {"opacity": 0}},
                hovertemplate=f"%{{y:02d}}:%{{x:02d}} UTC<br>{look.label}{_MORE.get(standing, '')}<extra></extra>",
                hoverlabel={"bgcolor": "#262730", "font": {"color": "#FFFFFF"}},
            )
        )
    figure = go.Figure(traces)
    figure.update_layout(
        height=_ROW_HEIGHT * HOURS + 40,
        margin={"l": 0, "r": 0, "t": 24, "b": 0},
        showlegend=False,
        hovermode="closest",
        dragmode=False,
        uirevision="day",
    )
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "tickformat": "02d", "ticks": ""}
    figure.update_xaxes(**axis, side="top", dtick=5, tickprefix=":", range=[-0.5, MINUTES - 0.5])
    figure.update_yaxes(**axis, dtick=1, range=[HOURS - 0.5, -0.5])
    return figure


_MORE = {
    Standing.REPORTED: ": %{customdata[1]:,} events, %{customdata[2]:,} dead letters",
    Standing.REVISED: ", revision %{customdata[0]}: %{customdata[1]:,} events, %{customdata[2]:,} dead letters",
}


def framed(figure: go.Figure, chosen: MinuteWindow) -> go.Figure:
    """The same with a frame around a minute."""
    column, row = cell_of(chosen)
    copy = go.Figure(figure)
    copy.update_layout(
        shapes=[
            {
                "type": "rect",
                "x0": column - 0.5,
                "x1": column + 0.5,
                "y0": row - 0.5,
                "y1": row + 0.5,
                "line": {"color": color, "width": width},
            }
            for color, width in _FRAMES
        ]
    )
    return copy


def _signs(day: Day) -> Iterator[str]:
    for standing, revision in zip(day.standings, day.revisions, strict=True):
        if standing is Standing.REVISED and revision is not None:
            yield str(revision) if revision < 10 else "+"
        else:
            yield LOOKS[standing].sign


def _told(day: Day, places: np.ndarray, standing: Standing) -> np.ndarray | None:
    """Revision, events and dead letters of each of these minutes, where they have a report."""
    if standing not in _WITH_REPORT:
        return None
    return np.array(
        [[day.revisions[place] or 0, day.events[place] or 0, day.dead_letters[place] or 0] for place in places]
    )


def _minutes(windows: list[MinuteWindow]) -> str:
    return "1 minute" if len(windows) == 1 else f"{len(windows):,} minutes"


def _ink(color: str) -> str:
    """Black or white, whichever is better read on a color."""
    if not color.startswith("#"):
        return "inherit"
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "#FFFFFF"

"""What the page of live windows says, as what is drawn. Pure functions of the API's answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.ui.client import Snapshot
from dashboard.ui.drawing import Shown
from dashboard.ui.figures import SUCCESS, hatched
from dashboard.ui.freshness import Level, Notice, away, words
from dashboard.ui.times import IN_UTC, Clock
from etar.minute import MINUTE, MinuteWindow
from etar.windows import Compared, LiveWindow, ShownValue, StreamWindows

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#882255")
"""Of groups, in their order: Okabe and Ito's, and two of Tol's. More groups begin again with the first."""

STREAMED = "streamed"
FINAL = "final"

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Of groups' lines, for who sees no color."""

_HATCHED = "/"
_SHADE = "rgba(128, 128, 128, 0.14)"
_ROW_HEIGHT = 44
_LINES_HEIGHT = 430


def notice(
    snapshot: Snapshot[StreamWindows], clock: Clock = IN_UTC, *, now: datetime, still_after: timedelta
) -> Notice | None:
    """What a viewer must know before believing the numbers below it; see :func:`dashboard.ui.freshness.notice`."""
    if snapshot.problem is not None:
        return away(snapshot, clock)
    if snapshot.newest is None or not snapshot.newest.windows:
        return Notice(
            Level.INFO,
            "**No windows yet.** The first appears seconds after the first event, if the stream's job runs: "
            "`etar status`.",
        )
    updated = max(window.updated_at for window in snapshot.newest.windows)
    if now - updated > still_after:
        return Notice(
            Level.WARNING,
            f"**Nothing new for {words(now - updated)}.** No events come, or the stream's job stands still: "
            "`etar status`.",
        )
    return None


def state(window: LiveWindow) -> str:
    """``final, revision 2``, or ``streamed``: the job's numbers, which may still grow."""
    return f"{FINAL}, revision {window.revision}" if window.final else STREAMED


def metrics(shown: StreamWindows, clock: Clock = IN_UTC) -> list[Shown]:
    """The newest window, what it comes to, and what all the windows shown come to."""
    newest, count = shown.windows[-1], len(shown.windows)
    window = f"[{newest.start:%Y-%m-%dT%H:%MZ}, {newest.end:%Y-%m-%dT%H:%MZ})"
    name, here = f"Newest (UTC) · {FINAL if newest.final else STREAMED}", clock.beside(newest.start) or ""
    found = [Shown("window", name, f"{newest.start:%H:%M}", window, here)]
    for value in shown.values:
        about = f"Of the newest window, {window}"
        found.append(Shown(_key(value), value.title, _written(value, newest.totals[value.column]), about))
    for value in shown.values:
        total = Compared.sum(each.totals[value.column] for each in shown.windows)
        found.append(
            Shown(f"{_key(value)}-total", f"{value.title}, {_windows(count)}", _written(value, total), "Of all shown")
        )
    final = sum(window.final for window in shown.windows)
    about = "Windows whose numbers are their minute's report's; the others are still the stream job's"
    return [*found, Shown("final", "Final windows", f"{final:,} of {count:,}", about)]


def bars(shown: StreamWindows) -> go.Figure:
    """The newest window by group: hatched while it is streamed, plain once it is final."""
    newest, first = shown.windows[-1], shown.values[0]
    numbers = [_of_group(newest, group, first) for group in shown.groups]
    longest = max([*numbers, 1.0])
    figure = go.Figure(
        go.Bar(
            x=numbers,
            y=list(shown.groups),
            orientation="h",
            marker={
                "color": _colors(shown),
                "pattern": hatched(*("" if _is_final(newest, group) else _HATCHED for group in shown.groups)),
            },
            hovertemplate=f"%{{y}}: %{{x:,}} {first.title.lower()}<extra></extra>",
        )
    )
    for group, number in zip(shown.groups, numbers, strict=True):
        text = " · ".join(_in_words(newest, group, value) for value in shown.values)
        figure.add_annotation(x=number, y=group, text=text, showarrow=False, xanchor="left", xshift=6)
    figure.update_layout(
        bargap=0.35,
        height=max(90 + _ROW_HEIGHT * len(shown.groups), _LINES_HEIGHT),
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        showlegend=False,
        uirevision="bars",
    )
    figure.update_xaxes(range=[0, longest * 1.75], showgrid=False, showticklabels=False, zeroline=False)
    figure.update_yaxes(type="category", autorange="reversed", ticksuffix="  ")
    return figure


def lines(shown: StreamWindows, clock: Clock = IN_UTC) -> go.Figure:
    """The windows over time, in total and under it by group; those that are streamed are shaded. A minute without a
    window is a gap."""
    first = shown.values[0]
    by_start = {window.start: window for window in shown.windows}
    minutes = list(
        MinuteWindow.between(MinuteWindow(shown.windows[0].start), MinuteWindow(shown.windows[-1].start).next)
    )
    times = [minute.start for minute in minutes]
    axis = clock.axis(times[-1])
    found = [by_start.get(time) for time in times]
    figure = make_subplots(
        rows=2,
        shared_xaxes=True,
        row_heights=[0.36, 0.64],
        vertical_spacing=0.12,
        subplot_titles=[f"{first.title} a minute, in total", f"by {shown.by}"],
    )
    series = [("Total", SUCCESS, [None if w is None else float(w.totals[first.column].now) for w in found])]
    for group, color in zip(shown.groups, _colors(shown), strict=True):
        series.append((group, color, [None if w is None else _of_group(w, group, first) for w in found]))
    for place, ((name, color, numbers), dash) in enumerate(zip(series, cycle(("solid", *DASHES)), strict=False)):
        figure.add_trace(
            go.Scatter(
                name=name,
                x=axis.places(times),
                y=numbers,
                customdata=axis.utc(times),
                mode="lines+markers" if len(minutes) <= 60 else "lines",
                line={"color": color, "width": 2, "dash": dash},
                marker={"size": 4},
                hovertemplate=f"{axis.moment}, {name}: %{{y:,}}<extra></extra>",
                showlegend=place > 0,
            ),
            row=1 if place == 0 else 2,
            col=1,
        )
    for start, end in _streamed(shown.windows):
        x0, x1 = axis.places((start - MINUTE / 2, end - MINUTE / 2))
        figure.add_vrect(x0=x0, x1=x1, fillcolor=_SHADE, line_width=0, layer="below")
    figure.update_layout(
        height=_LINES_HEIGHT,
        margin={"l": 0, "r": 0, "t": 28, "b": 0},
        legend={"orientation": "h", "x": 0, "y": -0.12, "xanchor": "left", "yanchor": "top"},
        hovermode="x",
        uirevision="lines",
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    figure.update_xaxes(showgrid=False, tickformat="%H:%M\n%d %b")
    figure.update_xaxes(title=axis.title, row=2, col=1)
    if len(minutes) <= 10:
        # As in drawing.lines: between the minutes of a short axis, a tick reads like the minute before.
        figure.update_xaxes(dtick=MINUTE.total_seconds() * 1000)
    figure.update_yaxes(rangemode="tozero", nticks=4, tickformat=",")
    return figure


def table(shown: StreamWindows, clock: Clock = IN_UTC) -> Styler:
    """One row a window, the newest first: its state, its totals and by how much the report corrected the job's, then
    its groups."""
    import pandas

    newest_first = list(reversed(shown.windows))
    columns: dict[str, list[str]] = clock.column("Window", (window.start for window in newest_first)) | {
        "Window (UTC)": [f"{window.start:%H:%M}" for window in newest_first],
        "State": [state(window) for window in newest_first],
    }
    for value in shown.values:
        totals = [window.totals[value.column] for window in newest_first]
        columns[value.title] = [_written(value, total) for total in totals]
        columns[f"{value.title}: stream"] = [value.form.written(total.streamed) for total in totals]
        columns[f"{value.title}: corrected by"] = [
            _signed(value, total) if window.final else "-" for window, total in zip(newest_first, totals, strict=True)
        ]
    first = shown.values[0]
    for group in shown.groups:
        columns[group] = [_in_words(window, group, first) for window in newest_first]
    frame = pandas.DataFrame(columns)
    styles = pandas.DataFrame("", index=frame.index, columns=frame.columns)
    for place, window in enumerate(newest_first):
        if not window.final:
            styles.loc[place] = "font-style: italic; color: #8C8C8C"
    return frame.style.apply(lambda _: styles, axis=None)


def _windows(count: int) -> str:
    return "1 window" if count == 1 else f"{count:,} windows"


def _streamed(windows: Sequence[LiveWindow]) -> list[tuple[datetime, datetime]]:
    """The stretches of windows that are not final."""
    found: list[tuple[datetime, datetime]] = []
    for window in windows:
        if window.final:
            continue
        if found and found[-1][1] == window.start:
            found[-1] = (found[-1][0], window.end)
        else:
            found.append((window.start, window.end))
    return found


def _is_final(window: LiveWindow, group: str) -> bool:
    return window.groups[group].final if group in window.groups else window.final


def _of_group(window: LiveWindow, group: str, value: ShownValue) -> float:
    """For the length of a bar and the height of a line. A group that a window does not have has nothing of it."""
    return float(window.groups[group].values[value.column].now) if group in window.groups else 0.0


def _in_words(window: LiveWindow, group: str, value: ShownValue) -> str:
    return _written(value, window.groups[group].values[value.column]) if group in window.groups else "0"


def _written(value: ShownValue, compared: Compared) -> str:
    return value.form.written(compared.now)


def _signed(value: ShownValue, compared: Compared) -> str:
    difference = compared.difference
    return f"+{value.form.written(difference)}" if difference > 0 else value.form.written(difference)


def _colors(shown: StreamWindows) -> list[str]:
    return [color for _, color in zip(shown.groups, cycle(COLORS), strict=False)]


def _key(value: ShownValue) -> str:
    return value.column.replace("_", "-")

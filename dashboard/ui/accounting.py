"""Pure functions from the ledger's minutes to what the page says, draws and lists about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.ui.figures import ERROR, SUCCESS, hatched
from dashboard.ui.times import IN_UTC, Clock
from etar.ledger import LedgerEntry, State
from etar.minute import MINUTE, MinuteWindow

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

REVISED = "#009E73"
UNDER_WAY = "#8C8C8C"
"""With ``figures.SUCCESS`` and ``figures.ERROR``: told apart with every kind of color vision, on white and on dark."""

_COUNTS = {"Duplicates": "duplicates", "Late": "late_events", "Dead letters": "dead_letters"}
_MINUTE_MS = MINUTE.total_seconds() * 1000


class Standing(Enum):
    """What a viewer has to know of a minute before its counts: its name in the legend, its color, and its pattern,
    which needs no color."""

    REPORTED = ("Reported", SUCCESS, "")
    REVISED = ("Revised", REVISED, ".")
    UNDER_WAY = ("Under way", UNDER_WAY, "-")
    NOT_REPORTED = ("Not reported", ERROR, "x")

    @property
    def label(self) -> str:
        return self.value[0]

    @property
    def color(self) -> str:
        return self.value[1]

    @property
    def pattern(self) -> str:
        return self.value[2]


@dataclass(frozen=True)
class Accounted:
    """One minute with its row in the ledger; without one, no run has begun it."""

    window: MinuteWindow
    entry: LedgerEntry | None

    @property
    def standing(self) -> Standing:
        if self.entry is None or self.entry.state is State.FAILED:
            return Standing.NOT_REPORTED
        if self.entry.state is not State.REPORTED:
            return Standing.UNDER_WAY
        return Standing.REVISED if (self.entry.revision or 0) > 1 else Standing.REPORTED

    @property
    def state(self) -> str:
        return "no run" if self.entry is None else self.entry.state.value

    def count(self, column: str) -> int | None:
        return None if self.entry is None else getattr(self.entry, column)


def accounted(entries: Sequence[LedgerEntry]) -> list[Accounted]:
    """Every minute from the first of ``entries`` to the last, oldest first, whether or not it has a row."""
    if not entries:
        return []
    by_minute = {entry.window: entry for entry in entries}
    minutes = MinuteWindow.between(entries[0].window, entries[-1].window.next)
    return [Accounted(window, by_minute.get(window)) for window in minutes]


def summary(minutes: Sequence[Accounted]) -> str:
    """Two sentences in Markdown: how many minutes are reported, and what their counts add up to."""
    reported = [each.entry for each in minutes if each.entry is not None and each.entry.state is State.REPORTED]
    others = Counter(each.state for each in minutes if each.state != State.REPORTED)
    revised = sum(each.standing is Standing.REVISED for each in minutes)
    said = [f"**{len(reported):,} of {len(minutes):,} minutes reported**"]
    said += [f"{count:,} {state}" for state, count in sorted(others.items())]
    said += [f"{revised:,} revised"] if revised else []

    def total(column: str) -> str:
        return f"{sum(getattr(entry, column) or 0 for entry in reported):,}"

    sums = (
        f"{total('received')} received = {total('unique_events')} unique + {total('duplicates')} duplicates; "
        f"{total('late_events')} late among them; {total('dead_letters')} dead letters beside them"
    )
    return f"{' · '.join(said)}  \n{sums}"


def figure(minutes: Sequence[Accounted], clock: Clock = IN_UTC) -> go.Figure:
    """A strip with each minute's standing, and under it what each minute had besides its unique events in time."""
    axis = clock.axis(minutes[-1].window.start if minutes else None)
    figure = make_subplots(
        rows=1 + len(_COUNTS),
        shared_xaxes=True,
        row_heights=[0.1, *[0.3] * len(_COUNTS)],
        vertical_spacing=0.1,
        subplot_titles=["", *_COUNTS],
    )
    for standing in Standing:
        shown = [each for each in minutes if each.standing is standing]
        figure.add_trace(
            go.Bar(
                name=standing.label,
                x=axis.places(each.window.start for each in shown),
                y=[1] * len(shown),
                customdata=[_words(each, clock) for each in shown],
                marker={"color": standing.color, "pattern": hatched(standing.pattern), "line": {"width": 0}},
                opacity=0.45 if standing is Standing.REPORTED else 1,
                hovertemplate="%{customdata}<extra></extra>",
            ),
            row=1,
            col=1,
        )
    for row, (name, column) in enumerate(_COUNTS.items(), start=2):
        figure.add_trace(
            go.Bar(
                name=name,
                x=axis.places(each.window.start for each in minutes),
                y=[each.count(column) for each in minutes],
                customdata=axis.utc(each.window.start for each in minutes),
                marker={"color": ERROR if column == "dead_letters" else SUCCESS, "line": {"width": 0}},
                hovertemplate=f"{axis.moment}: %{{y:,}} {name.lower()}<extra></extra>",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
    figure.update_traces(width=_MINUTE_MS * 0.8)
    figure.update_layout(
        barmode="overlay",
        height=390,
        margin={"l": 0, "r": 0, "t": 36, "b": 0},
        legend={"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "traceorder": "normal"},
        uirevision="accounting",
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    figure.update_xaxes(showgrid=False, tickformat="%H:%M\n%d %b")
    figure.update_xaxes(title=axis.title, row=1 + len(_COUNTS), col=1)
    if len(minutes) <= 10:
        # As in drawing.lines: between the minutes of a short axis, a tick reads like the minute before.
        figure.update_xaxes(dtick=_MINUTE_MS)
    figure.update_yaxes(rangemode="tozero", nticks=3, tickformat=",d")
    for row, column in enumerate(_COUNTS.values(), start=2):
        # An axis over nothing but zeros would have negative ticks.
        highest = max((each.count(column) or 0 for each in minutes), default=0)
        figure.update_yaxes(range=[0, max(highest, 1) * 1.1], row=row, col=1)
    figure.update_yaxes(range=[0, 1], showticklabels=False, showgrid=False, zeroline=False, row=1, col=1)
    return figure


def table(minutes: Sequence[Accounted], clock: Clock = IN_UTC) -> Styler:
    """One row a minute, the newest first; what is not reported, and what is revised, stands out."""
    import pandas

    newest_first = list(reversed(minutes))
    words = clock.column("Minute", (each.window.start for each in newest_first)) | {
        "Minute (UTC)": [f"{each.window.start:%H:%M}" for each in newest_first],
        "State": [each.state for each in newest_first],
    }
    columns = {"Received": "received", "Unique": "unique_events", **_COUNTS, "Revision": "revision"}
    numbers = {
        name: pandas.array([each.count(column) for each in newest_first], dtype="Int64")
        for name, column in columns.items()
    }
    frame = pandas.DataFrame(words | numbers)
    styles = pandas.DataFrame(
        [{name: _style(each.standing, name) for name in frame.columns} for each in newest_first], columns=frame.columns
    )
    return frame.style.apply(lambda _: styles, axis=None).format("{:,}", subset=pandas.Index(numbers))


def _style(standing: Standing, column: str) -> str:
    marked = {
        Standing.REPORTED: (),
        Standing.REVISED: ("Revision",),
        Standing.UNDER_WAY: ("State",),
        Standing.NOT_REPORTED: ("Minute (UTC)", "State"),
    }[standing]
    return f"color: {standing.color}; font-weight: bold" if column in marked else ""


def _words(minute: Accounted, clock: Clock) -> str:
    start = minute.window.start
    here = clock.beside(start)
    said = f"{start:%H:%M} UTC{(here and f', {here}') or ''}: {minute.state}"
    if minute.entry is None:
        return said
    if minute.entry.state is State.REPORTED:
        said += f", revision {minute.entry.revision}"
    if minute.entry.error:
        said += f"<br>{escape(shorten(minute.entry.error, 120))}"
    return said

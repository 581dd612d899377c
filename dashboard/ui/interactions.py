"""What the page shows of ``user_interactions``, and of no other stream: pure functions from its reports to metrics and
plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.ui.figures import ERROR, SUCCESS
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport
from etar.stream_code import StreamCodeError, load
from etar.streams import USER_INTERACTIONS


class Metric(NamedTuple):
    """A number above the figures: ``key`` is its name in the page, ``value`` is fit to be read."""

    key: str
    name: str
    value: str
    meaning: str


class _Outcomes(NamedTuple):
    success: int = 0
    error: int = 0

    @property
    def total(self) -> int:
        return self.success + self.error


def metrics(report: PublishedReport) -> list[Metric]:
    """What the minute comes to. A report whose shape is not today's has a dash for what it does not say."""
    errors, rate, users = (report.body.get(name) for name in ("total_errors", "error_rate", "unique_users"))
    return [
        Metric("events", "Events", f"{report.total_events:,}", "Unique events: one that was sent twice counts once"),
        Metric("errors", "Errors", _shown(errors, ","), "Events with status error"),
        Metric("error-rate", "Error rate", _shown(rate, ".2%"), "Errors / events"),
        Metric("unique-users", "Unique users", _shown(users, ","), "Different users with at least one event"),
    ]


def label(event_type: str) -> str:
    """``add_to_cart`` as a person reads it: ``Add to cart``."""
    return event_type.replace("_", " ").capitalize()


def event_types(report: PublishedReport) -> go.Figure:
    """One bar per event type, in funnel order from the top: successes and errors stacked, both named at its end.

    Types that the funnel does not know follow it, by name.
    """
    outcomes = _outcomes(report)
    labels = [label(name) for name in outcomes]
    totals = [each.total for each in outcomes.values()]

    figure = go.Figure(
        [
            go.Bar(
                name="Success",
                y=labels,
                x=[each.success for each in outcomes.values()],
                orientation="h",
                marker={"color": SUCCESS},
                hovertemplate="%{y}: %{x:,} successful<extra></extra>",
            ),
            go.Bar(
                name="Error",
                y=labels,
                x=[each.error for each in outcomes.values()],
                orientation="h",
                marker={"color": ERROR},
                hovertemplate="%{y}: %{x:,} with an error<extra></extra>",
            ),
        ]
    )
    for name, each in zip(labels, outcomes.values(), strict=True):
        figure.add_annotation(
            x=each.total,
            y=name,
            text=f"{each.total:,} · {_errors(each.error)}",
            showarrow=False,
            xanchor="left",
            xshift=6,
        )
    figure.update_layout(
        barmode="stack",
        bargap=0.35,
        height=90 + 44 * len(labels),
        margin={"l": 0, "r": 0, "t": 36, "b": 0},
        legend={"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "traceorder": "normal"},
        uirevision="event_types",
    )
    # Room to the right of the longest bar for the words at its end.
    figure.update_xaxes(range=[0, max(*totals, 1) * 1.5], showgrid=False, showticklabels=False, zeroline=False)
    # Said, and not left to be guessed: among types of digits alone the others would have no place.
    figure.update_yaxes(type="category", autorange="reversed", ticksuffix="  ")
    return figure


def history(reports: Sequence[PublishedReport]) -> go.Figure:
    """Events a minute above, error rate below, on one time axis; a minute without a report is a gap in both lines.

    ``reports`` are of different minutes, oldest first.
    """
    by_minute = {report.window: report for report in reports}
    minutes = (
        list(MinuteWindow.between(reports[0].window, reports[-1].window.next)) if reports else list[MinuteWindow]()
    )
    found = [by_minute.get(minute) for minute in minutes]
    times = [minute.start for minute in minutes]
    # A line needs two neighbors; a minute between two gaps would be invisible without its marker.
    mode = "lines+markers" if len(minutes) <= 60 else "lines"

    figure = make_subplots(
        rows=2,
        shared_xaxes=True,
        row_heights=[0.6, 0.4],
        vertical_spacing=0.14,
        subplot_titles=["Events a minute", "Error rate"],
    )
    figure.add_trace(
        go.Scatter(
            name="Events a minute",
            x=times,
            y=[report.total_events if report else None for report in found],
            mode=mode,
            line={"color": SUCCESS, "width": 2},
            marker={"size": 4},
            hovertemplate="%{x|%H:%M} UTC: %{y:,} events<extra></extra>",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            name="Error rate",
            x=times,
            y=[report.body.get("error_rate") if report else None for report in found],
            mode=mode,
            line={"color": ERROR, "width": 2},
            marker={"size": 4},
            hovertemplate="%{x|%H:%M} UTC: %{y:.2%}<extra></extra>",
        ),
        row=2,
        col=1,
    )
    figure.update_layout(
        height=354, margin={"l": 0, "r": 0, "t": 36, "b": 0}, showlegend=False, hovermode="x", uirevision="history"
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    figure.update_xaxes(showgrid=False, tickformat="%H:%M\n%d %b")
    if len(minutes) <= 10:
        # Left to itself, the axis of a few minutes has ticks between them that read like the minute before.
        figure.update_xaxes(dtick=MINUTE.total_seconds() * 1000)
    figure.update_yaxes(rangemode="tozero", nticks=4, tickformat=",d", row=1, col=1)
    figure.update_yaxes(rangemode="tozero", nticks=4, tickformat=".1%", row=2, col=1)
    return figure


def _errors(count: int) -> str:
    return "no errors" if count == 0 else "1 error" if count == 1 else f"{count:,} errors"


def _outcomes(report: PublishedReport) -> dict[str, _Outcomes]:
    known = _known_types()
    counted = {name: _Outcomes(**each) for name, each in report.body.get("event_types", {}).items()}
    return {name: counted.get(name, _Outcomes()) for name in (*known, *sorted(counted.keys() - set(known)))}


def _known_types() -> tuple[str, ...]:
    try:
        return tuple(load(USER_INTERACTIONS, "report:EVENT_TYPES"))
    except StreamCodeError:
        return ()  # the API's answers are in this order, too; what did not occur is missing then


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)

"""Pure functions from reports to plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from etar.ledger import LedgerEntry
from etar.minute import MINUTE, MinuteWindow
from etar.report import EVENT_TYPES, Outcomes, PublishedReport, Report

# Blue and vermillion of Okabe and Ito: told apart with every kind of color vision, and readable on white and on dark.
SUCCESS = "#0072B2"
ERROR = "#D55E00"

_OfMinute = TypeVar("_OfMinute", Report, PublishedReport, LedgerEntry)


def recent(items: Sequence[_OfMinute], span: timedelta) -> list[_OfMinute]:
    """Those of ``items`` (oldest first) in the ``span`` that ends with the newest minute.

    The newest so many reports may reach back over a week in which nothing ran.
    """
    return [item for item in items if item.minute > items[-1].minute - span]


def label(event_type: str) -> str:
    """``add_to_cart`` as a person reads it: ``Add to cart``."""
    return event_type.replace("_", " ").capitalize()


def event_types(report: Report) -> go.Figure:
    """One bar per event type, in funnel order from the top: successes and errors stacked, both named at its end.

    Types that the funnel does not know follow it, by name.
    """
    unknown = sorted(set(report.event_types) - set(EVENT_TYPES))
    outcomes = {name: report.event_types.get(name, Outcomes()) for name in (*EVENT_TYPES, *unknown)}
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


def history(reports: Sequence[Report]) -> go.Figure:
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
            y=[report.error_rate if report else None for report in found],
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

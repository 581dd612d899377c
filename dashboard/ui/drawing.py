"""What a stream's page says, as what is drawn: metrics, plotly figures and tables. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.ui.figures import ERROR, SUCCESS, hatched
from dashboard.ui.times import IN_UTC, Clock
from etar.minute import MINUTE, MinuteWindow
from etar.page import Bars, Chart, Form, Line, Lines, Metric, Page, Part, Table, Tone, in_words
from etar.report import PublishedReport

_COLORS = {Tone.GOOD: SUCCESS, Tone.BAD: ERROR}
_PATTERNS = {Tone.GOOD: "", Tone.BAD: "/"}
_COMPARED_WITH = {"": MINUTE, "1h ": 60 * MINUTE}
_ROW_HEIGHT = 44
_HEIGHT_OF_LINES = 354


class Shown(NamedTuple):
    """A metric with its value: ``key`` is its name in the page, ``change`` since when by how much."""

    key: str
    name: str
    value: str
    about: str
    change: str = ""


class Drawn(NamedTuple):
    """One chart: a figure and what it says to who does not see it, or the rows of a table. ``title`` is None for one
    over time, whose title is the time."""

    key: str
    title: str | None
    figure: go.Figure | None
    rows: Sequence[Mapping[str, Any]] = ()
    alt: str = ""


def metrics(page: Page, reports: Sequence[PublishedReport]) -> list[Shown]:
    """What the newest minute comes to, and by how much that is more than in the minute before and an hour ago. A report
    whose shape is not today's has a dash for what it does not say."""
    newest = reports[-1]
    by_minute = {report.minute: report for report in reports}
    earlier = {since: by_minute.get(newest.minute - ago) for since, ago in _COMPARED_WITH.items()}
    return [_shown(metric, newest, earlier) for metric in page.metrics]


def charts(page: Page, reports: Sequence[PublishedReport], clock: Clock = IN_UTC) -> list[Drawn]:
    """Each chart, of the newest of ``reports`` (of different minutes, oldest first; at least one) or over all."""
    return [_drawn(chart, reports, clock) for chart in page.charts]


def bars(chart: Bars, report: PublishedReport) -> go.Figure:
    """One bar per entry, from the top: its parts stacked, and at its end the total and what a part counts."""
    entries = _entries(chart, report)
    parts = chart.parts or (Part("", ""),)
    values = {name: {part.field: _number(_value_of(part, entry)) for part in parts} for name, entry in entries.items()}
    labels = [in_words(name) for name in values]
    totals = [sum(each.values()) for each in values.values()]
    figure = go.Figure(
        [
            go.Bar(
                name=part.name,
                y=labels,
                x=[each[part.field] for each in values.values()],
                orientation="h",
                marker={"color": _COLORS[part.tone], "pattern": hatched(_PATTERNS[part.tone])},
                hovertemplate=f"%{{y}}: %{{x:,}} {part.name.lower()}".strip() + "<extra></extra>",
            )
            for part in parts
        ]
    )
    for name, label, total in zip(values, labels, totals, strict=True):
        figure.add_annotation(
            x=total, y=label, text=_words(chart, entries[name], total), showarrow=False, xanchor="left", xshift=6
        )
    figure.update_layout(
        barmode="stack",
        bargap=0.35,
        height=90 + _ROW_HEIGHT * max(len(labels), 1),
        margin={"l": 0, "r": 0, "t": 36, "b": 0},
        showlegend=len(parts) > 1,
        legend={"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "traceorder": "normal"},
        uirevision=chart.field,
    )
    # Room to the right of the longest bar for the words at its end.
    figure.update_xaxes(range=[0, max([*totals, 1]) * 1.9], showgrid=False, showticklabels=False, zeroline=False)
    # Said, and not left to be guessed: among names of digits alone the others would have no place.
    figure.update_yaxes(type="category", autorange="reversed", ticksuffix="  ")
    return figure


def bars_in_words(title: str, figure: go.Figure) -> str:
    """Bars with words at their ends, as one sentence."""
    return f"{title}: {', '.join(f'{each.y} {each.text}' for each in figure.layout.annotations) or 'nothing'}"


def lines(chart: Lines, reports: Sequence[PublishedReport], clock: Clock = IN_UTC) -> go.Figure:
    """One line above the other on one time axis; a minute without a report is a gap in each.

    ``reports`` are of different minutes, oldest first.
    """
    by_minute = {report.window: report for report in reports}
    minutes = (
        list(MinuteWindow.between(reports[0].window, reports[-1].window.next)) if reports else list[MinuteWindow]()
    )
    found = [by_minute.get(minute) for minute in minutes]
    times = [minute.start for minute in minutes]
    axis = clock.axis(times[-1] if times else None)
    # A line needs two neighbors; a minute between two gaps would be invisible without its marker.
    mode = "lines+markers" if len(minutes) <= 60 else "lines"
    count = len(chart.lines)
    figure = make_subplots(
        rows=count,
        shared_xaxes=True,
        row_heights=[0.6, 0.4] if count == 2 else None,
        vertical_spacing=0.14 if count <= 2 else 0.1,
        subplot_titles=[line.name for line in chart.lines],
    )
    for row, line in enumerate(chart.lines, start=1):
        figure.add_trace(
            go.Scatter(
                name=line.name,
                x=axis.places(times),
                y=[_line_value(line, report) for report in found],
                customdata=axis.utc(times),
                mode=mode,
                line={"color": _COLORS[line.tone], "width": 2},
                marker={"size": 4},
                hovertemplate=f"{axis.moment}: {_HOVER[line.form]}<extra></extra>",
            ),
            row=row,
            col=1,
        )
        figure.update_yaxes(rangemode="tozero", nticks=4, tickformat=_TICKS[line.form], row=row, col=1)
    figure.update_layout(
        height=_HEIGHT_OF_LINES + 150 * max(count - 2, 0),
        margin={"l": 0, "r": 0, "t": 36, "b": 0},
        showlegend=False,
        hovermode="x",
        uirevision="history",
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    figure.update_xaxes(showgrid=False, tickformat="%H:%M\n%d %b")
    figure.update_xaxes(title=axis.title, row=count, col=1)
    if len(minutes) <= 10:
        # Left to itself, the axis of a few minutes has ticks between them that read like the minute before.
        figure.update_xaxes(dtick=MINUTE.total_seconds() * 1000)
    return figure


_HOVER = {Form.NUMBER: "%{y:,}", Form.DECIMAL: "%{y:,}", Form.PERCENT: "%{y:.2%}", Form.TEXT: "%{y}"}
_TICKS = {Form.NUMBER: ",", Form.DECIMAL: ",", Form.PERCENT: ".1%", Form.TEXT: None}


def rows(chart: Table, report: PublishedReport) -> list[Mapping[str, Any]]:
    """A row for each entry, whose values are as people read them."""
    found = _value(chart.field, report)
    if isinstance(found, Mapping):
        found = [{"": name, **(each if isinstance(each, Mapping) else {"value": each})} for name, each in found.items()]
    if not isinstance(found, list):
        return []
    entries = [each if isinstance(each, Mapping) else {"value": each} for each in found]
    return [{in_words(str(name)): value for name, value in entry.items()} for entry in entries]


def _drawn(chart: Chart, reports: Sequence[PublishedReport], clock: Clock) -> Drawn:
    match chart:
        case Bars():
            figure = bars(chart, reports[-1])
            return Drawn(_key(chart.field), chart.title, figure, alt=bars_in_words(chart.title, figure))
        case Lines():
            alt = f"{', '.join(line.name for line in chart.lines)}: a line each, minute by minute"
            return Drawn("history", None, lines(chart, reports, clock), alt=alt)
        case Table():
            return Drawn(_key(chart.field), chart.title, None, rows(chart, reports[-1]))


def _shown(metric: Metric, report: PublishedReport, earlier: Mapping[str, PublishedReport | None]) -> Shown:
    value = _value(metric.field, report)
    changes = (
        f"{since}{change}"
        for since, before in earlier.items()
        if before is not None and (change := metric.form.changed(value, _value(metric.field, before))) is not None
    )
    key = _key(metric.field).removeprefix("total-")
    return Shown(key, metric.name, metric.form.written(value), metric.about, " · ".join(changes))


def _key(field: str) -> str:
    return field.replace("_", "-")


def _value(field: str, report: PublishedReport) -> Any:
    match field:
        case "total_events":
            return report.total_events
        case "rows_read":
            return report.rows_read
    return report.body.get(field)


def _entries(chart: Bars, report: PublishedReport) -> dict[str, Any]:
    """Those with a bar, in their order: the known ones, then the longest of the others."""
    found = _value(chart.field, report)
    given: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    others = sorted(given.keys() - set(chart.order))
    parts = chart.parts or (Part("", ""),)
    longest = sorted(others, key=lambda name: -sum(_number(_value_of(part, given[name])) for part in parts))
    shown = set(longest[: max(chart.most - len(chart.order), 0)])
    return {name: given.get(name) for name in (*chart.order, *(name for name in others if name in shown))}


def _value_of(part: Part, entry: Any) -> Any:
    if not part.field:
        return entry
    return entry.get(part.field) if isinstance(entry, Mapping) else None


def _words(chart: Bars, entry: Any, total: float) -> str:
    value: Any = total if chart.parts else entry
    words = [chart.form.written(0 if value is None else value)]
    words += [_counted(part, int(_number(_value_of(part, entry)))) for part in chart.parts if part.counted]
    return " · ".join(words)


def _counted(part: Part, count: int) -> str:
    many = f"{part.counted}s"
    return f"no {many}" if count == 0 else f"1 {part.counted}" if count == 1 else f"{count:,} {many}"


def _line_value(line: Line, report: PublishedReport | None) -> float | None:
    value = None if report is None else _value(line.field, report)
    return None if value is None else _number(value)


def _number(value: Any) -> int | float:
    """For the length of a bar and the height of a line: what is written beside them is the value itself."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0

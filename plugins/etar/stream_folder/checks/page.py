"""``page.py``: what it shows is of the report. A field that no report has is a dash, or an empty chart, for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import ValidationError

from etar.page import Lines, Page
from etar.stream_code import StreamCodeError, stream_page
from etar.stream_folder.checks.report import GOLDEN_FILE, expected_report, of_code
from etar.streams import Fault, Rule, Stream

FILE = "page.py"


def page(stream: Stream) -> Iterator[Fault]:
    """It can be loaded, and names fields that the golden report has."""
    try:
        shown = stream_page(stream)
    except StreamCodeError as error:
        yield of_code(stream, "page", error, Rule.PAGE)
        return
    if shown is None:
        return
    try:
        golden = json.loads(stream.file(GOLDEN_FILE).read_bytes())
        known = expected_report(stream, golden).model_dump(mode="json").keys()
    except (OSError, StreamCodeError, ValidationError, ValueError, TypeError, AttributeError):
        return  # said of the report and of its golden one
    for place, field in _named(shown):
        if field not in known:
            what = f"shows {field!r}, which the report does not have (it has {', '.join(sorted(known))})"
            yield Fault(stream.name, stream.file(FILE), place, what, "name a field of the report", Rule.PAGE)


def _named(shown: Page) -> Iterator[tuple[str, str]]:
    """Every field that the page shows, and what shows it."""
    for metric in shown.metrics:
        yield f"METRICS, {metric.name!r}", metric.field
    for chart in shown.charts:
        if isinstance(chart, Lines):
            yield from ((f"CHARTS, line {line.name!r}", line.field) for line in chart.lines)
        else:
            yield f"CHARTS, {chart.title!r}", chart.field

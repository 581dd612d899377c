"""A report as text: in its stream's words where it has any, and all of its body, whatever that is."""

from __future__ import annotations

from cli.reports import describe, one_line
from etar.report import PublishedReport
from tests.unit.dashboard.samples import MINUTE, a_published_report


def test_the_first_line_is_in_the_streams_own_words() -> None:
    said = one_line(a_published_report(views=1200, view_errors=34))
    assert said == "2025-11-21T10:31Z  1,244 events, 34 errors (2.73%), 622 users  revision 1"


def test_the_lines_below_are_the_body() -> None:
    lines = describe(a_published_report(views=1200, view_errors=34)).splitlines()
    assert lines[1:4] == [
        "  total_errors     34",
        "  event_types",
        "    view                 1,200 success         34 error",
    ]


def test_a_report_of_a_stream_that_is_not_known_here_is_shown_as_well() -> None:
    body = {"revenue": "12.50", "sizes": [1000, 2], "shops": {"north": 3}, "open": True, "note": None}
    envelope = {
        "stream": "sales",
        "minute": MINUTE.start,
        "total_events": 9,
        "rows_read": 9,
        "source_object": "s3a://x",
    }
    report = PublishedReport.model_validate(envelope | body | {"revision": 2, "published_at": MINUTE.end})
    assert describe(report).splitlines() == [
        "2025-11-21T10:31Z  9 events  revision 2",
        "  revenue          12.50",
        "  sizes            1,000, 2",
        "  shops                    3 north",
        "  open             True",
        "  note             None",
    ]

"""What the report API says: the reports, in their newest revision."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from etar.clients import trusted_certificates
from etar.minute import MINUTE, MINUTES_A_DAY, MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportReadSettings
from etar.streams import Stream
from etar.verify.facts import PlaceUnavailableError

_REPORTS = TypeAdapter(list[PublishedReport])


def read_reports(
    settings: ReportReadSettings, stream: Stream, first: MinuteWindow, end: MinuteWindow
) -> dict[MinuteWindow, PublishedReport]:
    """The reports of ``[first, end)`` in their newest revision.

    Raises:
        PlaceUnavailableError: the report API is away, or answers something else.
    """
    import httpx

    headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
    found: dict[MinuteWindow, PublishedReport] = {}
    with httpx.Client(base_url=settings.url, headers=headers, timeout=30, verify=trusted_certificates()) as client:
        for start, stop in _pages(first, end):
            query = {"stream": stream.name, "from": start.isoformat(), "to": stop.isoformat()}
            try:
                answer = client.get("/reports", params={**query, "limit": MINUTES_A_DAY}).raise_for_status()
                reports = _REPORTS.validate_json(answer.content)
            except (httpx.HTTPError, ValidationError) as error:
                raise PlaceUnavailableError(f"the report API at {settings.url} gives no reports: {error}") from error
            found |= {report.window: report for report in reports}
    return found


def _pages(first: MinuteWindow, end: MinuteWindow) -> Iterator[tuple[datetime, datetime]]:
    start = first.start
    while start < end.start:
        stop = min(start + MINUTES_A_DAY * MINUTE, end.start)
        yield start, stop
        start = stop

"""``etar report``: read reports from the report API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import DEFAULT_FOLDER, AsJson, Folder, errors_shown, fail, use_settings_of
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportReadSettings, get_settings

if TYPE_CHECKING:
    import httpx


def report(
    minute: Annotated[
        str | None, typer.Option(help="The minute, like 2026-11-21T10:31Z; the newest if left out.")
    ] = None,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print one minute's report."""
    import httpx

    with errors_shown():
        use_settings_of(folder, "ETAR_API_")
        parameters = {"minute": str(MinuteWindow.parse(minute))} if minute else {}
        with api_client(get_settings(ReportReadSettings)) as client:
            try:
                answer = client.get("/report", params=parameters)
            except httpx.TransportError as error:
                fail(f"the report API at {client.base_url} is away ({error}); `etar status` shows the parts")
    if answer.status_code == 404:
        fail(f"there is no report{f' of {minute}' if minute else ''} yet; a minute is reported seconds after its end")
    if not answer.is_success:
        fail(f"the report API at {client.base_url} answers {answer.status_code}: {answer.text[:200]}")
    published = PublishedReport.model_validate_json(answer.text)
    typer.echo(published.model_dump_json(indent=2) if as_json else describe(published))


def describe(report: PublishedReport) -> str:
    """A report as text: one line of totals, then one line for each event type."""
    lines = [one_line(report)]
    lines += [
        f"  {name:<12} {outcomes.success:>9,} success {outcomes.error:>9,} error"
        for name, outcomes in report.event_types.items()
    ]
    return "\n".join(lines)


def one_line(report: PublishedReport) -> str:
    return (
        f"{report.window}  {report.total_events:>9,} events  {report.unique_users:>8,} users  "
        f"{report.total_errors:>7,} errors ({report.error_rate:.1%})  revision {report.revision}"
    )


def api_client(settings: ReportReadSettings) -> httpx.Client:
    """A client of the report API that may read."""
    import httpx

    headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
    return httpx.Client(base_url=settings.url, headers=headers, timeout=10)


def follow(client: httpx.Client, since: MinuteWindow, *, interval: float = 1.0) -> Iterator[PublishedReport | None]:
    """Every report of ``since`` and later minutes as it is published, and again when it is revised; never ends.

    Yields None after each look, so that a caller can give up. An API that is away is asked again. Minutes older than
    the newest quarter of an hour are looked at once a minute.
    """
    import httpx

    seen: dict[MinuteWindow, int] = {}
    looked_at_all = float("-inf")
    while True:
        first, now = since, time.monotonic()
        if seen and now - looked_at_all < 60:
            first = max(since, MinuteWindow(max(seen).start - 15 * MINUTE))
        try:
            answer = client.get("/reports", params={"from": first.start.isoformat(), "limit": 1440}).raise_for_status()
            reports = [PublishedReport.model_validate(body) for body in answer.json()]
            if first == since:
                looked_at_all = now
        except httpx.HTTPError:
            reports = []
        for report in reports:
            if seen.get(report.window) != report.revision:
                seen[report.window] = report.revision
                yield report
        yield None
        time.sleep(interval)

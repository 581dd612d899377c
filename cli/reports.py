"""``etar report``: read reports from the report API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import (
    DEFAULT_FOLDER,
    AsJson,
    Folder,
    StreamName,
    errors_shown,
    existing_stack,
    fail,
    use_settings_of,
)
from etar.minute import MINUTE, MINUTES_A_DAY, MinuteWindow
from etar.progress import progress_bar
from etar.report import PublishedReport
from etar.settings import ReportReadSettings, get_settings
from etar.streams import DEFAULT_STREAM

if TYPE_CHECKING:
    import httpx


def report(
    minute: Annotated[
        str | None, typer.Option(help="The minute, like 2026-11-21T10:31Z; the newest if left out.")
    ] = None,
    range_: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--range",
            metavar="FROM TO",
            help="Have the minutes from FROM on and before TO reported again, a batch of them with one Spark.",
        ),
    ] = None,
    stream: StreamName = DEFAULT_STREAM,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print one minute's report; with --range, have a range of minutes reported again, and print their reports."""
    import httpx

    if range_:
        if minute:
            fail("give either --minute or --range")
        with errors_shown():
            _again(range_, stream, folder, as_json=as_json)
        return
    with errors_shown():
        use_settings_of(folder, "ETAR_API_")
        parameters = {"stream": stream} | ({"minute": str(MinuteWindow.parse(minute))} if minute else {})
        with api_client(get_settings(ReportReadSettings)) as client:
            try:
                answer = client.get("/report", params=parameters)
            except httpx.TransportError as error:
                fail(f"the report API at {client.base_url} is away ({error}); `etar status` shows the parts")
    if answer.status_code == 404:
        which = f"of {stream}" + (f" for {minute}" if minute else "")
        fail(f"there is no report {which} yet; a minute is reported seconds after its end")
    if not answer.is_success:
        fail(f"the report API at {client.base_url} answers {answer.status_code}: {answer.text[:200]}")
    # As it was answered: in its order, and with all that the stream's report has.
    typer.echo(json.dumps(answer.json(), indent=2) if as_json else describe(PublishedReport(**answer.json())))


def _again(range_: tuple[str, str], name: str, folder: Path, *, as_json: bool) -> None:
    """Report minutes again by a stack's Airflow, and print what stands then; a range that failed ends with 1."""
    from cli.repair import AirflowUnavailableError, report_minutes_again

    windows = minutes_of(*range_)
    first, end = windows[0], windows[-1].next
    use_settings_of(folder, "ETAR_API_", "ETAR_RECONCILE_")
    stack = existing_stack(folder)
    try:
        with progress_bar("reporting again", hidden=as_json) as told:
            done = report_minutes_again(
                windows,
                stack,
                lambda line: typer.echo(line, err=True),
                stream=stack.catalogue.named(name),
                told=told,
            )
    except AirflowUnavailableError as error:
        fail(str(error))
    asked = {"stream": name, "from": str(first), "to": str(end), "limit": MINUTES_A_DAY}
    reports = ask_api("/reports", asked).json()
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    else:
        typer.echo("\n".join(one_line(PublishedReport(**each)) for each in reports))
    if not done:
        fail("not all of these minutes could be reported again; the logs of etar_reconcile in the Airflow UI say why")


def minutes_of(first: str, end: str) -> list[MinuteWindow]:
    """Every minute from ``first`` on and before ``end``; a range of none, or of more than a day, ends the command.

    Raises:
        NotOneMinuteError: one is not written like a minute.
    """
    start, stop = MinuteWindow.parse(first), MinuteWindow.parse(end)
    count = max(0, (stop.start - start.start) // MINUTE)
    if not 0 < count <= MINUTES_A_DAY:
        fail(f"{start} to {stop} are {count} minutes; give from 1 to {MINUTES_A_DAY}, the first one first")
    return list(MinuteWindow.between(start, stop))


def describe(report: PublishedReport) -> str:
    """A report as text: its headline, then the body, one line for each of its values."""
    return "\n".join([one_line(report), *_lines(report.body, indent=2)])


def one_line(report: PublishedReport) -> str:
    """Which minute, and what it comes to in its stream's own words."""
    from etar.stream_code import headline

    return f"{report.window}  {headline(report)}  revision {report.revision}"


def _lines(values: Mapping[str, Any], *, indent: int) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            yield f"{' ' * indent}{name}"
            yield from _lines(value, indent=indent + 2)
        else:
            yield f"{' ' * indent}{name:<16} {_words(value)}"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{_words(each):>9} {name}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def api_client(settings: ReportReadSettings) -> httpx.Client:
    """A client of the report API that may read."""
    import httpx

    headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
    return httpx.Client(base_url=settings.url, headers=headers, timeout=10)


def ask_api(path: str, parameters: Mapping[str, Any]) -> httpx.Response:
    """The report API's answer; without one, or with an error, the command ends and says so."""
    import httpx

    with api_client(get_settings(ReportReadSettings)) as client:
        try:
            answer = client.get(path, params=dict(parameters))
        except httpx.TransportError as error:
            fail(f"the report API at {client.base_url} is away ({error}); `etar status` shows the parts")
        if not answer.is_success:
            fail(f"the report API at {client.base_url} answers {answer.status_code}: {_detail(answer)}")
        return answer


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
    return str(detail)


def range_parameters(first: str | None, end: str | None) -> dict[str, Any]:
    """What asks the API for the minutes of ``[first, end)``, either of which may be left out.

    Raises:
        NotOneMinuteError: one is not written like a minute.
    """
    named = {"from": first, "to": end}
    return {name: str(MinuteWindow.parse(minute)) for name, minute in named.items() if minute}


def follow(
    client: httpx.Client, since: MinuteWindow, streams: Sequence[str], *, interval: float = 1.0
) -> Iterator[PublishedReport | None]:
    """Every report of the streams' minutes from ``since`` on as it is published, and again when it is revised; never
    ends.

    Yields None after each look, so that a caller can give up. An API that is away is asked again. Minutes older than
    the newest quarter of an hour are looked at once a minute.
    """
    followed = [_Followed(stream, since) for stream in streams]
    while True:
        for each in followed:
            yield from each.new(client)
        yield None
        time.sleep(interval)


class _Followed:
    """A stream's reports from a minute on, of which those that were met are known."""

    def __init__(self, stream: str, since: MinuteWindow) -> None:
        self._stream, self._since = stream, since
        self._seen: dict[MinuteWindow, int] = {}
        self._looked_at_all = float("-inf")

    def new(self, client: httpx.Client) -> Iterator[PublishedReport]:
        """Those that are new since the last look, or of another revision."""
        import httpx

        first, now = self._since, time.monotonic()
        if self._seen and now - self._looked_at_all < 60:
            first = max(first, MinuteWindow(max(self._seen).start - 15 * MINUTE))
        asked: dict[str, str | int] = {"stream": self._stream, "from": first.start.isoformat(), "limit": MINUTES_A_DAY}
        try:
            answer = client.get("/reports", params=asked).raise_for_status()
            reports = [PublishedReport.model_validate(body) for body in answer.json()]
        except httpx.HTTPError:
            return
        if first == self._since:
            self._looked_at_all = now
        for report in reports:
            if self._seen.get(report.window) != report.revision:
                self._seen[report.window] = report.revision
                yield report

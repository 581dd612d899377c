"""``etar backfill``: say which minutes of a range need what, and why, and have Airflow do it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.context import (
    DEFAULT_FOLDER,
    PLACES,
    AsJson,
    Folder,
    StreamName,
    errors_shown,
    existing_stack,
    fail,
    use_settings_of,
)
from cli.reports import minutes_of
from etar.ledger import State
from etar.minute import MinuteWindow
from etar.pipeline.affected import Affected, Cause, MinuteFacts, affected, span
from etar.progress import progress_bar
from etar.settings import (
    PipelineSettings,
    ReconcileSettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import DEFAULT_STREAM, Stream, stream_named

_WIDTH = 160
"""Columns of a table that is not printed on a terminal."""

_NEEDS = {
    Cause.MISSING: "its report",
    Cause.FAILED: "another try",
    Cause.STALE: "another try",
    Cause.LATE: "a revision",
    Cause.DISAGREES: "a revision",
    Cause.NAMED: "nothing",
}


@dataclass(frozen=True)
class Need:
    """A minute of the range, what it needs and why. ``state`` is the ledger's; None: it has no row there."""

    window: MinuteWindow
    state: State | None
    cause: Cause
    detail: str

    def as_json(self) -> dict[str, str | None]:
        return {
            "minute": str(self.window),
            "state": self.state,
            "needs": _NEEDS[self.cause],
            "cause": self.cause,
            "why": self.detail,
        }


@dataclass(frozen=True)
class Plan:
    """What is to be done about a range: the minutes to report, oldest first, and those that nobody can report."""

    minutes: int
    needs: tuple[Need, ...]
    refused: tuple[tuple[MinuteWindow, str], ...]
    left: int
    """Minutes that need nothing, or that a run is at work on."""


def backfill(
    first: Annotated[str, typer.Argument(metavar="FROM", help="First minute, like 2026-11-21T10:00Z.")],
    end: Annotated[str, typer.Argument(metavar="TO", help="Minute to stop before; up to a day later.")],
    *,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only minutes whose report is missing, out of date, or given up.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say it, and start nothing.")] = False,
    stream: StreamName = DEFAULT_STREAM,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Say which minutes of a range need what and why, and have those reported again.

    Airflow's etar_reconcile does it, a batch after the other: the newest minute never waits for them.
    """
    with errors_shown():
        windows = minutes_of(first, end)
        use_settings_of(folder, *PLACES)
        of = stream_named(stream)
        made = plan(windows, _facts(windows, of), now=datetime.now(UTC), only_missing=missing)
        # Said before anything is started: on stderr where stdout is for programs.
        render(made, windows, of, Console(stderr=as_json))
        done = None if dry_run else _report(made, of, folder, as_json=as_json)
        if as_json:
            typer.echo(json.dumps(_as_json(made, windows, of, done), indent=2))
        elif dry_run and made.needs:
            typer.echo("nothing was started (--dry-run)")
        if done is False:
            fail("not all of these minutes could be reported; the logs of etar_reconcile in the Airflow UI say why")


def plan(windows: Sequence[MinuteWindow], facts: Iterable[MinuteFacts], *, now: datetime, only_missing: bool) -> Plan:
    """Divide the minutes of a range: what `etar_reconcile` would find to be done about each, by the same rules.

    Args:
        facts: of those minutes that the table still gives.
        only_missing: leave out minutes that need nothing.
    """
    pipeline, policy = get_settings(PipelineSettings), get_settings(ReconcileSettings)
    known = {each.window: each for each in facts}
    found = {each.window: each for each in affected(known.values(), now=now, pipeline=pipeline, policy=policy)}
    oldest, over = span(now, pipeline)
    refused = [(window, _why_not(window, oldest)) for window in windows if not oldest <= window < over]
    chosen = [window for window in windows if oldest <= window < over and (window in found or not only_missing)]
    needs = tuple(_need(known.get(window), found.get(window), window) for window in chosen)
    return Plan(len(windows), needs, tuple(refused), len(windows) - len(refused) - len(needs))


def _why_not(window: MinuteWindow, oldest: MinuteWindow) -> str:
    if window < oldest:
        return f"its rows are leaving the table, which gives minutes from {oldest} on: it keeps the report it has"
    return "it is not over yet: its own run reports it"


def _need(facts: MinuteFacts | None, found: Affected | None, window: MinuteWindow) -> Need:
    state = facts.entry.state if facts and facts.entry else None
    if found:
        return Need(window, state, found.cause, found.detail)
    return Need(window, state, Cause.NAMED, "asked for; the same rows make the same revision")


def _facts(windows: Sequence[MinuteWindow], stream: Stream) -> list[MinuteFacts]:
    """What ledger, reports and table know of those minutes that the table still gives."""
    import psycopg
    from clickhouse_connect.driver.exceptions import Error

    from etar.clients import WarehouseUnavailableError, report_store_connection, warehouse_client
    from etar.pipeline.facts import read_facts

    oldest, over = span(datetime.now(UTC), get_settings(PipelineSettings))
    first, end = max(windows[0], oldest), min(windows[-1].next, over)
    if first >= end:
        return []
    settings = get_settings(WarehouseSettings)
    try:
        with (
            closing(report_store_connection(get_settings(ReportStoreSettings))) as connection,
            closing(warehouse_client(settings)) as warehouse,
        ):
            return read_facts(first, end, stream=stream, connection=connection, warehouse=warehouse)
    except psycopg.OperationalError as error:
        fail(f"the ledger is away ({str(error).strip()}); `etar status` shows the parts")
    except Error as error:
        fail(str(WarehouseUnavailableError.at(settings, error)))


def _report(made: Plan, stream: Stream, folder: Path, *, as_json: bool) -> bool:
    """Whether all of the plan's minutes were reported; nothing to do is done."""
    from cli.repair import AirflowUnavailableError, report_minutes_again

    if not made.needs:
        return True
    windows = [need.window for need in made.needs]
    try:
        with progress_bar("reporting", hidden=as_json) as told:
            return report_minutes_again(
                windows, existing_stack(folder), lambda line: typer.echo(line, err=True), stream=stream, told=told
            )
    except AirflowUnavailableError as error:
        fail(str(error))


def render(made: Plan, windows: Sequence[MinuteWindow], stream: Stream, console: Console) -> None:
    """A line a minute, then what is left as it is; a refusal once for all minutes that it is about."""
    if not console.is_terminal:
        console.width = _WIDTH
    if made.needs:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for heading in ("minute", "state", "needs"):
            table.add_column(heading, no_wrap=True)
        table.add_column("why", overflow="fold")
        for need in made.needs:
            table.add_row(
                str(need.window), need.state or "-", _NEEDS[need.cause], escape(f"{need.cause}: {need.detail}")
            )
        console.print(table)
    for line in _sums(made, windows, stream):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _sums(made: Plan, windows: Sequence[MinuteWindow], stream: Stream) -> Iterator[str]:
    for reason in dict.fromkeys(reason for _, reason in made.refused):
        about = [window for window, given in made.refused if given == reason]
        which = str(about[0]) if len(about) == 1 else f"{about[0]} to {about[-1]}, {len(about)} minutes"
        yield f"cannot be reported: {which}: {reason}"
    yield (
        f"{stream.name}, {windows[0]} to {windows[-1].next}: of {made.minutes} minutes {len(made.needs)} to report, "
        f"{made.left} are well or at work, {len(made.refused)} cannot be reported"
    )


def _as_json(made: Plan, windows: Sequence[MinuteWindow], stream: Stream, done: bool | None) -> dict[str, Any]:
    return {
        "stream": stream.name,
        "from": str(windows[0]),
        "to": str(windows[-1].next),
        "minutes": [need.as_json() for need in made.needs],
        "left": made.left,
        "refused": [{"minute": str(window), "why": reason} for window, reason in made.refused],
        "done": done,
    }

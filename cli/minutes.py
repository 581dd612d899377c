"""``etar minutes``: print the ledger, a range of minutes or one with its history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.context import DEFAULT_FOLDER, AsJson, Folder, StreamName, errors_shown, fail, use_settings_of
from cli.reports import ask_api, range_parameters
from etar.ledger import LedgerEntry, MinuteHistory, Stage, StageTimes, State
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.streams import DEFAULT_STREAM

_WIDTH = 180
"""Columns of a table that is not printed on a terminal: wide enough that nothing is cut."""
_NARROWEST = 130
"""The same with the runs' DAGs only. A terminal with less wraps its lines: better than a number that is cut."""

_MINUTES = TypeAdapter(list[LedgerEntry])


def minutes(
    *,
    minute: Annotated[
        str | None, typer.Argument(help="One minute, like 2026-11-21T10:31Z, with its history; a range if left out.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="First minute of the range; the oldest if left out.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Minute to stop before; after the newest if left out.")] = None,
    state: Annotated[list[State] | None, typer.Option(help="Only minutes in this state; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MINUTES_A_DAY, help="At most this many minutes: the newest.")] = 60,
    stream: StreamName = DEFAULT_STREAM,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print what became of each minute: how far it is, what it had, who worked on it and for how long."""
    with errors_shown():
        use_settings_of(folder, "ETAR_API_")
        asked = MinuteWindow.parse(minute) if minute else None
        if asked and (from_ or to or state):
            fail("give either one minute or a range: MINUTE goes with --stream, --json and --dir only")
        path = f"/minutes/{asked}" if asked else "/minutes"
        parameters = range_parameters(from_, to) | {"limit": limit, "state": [str(each) for each in state or ()]}
        answer = ask_api(path, {"stream": stream} | ({} if asked else parameters))
    if as_json:
        typer.echo(json.dumps(answer.json(), indent=2))
    elif asked:
        render_history(MinuteHistory.model_validate_json(answer.content), Console(), now=datetime.now(UTC))
    else:
        render(_MINUTES.validate_json(answer.content), Console(), now=datetime.now(UTC))


def render(entries: Sequence[LedgerEntry], console: Console, *, now: datetime) -> None:
    """One line a minute, oldest first, and under them why minutes failed."""
    _widen(console)
    if not entries:
        console.print("the ledger has no such minute; a minute without a row is one that no run has begun")
        return
    console.print(_table("Minutes, by event time", entries, now=now, width=console.width))
    _print_errors(entries, console)


def render_history(history: MinuteHistory, console: Console, *, now: datetime) -> None:
    """The minute as it is now, what each revision had, and the extract it was last made from."""
    _widen(console)
    console.print(_table(f"Minute {history.window} of {history.stream}", [history], now=now, width=console.width))
    _print_errors([history], console)
    if history.revisions:
        console.print(_table("Its revisions", history.revisions, now=now, width=console.width))
    if history.run_id is not None:
        console.print(f"run: {history.run_id}", markup=False, highlight=False, soft_wrap=True)
    if history.settled_offsets or history.offsets:
        console.print(_partitions(history))
    if history.object_key is not None:
        console.print(
            f"extract: {history.object_key}, {_number(history.object_size)} bytes, etag {history.object_etag}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def took(times: StageTimes | None) -> str:
    """Seconds that a step took, ``…`` while it is at work or when it was killed, ``-`` when it has not begun."""
    if times is None:
        return "-"
    return "…" if times.ended_at is None else f"{(times.ended_at - times.started_at).total_seconds():.1f}"


def age(since: timedelta) -> str:
    """A time span in its largest unit: ``45 s``, ``3 min``, ``2 h``, ``4 d``; ``0 s`` if another clock is ahead."""
    seconds = max(0, int(since.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _widen(console: Console) -> None:
    console.width = max(console.width, _NARROWEST) if console.is_terminal else _WIDTH


def _table(title: str, entries: Iterable[LedgerEntry], *, now: datetime, width: int) -> Table:
    counts = ("received", "duplicates", "unique", "late", "dead\nletters", "rev.")
    seconds = "settle, extract,\nanalyse, report s"
    table = _empty_table(title, ("minute", "state"), (*counts, seconds, "age"))
    table.add_column("run", no_wrap=True)
    for entry in entries:
        run = entry.run_id or "-"
        table.add_row(
            str(entry.window),
            entry.state,
            _number(entry.received),
            _number(entry.duplicates),
            _number(entry.unique_events),
            _number(entry.late_events),
            _number(entry.dead_letters),
            _number(entry.revision),
            " ".join(took(entry.stages.get(stage)) for stage in Stage),
            age(now - entry.updated_at),
            escape(run if width >= _WIDTH else run.split("/")[0]),
            style="red" if entry.state is State.FAILED else None if entry.state is State.REPORTED else "yellow",
        )
    return table


def _partitions(history: MinuteHistory) -> Table:
    offsets, settled = history.offsets or {}, history.settled_offsets or {}
    table = _empty_table("Offsets of the extract", ("partition",), ("first", "last", "rows", "settled up to"))
    for partition in sorted(offsets.keys() | settled.keys()):
        span = offsets.get(partition)
        table.add_row(
            str(partition),
            _number(span.first if span else None),
            _number(span.last if span else None),
            _number(span.rows if span else None),
            _number(settled.get(partition)),
        )
    return table


def _empty_table(title: str, words: Iterable[str], numbers: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in words:
        table.add_column(column, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _print_errors(entries: Iterable[LedgerEntry], console: Console) -> None:
    for entry in entries:
        if entry.error is not None:
            console.print(f"{entry.window}: {entry.error}", style="red", markup=False, highlight=False, soft_wrap=True)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"

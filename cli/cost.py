"""``etar cost``: what a stream costs, by the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from pydantic import TypeAdapter

from cli.context import DEFAULT_FOLDER, AsJson, Folder, StreamName, errors_shown, use_settings_of
from cli.reports import ask_api, range_parameters
from etar.costs import StreamCost, cost_of
from etar.ledger import LedgerEntry
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.streams import DEFAULT_STREAM

_MINUTES = TypeAdapter(list[LedgerEntry])


def cost(
    from_: Annotated[
        str | None,
        typer.Option("--from", help="First minute, like 2026-11-21T10:31Z; a day's worth, 1,440, if left out."),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Minute to stop before; after the newest if left out.")] = None,
    stream: StreamName = DEFAULT_STREAM,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print what a stream costs: rows, bytes and CPU seconds of each stage, a minute and a million events.

    Of each minute, its newest report. CPU seconds are those of the pipeline's own processes and of Spark: not those of
    Kafka, the engine and the stores.
    """
    with errors_shown():
        use_settings_of(folder, "ETAR_API_")
        found = cost_of(_entries(stream, from_, to))
    if as_json:
        typer.echo(json.dumps({"stream": stream} | found.as_dict(), indent=2))
    else:
        typer.echo("\n".join(_lines(stream, found)))


def _entries(stream: str, first: str | None, end: str | None) -> Iterator[LedgerEntry]:
    """The ledger's rows of the minutes, an answer after the other, the newest first."""
    while True:
        asked = {"stream": stream, "limit": MINUTES_A_DAY, "state": "reported"} | range_parameters(first, end)
        entries = _MINUTES.validate_json(ask_api("/minutes", asked).content)
        yield from entries
        if len(entries) < MINUTES_A_DAY or not first or entries[0].window <= MinuteWindow.parse(first):
            return
        end = str(entries[0].window)


def _lines(stream: str, found: StreamCost) -> Iterator[str]:
    if found.not_kept:
        yield f"not kept: the cost of {found.not_kept:,} minutes, left out here: an older etar reported them"
    if not found.minutes:
        yield f"{stream}: no minute whose cost was kept"
        return
    yield f"{stream}: {found.minutes:,} minutes, {found.events:,} events"
    yield _line("", "CPU s", "CPU s of", "rows", "rows of", "bytes", "bytes of")
    yield _line("stage", *("a minute", "M events") * 3)
    for name, amounts in (*found.stages.items(), ("all", found.all)):
        minute, million = found.of_each_minute(amounts), found.of_a_million_events(amounts)
        yield _line(
            name,
            *(
                _number(getattr(each, field) if each else None, digits)
                for field, digits in (("cpu_seconds", 3), ("rows", 0), ("bytes", 0))
                for each in (minute, million)
            ),
        )


def _line(stage: str, *figures: str) -> str:
    return f"{stage:<8}" + "".join(f"{figure:>13}" for figure in figures)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"

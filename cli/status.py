"""``etar status``: how every part of the stack is, how far each stream is, and what fires; once, or live."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic_core import to_jsonable_python

from cli.context import DEFAULT_FOLDER, AsJson, Folder, errors_shown, existing_stack, fail
from etar.settings import KafkaSettings, ReportStoreSettings, RetentionSettings
from etar.streams import Stream
from stack import lifecycle
from stack.lifecycle import PartStatus, StackStatus
from stack.parts import Stack
from stack.parts.postgres import POSTGRES

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    from etar.alerts.board import Board
    from etar.stream_state import StreamState

_REST_SECONDS = 2.0
"""Between two looks of ``--watch``: one costs a tenth of a second of CPU, as each part is asked."""


@dataclass(frozen=True)
class Standing:
    """A stack at one moment.

    Args:
        stream_faults: of folders, which are left out of the stack for them.
        alerts: as `etar alerts` says; a text where nobody knows: that is never that all is well.
    """

    stack: StackStatus
    streams: tuple[StreamState, ...]
    stream_faults: tuple[str, ...]
    alerts: Board | str

    @property
    def healthy(self) -> bool:
        return self.stack.healthy and not self.stream_faults and not any(each.faults for each in self.streams)

    def as_dict(self) -> dict[str, object]:
        return self.stack.as_dict() | {
            "healthy": self.healthy,
            "streams": to_jsonable_python(self.streams),
            "stream_faults": self.stream_faults,
            "alerts": self.alerts if isinstance(self.alerts, str) else to_jsonable_python(self.alerts.alerts),
        }

    def lines(self) -> Iterator[str]:
        """As text: a line a part, then what is known of streams and alerts, and all of it in a word."""
        for part in self.stack.parts:
            pid = part.pid or "-"
            yield f"{part.name:<22} {part.state:<9} {pid:>8} {part.memory_mb:>7.0f} MB  {part.address or ''}"
        for state in self.streams:
            yield f"{state.stream:<22} {how_far(state)}"
            yield from (f"  {line}" for line in _remarks(state))
        yield from self.beside_the_parts()
        yield self.in_a_word()

    def beside_the_parts(self) -> Iterator[str]:
        """What is wrong with folders, and the alerts."""
        yield from (f"left out: {text}" for text in self.stream_faults)
        yield from alert_lines(self.alerts)

    def in_a_word(self) -> str:
        memory = sum(part.memory_mb for part in self.stack.parts)
        return f"{'healthy' if self.healthy else 'NOT healthy'}, {memory:.0f} MB"


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Live, until Ctrl-C; once where the output is no terminal.")
    ] = False,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Show every part, and how far each stream is; exits with 1 unless all are healthy."""
    if watch and as_json:
        fail("give either --watch or --json")
    with errors_shown():
        stack = existing_stack(folder)
        if watch and sys.stdout.isatty():
            from rich.console import Console

            show_live(lambda: look(stack), Console())
            return
        found = look(stack)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        for line in found.lines():
            typer.echo(line)
    raise typer.Exit(0 if found.healthy else 1)


def look(stack: Stack) -> Standing:
    """How the stack stands now. What does not answer is told of, and never an error."""
    result = lifecycle.status(stack)
    return Standing(
        result,
        tuple(_state_of(each, stack) for each in stack.streams) if _may_be_asked(result) else (),
        tuple(str(fault) for fault in stack.catalogue.faults),
        alerts_of(stack, result),
    )


def show_live(looked: Callable[[], Standing], console: Console, rest: Callable[[float], None] = time.sleep) -> None:
    """Show one look after the other in place of the last, until Ctrl-C; what was seen last stays on the screen."""
    from rich.live import Live

    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
            while True:
                live.update(live_view(looked(), datetime.now(UTC)), refresh=True)
                rest(_REST_SECONDS)
    except KeyboardInterrupt:
        return


def live_view(found: Standing, at: datetime) -> Group:
    """What matters first: a terminal may be lower than the list of parts is long."""
    from rich.console import Group
    from rich.text import Text

    return Group(
        Text(f"{found.in_a_word()}, {at:%H:%M:%S} UTC, Ctrl-C ends", style=f"bold {_colour(well=found.healthy)}"),
        *(
            Text(line, style="red" if line.startswith(("alert:", "left out:")) else "")
            for line in found.beside_the_parts()
        ),
        *_stream_texts(found),
        _table_of_parts(found.stack.parts),
    )


def _stream_texts(found: Standing) -> Iterator[Text]:
    from rich.text import Text

    for state in found.streams:
        yield Text(f"{state.stream}: {how_far(state)}", style="red" if state.faults else "")
        yield from (Text(f"  {line}", style="yellow") for line in _remarks(state))


def _table_of_parts(parts: list[PartStatus]) -> Table:
    """Those that are not well come first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("part", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("pid", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("address", overflow="ellipsis")  # what is cut where a terminal is narrow
    for part in sorted(parts, key=lambda each: each.state == "healthy"):
        state = Text(part.state, style=_colour(well=part.state == "healthy"))
        table.add_row(part.name, state, str(part.pid or "-"), f"{part.memory_mb:,.0f}", part.address or "")
    return table


def _colour(*, well: bool) -> str:
    return "green" if well else "red"


def _may_be_asked(result: StackStatus) -> bool:
    """Whether the places that a stream's state is asked of are there; where they are not, their own lines say so."""
    asked = [part for part in result.parts if part.name == "postgres" or part.name.startswith("kafka")]
    return all(part.state == "healthy" for part in asked)


def _state_of(stream: Stream, stack: Stack) -> StreamState:
    from etar.stream_state import stream_state  # the clients of Kafka and PostgreSQL: only where those answer

    settings = stack.settings
    return stream_state(
        stream,
        kafka=settings.of(KafkaSettings),
        store=settings.of(ReportStoreSettings),
        retention=settings.of(RetentionSettings),
    )


def alerts_of(stack: Stack, result: StackStatus) -> Board | str:
    """How the alerts stand, as `etar alerts` says; a text where nobody knows."""
    if not any(part.name == POSTGRES.name and part.state == "healthy" for part in result.parts):
        return f"not known: {POSTGRES.name} does not run"
    import psycopg

    from etar.alerts.board import read_board
    from etar.clients import report_store_connection

    try:
        with report_store_connection(stack.settings.of(ReportStoreSettings)) as connection:
            board = read_board(connection)
    except psycopg.Error as error:
        return f"not known: the report store does not say: {' '.join(str(error).split())}"
    return board if board.is_known else f"not known: {board.why_not_known}"


def alert_lines(alerts: Board | str) -> Iterator[str]:
    """What fires, and what has no data."""
    if isinstance(alerts, str):
        yield f"alerts: {alerts}"
        return
    from cli.alerts import line

    yield from (f"alert: {line(alert)}" for alert in alerts.alerts if alert.state == "firing")
    if without := [alert.alert for alert in alerts.alerts if alert.state == "no data"]:
        yield f"alerts without data: {', '.join(dict.fromkeys(without))}"


def how_far(state: StreamState) -> str:
    """How far sink and audit of a stream are."""
    behind = "Kafka does not say" if state.behind is None else f"the sink is {state.behind:,} records behind"
    through = state.audited_through
    return f"{behind}, " + (f"audited through {through:%Y-%m-%dT%H:%M}Z" if through else "nothing is audited yet")


def _remarks(state: StreamState) -> Iterator[str]:
    for word, those in (("fault", state.faults), ("warning", state.warnings)):
        yield from (f"{word}: {text}" for text in those)

"""``etar verify``: print the account of a range of minutes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cli.context import DEFAULT_FOLDER, PLACES, AsJson, Folder, errors_shown, fail, use_settings_of
from etar import accounting
from etar.accounting import PlaceUnavailableError, ProducerAccount, UnverifiableRangeError
from etar.kafka_offsets import KafkaUnavailableError, UnknownTopicError
from etar.minute import MinuteWindow
from etar.reconciliation import Verification

_WIDTH = 160
"""Columns of a table that is not printed on a terminal: wide enough that no number is cut."""


def verify(
    from_: Annotated[
        str | None, typer.Option("--from", help="First minute, like 2026-11-21T10:31Z; the oldest if left out.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Minute to stop before; after the newest that is settled if left out.")
    ] = None,
    account: Annotated[
        Path | None,
        typer.Option(help="Account that `etar produce` wrote, to be compared with what Kafka took.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare Kafka, the table, dead letters, Parquet and reports, record by record; exit with 1 on a difference."""
    with errors_shown():
        use_settings_of(folder, *PLACES)
        first = MinuteWindow.parse(from_) if from_ else None
        end = MinuteWindow.parse(to) if to else None
        if not show(first, end, account=account, as_json=as_json):
            raise typer.Exit(1)


def show(
    first: MinuteWindow | None, end: MinuteWindow | None, *, account: Path | None = None, as_json: bool = False
) -> bool:
    """Print the account of ``[first, end)`` as tables, or as JSON; returns whether it is exact.

    Settings come from the environment. An account that cannot be made ends the command with a message.
    """
    try:
        claimed = ProducerAccount.read(account) if account else None
        verification = accounting.verify(first, end, producer_account=claimed)
    except (UnverifiableRangeError, PlaceUnavailableError, KafkaUnavailableError, UnknownTopicError) as error:
        fail(str(error))
    if as_json:
        typer.echo(verification.model_dump_json(indent=2))
    else:
        render(verification, Console())
    return verification.ok


def render(verification: Verification, console: Console) -> None:
    """Two tables, the notes under them, and the result in one line."""
    if not console.is_terminal:
        console.width = _WIDTH
    if not verification.minutes:
        console.print("no minute is settled and reported yet; try again in two minutes")
        return
    console.print(_minutes(verification))
    console.print(_partitions(verification))
    notes = [(f"minute {minute.minute}", minute.note) for minute in verification.minutes]
    notes += [(f"partition {partition.partition}", partition.note) for partition in verification.partitions]
    for where, note in notes:
        if note:
            # Notes hold commands to be copied: no wrapping in the middle, no markup in brackets.
            console.print(f"{where}: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if verification.ok:
        console.print(f"exact: {len(verification.minutes)} minutes, every record accounted for", style="green")
    else:
        console.print(f"difference: {verification.difference}", style="red")


def _minutes(verification: Verification) -> Table:
    rows = ("table rows", "Parquet rows", "report rows", "duplicates", "events", "report events")
    table = _table("Minutes, by event time", ("minute", *rows, "revision", "dead letters", "difference"))
    for minute in verification.minutes:
        table.add_row(
            *_cells(
                minute.minute,
                minute.received,
                minute.parquet_rows,
                minute.report_rows,
                minute.duplicates,
                minute.unique,
                minute.report_events,
                minute.revision,
                minute.dead_letters,
                minute.difference,
            ),
            style="red" if minute.difference else None,
        )
    return table


def _partitions(verification: Verification) -> Table:
    claimed = any(partition.acknowledged is not None for partition in verification.partitions)
    offsets = ("from", "to", "records", "in table", "dead letters", "missing", "in both")
    claims = ("acknowledged",) if claimed else ()
    table = _table("Kafka's offsets, by time of arrival", ("partition", *offsets, *claims, "difference"))
    for partition in verification.partitions:
        table.add_row(
            *_cells(
                str(partition.partition),
                partition.first_offset,
                partition.end_offset,
                partition.end_offset - partition.first_offset,
                partition.in_table,
                partition.in_dead_letters,
                partition.missing,
                partition.in_both,
                *((partition.acknowledged,) if claimed else ()),
                partition.difference,
            ),
            style="red" if partition.difference else None,
        )
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, column in enumerate(columns):
        # A heading may wrap between its words; nothing is ever cut inside a number or a minute.
        longest_word = max(map(len, column.split()))
        table.add_column(column, justify="right" if place else "left", no_wrap=not place, min_width=longest_word)
    return table


def _cells(*values: int | str | None) -> list[str]:
    return ["-" if value is None else value if isinstance(value, str) else f"{value:,}" for value in values]

"""``etar verify``: print the account of a range of minutes, and repair what differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cli.context import (
    DEFAULT_FOLDER,
    PLACES,
    AsJson,
    Folder,
    errors_shown,
    existing_stack,
    fail,
    stream_names,
    use_settings_of,
)
from cli.repair import AirflowUnavailableError, AuditFailedError, audit_again, report_minutes_again
from etar.kafka.offsets import KafkaUnavailableError, UnknownTopicError
from etar.minute import MinuteWindow
from etar.progress import progress_bar
from etar.settings import ReconcileSettings, get_settings
from etar.streams import DEFAULT_STREAM, Stream, StreamFaultError, catalogue, default_stream, stream_named
from etar.verify.account import ProducerAccount, UnverifiableRangeError
from etar.verify.account import verify as verified
from etar.verify.compare import HOW_TO_RUN_AIRFLOW, Totals, Verification, backfill, report_again
from etar.verify.facts import PlaceUnavailableError
from etar.windows import Number
from stack.configuration import SettingsError

_Cell = int | str | None

_MOST_SPANS = 10

_WIDTH = 160
"""Columns of a table that is not printed on a terminal: wide enough that no number is cut."""


def verify(
    *,
    from_: Annotated[
        str | None, typer.Option("--from", help="First minute, like 2026-11-21T10:31Z; the oldest if left out.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Minute to stop before; after the newest that is settled if left out.")
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"A stream; may be repeated. The default is {DEFAULT_STREAM}.",
            autocompletion=stream_names,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All streams that are on.")] = False,
    account: Annotated[
        Path | None,
        typer.Option(help="Account that `etar produce` wrote: all that it sent must be accounted for.", metavar="FILE"),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired, and compare once more.")
    ] = False,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare Kafka, the table, dead letters, Parquet and reports, record by record; exit with 1 on a difference."""
    with errors_shown():
        use_settings_of(folder, *PLACES)
        first = MinuteWindow.parse(from_) if from_ else None
        end = MinuteWindow.parse(to) if to else None
        chosen = _chosen(stream or (), every=every)
        if account and len(chosen) > 1:
            fail("the account of a producer is of one stream: name it with --stream")
        verifications = []
        for each in chosen:
            compare = partial(_verified, each, first, end, account, as_json=as_json)
            verification = compare()
            if repair and verification.repair:
                if not as_json:
                    render(verification, Console())
                verification = _repaired(verification, each, compare, folder, as_json=as_json)
            verifications.append(verification)
            if not as_json:
                if len(chosen) > 1:
                    typer.secho(f"\n{each.name}", bold=True)
                render(verification, Console())
        if as_json:
            typer.echo(_as_json(verifications))
        if not all(verification.ok for verification in verifications):
            raise typer.Exit(1)


def show(first: MinuteWindow | None, end: MinuteWindow | None, *, account: Path | None = None) -> bool:
    """Print the default stream's account of ``[first, end)`` as tables; returns whether it is exact.

    Settings come from the environment. An account that cannot be made ends the command with a message.
    """
    verification = _verified(default_stream(), first, end, account)
    render(verification, Console())
    return verification.ok


def _chosen(names: Sequence[str], *, every: bool) -> Sequence[Stream]:
    if every and names:
        fail("give either --all or streams by name")
    if every:
        known = catalogue()
        if known.faults:
            raise StreamFaultError(known.faults)  # an account that leaves one out would not be of all
        return known.on
    return [stream_named(name) for name in dict.fromkeys(names)] or [default_stream()]


def _as_json(verifications: Sequence[Verification]) -> str:
    """Of one stream its account; of several a list of theirs."""
    if len(verifications) == 1:
        return verifications[0].model_dump_json(indent=2)
    return json.dumps([verification.model_dump(mode="json") for verification in verifications], indent=2)


def _verified(
    stream: Stream,
    first: MinuteWindow | None,
    end: MinuteWindow | None,
    account: Path | None,
    *,
    as_json: bool = False,
) -> Verification:
    try:
        claimed = ProducerAccount.read(account) if account else None
        with progress_bar(f"verifying {stream.name}", hidden=as_json) as told:
            return verified(first, end, stream=stream, producer_account=claimed, told=told)
    except (UnverifiableRangeError, PlaceUnavailableError, KafkaUnavailableError, UnknownTopicError) as error:
        fail(str(error))


def _repaired(
    verification: Verification, stream: Stream, compare: Callable[[], Verification], folder: Path, *, as_json: bool
) -> Verification:
    """The account after the repair. Records come first: minutes are reported from them."""
    try:
        if verification.suspect_from:
            audit_again(verification.suspect_from, _say, stream=stream)
            verification = compare()
        if verification.minutes_off:
            try:
                stack = existing_stack(folder)
            except SettingsError:
                again = _how_to_report_again(verification)
                fail(f"no stack runs in {folder}; have your own Airflow do it: {again}\n{HOW_TO_RUN_AIRFLOW}")
            with progress_bar("reporting again", hidden=as_json) as told:
                report_minutes_again(verification.minutes_off, stack, _say, stream=stream, told=told)
            verification = compare()
    except (AirflowUnavailableError, AuditFailedError) as error:
        fail(str(error))
    return verification


def _say(message: str) -> None:
    typer.echo(f"repair: {message}", err=True)


def render(verification: Verification, console: Console) -> None:
    """Two tables, the notes under them, the totals, and the result in one line."""
    if not console.is_terminal:
        console.width = _WIDTH
    if not verification.minutes:
        console.print("no minute is settled and reported yet; try again in two minutes")
        _print_lines(console, [verification.totals.note or "", *_warnings(verification)])
        return
    console.print(_minutes(verification))
    console.print(_partitions(verification))
    if verification.windows:
        console.print(_windows(verification))
    of_partitions = [(partition.partition, partition.note) for partition in verification.partitions]
    lines = [
        *_equation(verification.totals),
        *_minute_notes(verification),
        *(f"partition {number}: {note}" for number, note in of_partitions if note),
        *_window_notes(verification),
    ]
    if any("airflow dags" in line or "airflow backfill" in line for line in lines):
        lines.append(HOW_TO_RUN_AIRFLOW)
    _print_lines(console, [*lines, *_warnings(verification)])
    if verification.ok:
        live = f", {len(verification.windows)} live windows as their reports" if verification.windows else ""
        minutes = len(verification.minutes)
        console.print(f"exact: {minutes} minutes, every record accounted for{live}", style="green")
        return
    console.print(f"difference: {verification.difference}", style="red")
    if verification.repair:
        console.print(f"repair: {verification.repair}", markup=False, highlight=False, soft_wrap=True)


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    for line in filter(None, lines):
        # Notes hold commands to be copied: no wrapping in the middle, no markup in brackets.
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _warnings(verification: Verification) -> list[str]:
    return [f"warning: {warning}" for warning in verification.warnings]


def _minute_notes(verification: Verification) -> Iterator[str]:
    """What is wrong with the minutes, once for all of which it is the same, and one advice for all of them."""
    off = verification.minutes_off
    if len(off) == 1:
        yield from (f"minute {minute.minute}: {minute.note}" for minute in verification.minutes if minute.note)
        return
    by_cause: dict[str, list[MinuteWindow]] = {}
    for minute in verification.minutes:
        if minute.cause:
            by_cause.setdefault(minute.cause, []).append(MinuteWindow.parse(minute.minute))
    for cause, windows in by_cause.items():
        which = f"minute {windows[0]}" if len(windows) == 1 else f"{len(windows)} minutes ({_in_words(windows)})"
        yield f"{which}: {cause}"
    if off:
        yield f"report these {len(off)} minutes again: {_how_to_report_again(verification)}"


def _how_to_report_again(verification: Verification) -> str:
    """The command for the minutes that are off: a list of them is bounded, a backfill is not. But a backfill takes all
    that lie between, and a minute that lacks rows has to keep its report."""
    stream = stream_named(verification.stream)
    windows, most = verification.minutes_off, get_settings(ReconcileSettings).batch_minutes
    if len(windows) <= most:
        return report_again(stream, windows)
    if any(minute.lost_rows for minute in verification.minutes):
        return f"{report_again(stream, windows[:most])}, and so on, {most} at a time"
    return backfill(stream, windows[0], windows[-1])


def _in_words(windows: Sequence[MinuteWindow]) -> str:
    """``2026-11-21T10:31Z to 2026-11-21T10:45Z, 2026-11-21T10:50Z``, the oldest first; the first few where many."""
    spans: list[list[MinuteWindow]] = []
    for window in windows:
        if spans and spans[-1][-1].next == window:
            spans[-1].append(window)
        else:
            spans.append([window])
    shown = [str(span[0]) if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans[:_MOST_SPANS]]
    return ", ".join(shown) + (f" and {len(spans) - _MOST_SPANS} spans more" if len(spans) > _MOST_SPANS else "")


def _equation(totals: Totals) -> Iterator[str]:
    """The totals in words, without the terms that are 0 and seldom anything else."""
    arrived = f"{totals.arrived_from:%Y-%m-%dT%H:%M:%SZ} to {totals.arrived_to:%Y-%m-%dT%H:%M:%SZ}"
    if totals.acknowledged is None:
        sent = f"{totals.records:,} records"
    else:
        sent = _sum(
            acknowledged=(totals.acknowledged, True), in_doubt=(totals.in_doubt, False), replays=(totals.replays, False)
        )
    became = _sum(
        events_in_reports=(totals.events, True),
        duplicates=(totals.duplicates, True),
        too_late=(totals.too_late, True),
        bad_records=(totals.bad, True),
        discarded=(totals.discarded, False),
        replayed=(totals.replayed, False),
        events_not_due_yet=(totals.not_due, False),
        past_retention=(totals.closed, False),
        offsets_without_a_record=(totals.no_record, False),
    )
    off = f", difference {totals.difference:+,}" if totals.difference else ""
    yield f"totals, arrived {arrived}: {sent} = {became}{off}"
    if totals.note:
        yield f"totals: {totals.note}"


def _sum(**terms: tuple[int, bool]) -> str:
    """``5 acknowledged + 1 in doubt``; each term with whether it is shown when it is 0."""
    return " + ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, (count, always) in terms.items() if count or always
    )


def _minutes(verification: Verification) -> Table:
    minutes = verification.minutes
    columns: dict[str, Sequence[_Cell]] = {
        "minute": [each.minute for each in minutes],
        "state": [each.state for each in minutes],
        "table rows": [each.received for each in minutes],
        "Parquet rows": [each.parquet_rows for each in minutes],
        "report rows": [each.report_rows for each in minutes],
        "duplicates": [each.duplicates for each in minutes],
        "events": [each.unique for each in minutes],
        "report events": [each.report_events for each in minutes],
        "late": [each.late_events for each in minutes],
        "pending": [each.pending for each in minutes],
        "lost rows": [each.lost_rows for each in minutes],
        "revision": [each.revision for each in minutes],
        "dead letters": [each.dead_letters for each in minutes],
        "difference": [each.difference for each in minutes],
    }
    return _table("Minutes, by event time", columns, when_any=("pending", "lost rows"))


def _windows(verification: Verification) -> Table:
    windows = verification.windows
    columns: dict[str, Sequence[_Cell]] = {
        "window": [str(MinuteWindow.containing(each.window)) for each in windows],
        "state": ["final" if each.final else "streamed" for each in windows],
        "revision": [each.revision for each in windows],
    }
    for name in windows[0].numbers:
        numbers = [each.numbers[name] for each in windows]
        columns |= {
            f"{name} streamed": [_exact(each.streamed) for each in numbers],
            f"{name} now": [_exact(each.now) for each in numbers],
            f"{name} report": [_exact(each.report) for each in numbers],
            f"{name} corrected": [_exact(each.corrected) for each in numbers],
        }
    columns["difference"] = [each.difference for each in windows]
    return _table("Live windows, stream beside report", columns, when_any=())


def _window_notes(verification: Verification) -> Iterator[str]:
    off = [each for each in verification.windows if each.note]
    for each in off[:_MOST_SPANS]:
        yield f"window {MinuteWindow.containing(each.window)}: {each.note}"
    if len(off) > _MOST_SPANS:
        yield f"{len(off) - _MOST_SPANS} windows more are not as their reports"


def _exact(number: Number | None) -> str | None:
    return None if number is None else f"{number:,}"


def _partitions(verification: Verification) -> Table:
    partitions = verification.partitions
    columns: dict[str, Sequence[_Cell]] = {
        "partition": [str(each.partition) for each in partitions],
        "from": [each.first_offset for each in partitions],
        "to": [each.end_offset for each in partitions],
        "records": [each.end_offset - each.first_offset for each in partitions],
        "in table": [each.in_table for each in partitions],
        "dead letters": [each.in_dead_letters for each in partitions],
        "past retention": [each.closed for each in partitions],
        "no record": [each.no_record for each in partitions],
        "missing": [each.missing for each in partitions],
        "lost": [each.lost for each in partitions],
        "in both": [each.in_both for each in partitions],
        "acknowledged": [each.acknowledged for each in partitions],
        "in doubt": [each.in_doubt for each in partitions],
        "replays": [each.replays for each in partitions],
        "difference": [each.difference for each in partitions],
    }
    seldom = ("past retention", "no record", "lost", "acknowledged", "in doubt", "replays")
    return _table("Kafka's offsets, by time of arrival", columns, when_any=seldom)


def _table(title: str, columns: Mapping[str, Sequence[_Cell]], *, when_any: Collection[str]) -> Table:
    """``when_any``: columns that are left out while every value is 0 or unknown. A line with a difference is red."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown = {heading: values for heading, values in columns.items() if heading not in when_any or any(values)}
    for place, heading in enumerate(shown):
        # A heading may wrap between its words; nothing is ever cut inside a number or a minute.
        longest_word = max(map(len, heading.split()))
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place, min_width=longest_word)
    for line, difference in zip(zip(*shown.values(), strict=True), columns["difference"], strict=True):
        table.add_row(*map(_text, line), style="red" if difference else None)
    return table


def _text(value: _Cell) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:,}"

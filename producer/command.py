"""The command ``etar produce``."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from etar.errors import PermanentError
from etar.minute import MinuteWindow
from etar.progress import progress_bar
from etar.streams import DEFAULT_STREAM
from producer.account import Account
from producer.input_file import InputFileError
from producer.kinds import Kind
from producer.logs import show_logs
from producer.options import Mix, ProduceOptions

if TYPE_CHECKING:
    from rich.table import Table

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_DURATION_PART = re.compile(r"([0-9.]+)([smhd])")


def parse_duration(text: str) -> timedelta:
    """``90s``, ``5m``, ``1h``, ``1h30m`` as a duration.

    Raises:
        typer.BadParameter: it is not written like that.
    """
    if not _DURATION.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a duration; write it like 90s, 5m, 1h or 1h30m")
    return sum(
        (timedelta(**{_UNITS[unit]: float(number)}) for number, unit in _DURATION_PART.findall(text)), timedelta()
    )


def parse_start(text: str, now: datetime | None = None) -> datetime | None:
    """``now`` (None: when the workers are ready), ``next-minute`` or an ISO 8601 instant (UTC if it names no zone).

    Raises:
        typer.BadParameter: it is none of these.
    """
    if text == "now":
        return None
    if text == "next-minute":
        return MinuteWindow.containing(now or datetime.now(UTC)).end
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a start; write now, next-minute or a time like 2026-11-21T10:31Z"
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def produce(  # noqa: PLR0917  typer passes by name
    rate: Annotated[
        float | None,
        typer.Option(help="Records a second over all workers.", show_default="100; no limit with --input"),
    ] = None,
    duration: Annotated[
        timedelta | None,
        typer.Option(
            "--for",
            parser=parse_duration,
            metavar="DURATION",
            help="How long: 90s, 5m, 1h. The run has exactly rate times duration records.",
            show_default="until stopped",
        ),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_start,
            metavar="START",
            help="Event time of the first event: now, next-minute (whole minutes from there on) or a time like "
            "2026-11-21T10:31Z. A start in the past is caught up as fast as possible.",
            show_default="now",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The same seed, rate, workers and start make the same events. Event ids follow from the seed alone: "
            "sent again, they are the same events again.",
            show_default="another in each run",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    errors: Annotated[
        float, typer.Option(min=0, max=1, help="Share of events that are errors, where the stream's traffic has such.")
    ] = 0.05,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of events that reach Kafka late.")] = 0.0,
    late_by: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Greatest lateness; the least is half of it."),
    ] = "90s",  # type: ignore[assignment]  # typer parses it like what a user gives
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of records that repeat an event.")] = 0.0,
    malformed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of malformed records, of each kind equally many.")
    ] = 0.0,
    respawn: Annotated[
        bool,
        typer.Option(
            "--respawn",
            help="Start another worker in place of one that is killed by a signal, which would otherwise end the run. "
            "What the killed one had under way is in doubt, and counted as that.",
        ),
    ] = False,
    input_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE|FOLDER|PATTERN|-",
            help="Send your own events: JSON lines, CSV or Parquet, plain, gzip or zstd, with columns named like the "
            "fields of the stream's schema (times as ISO 8601, or as numbers since the epoch). A folder of parts, a "
            "pattern in quotes, - for standard input; may be given several times. A line without its id, where that is "
            "a UUID, gets one that follows from its other values, so that the file sent twice, or two equal lines, are "
            "still one event each.",
        ),
    ] = None,
    null: Annotated[
        list[str] | None,
        typer.Option(
            "--null",
            metavar="WORD",
            help="A word of --input that means that there is no value, like NULL or NaN, as empty text always does. "
            "Lines with such words are rejected until --null or --text says what they mean.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="WORD", help="A word of --input that is a value: NA, if it is Namibia."),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="Where lines of --input go that are no event, as JSON: file, line, reason, raw.",
            show_default="INPUT.rejects.jsonl",
        ),
    ] = None,
    account: Annotated[Path | None, typer.Option(help="Write the account to this file, too.")] = None,
    event_log: Annotated[
        Path | None, typer.Option(help="Write every acknowledged record to this file, one JSON object a line.")
    ] = None,
    stream: Annotated[
        str, typer.Option(metavar="NAME", help="The stream whose events are sent: its topic, key, schema and traffic.")
    ] = DEFAULT_STREAM,
    topic: Annotated[str | None, typer.Option(help="Topic to send to.", show_default="the stream's own")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the account as JSON, as it is printed into a pipe anyway.")
    ] = False,
) -> None:
    """Send events to Kafka: made-up traffic of a stream, or your own from a file.

    Ctrl-C (or SIGTERM) stops; what is under way is waited for, unless a second one comes. The account of every record
    is printed: a table on a terminal, one line of JSON otherwise. Exit code 0: every record arrived, or is one of those
    in doubt after a --respawn. 1: not; with --input also when it was stopped or nothing of it can be in a report. 2: it
    could not start. 3: some lines of --input were rejected, or will be refused for their time; all others arrived.
    """
    from producer.publisher import TopicMissingError
    from producer.run import produce as run
    from producer.traffic import NoTrafficError
    from producer.wire import SchemaRefusedError

    show_logs("producer")
    # Only what was given: options that do not go together can then be told from defaults.
    given: dict[str, Any] = {
        "rate": rate,
        "duration": duration,
        "start": start,
        "seed": seed,
        "workers": workers,
        "respawn": respawn or None,
        "input": tuple(input_files or ()) or None,
        "nulls": tuple(null or ()) or None,
        "texts": tuple(text or ()) or None,
        "rejects": rejects,
        "account": account,
        "event_log": event_log,
        "stream": stream,
        "topic": topic,
    }
    try:
        made_up = Mix(errors=errors, late=late, late_by=late_by, duplicates=duplicates, malformed=malformed)
        if not input_files or made_up != Mix():
            given["mix"] = made_up
        options = ProduceOptions(**{name: value for name, value in given.items() if value is not None})
        with progress_bar("sending", hidden=as_json or not options.input) as told:
            result = run(options, told)
    except ValidationError as error:
        _fail("; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors()))
    except (InputFileError, NoTrafficError, PermanentError, SchemaRefusedError, TopicMissingError, OSError) as error:
        _fail(str(error))
    if as_json or not sys.stdout.isatty():
        typer.echo(result.model_dump_json())
    else:
        from rich.console import Console

        Console().print(account_table(result))
    for line in what_is_missing(result):
        typer.echo(line, err=True)
    if code := exit_code(result):
        raise typer.Exit(code)


def exit_code(account: Account) -> int:
    """0: all arrived. 3: all but lines of the input that no report can have. 1: something did not, or nothing can."""
    if not account.ok:
        return 1
    kept_out = account.counts.rejected + account.counts.disbelieved
    if not kept_out:
        return 0
    return 3 if account.generated > account.counts.disbelieved else 1


def account_table(account: Account) -> Table:
    """The account for a person: only what there is of it."""
    from rich.table import Table

    table = Table("", "", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    seconds = (account.ended_at - account.started_at).total_seconds()
    rows: list[tuple[str, object]] = [
        ("topic", account.topic),
        ("records made", account.generated),
        ("acknowledged", account.acknowledged),
        *(
            (f"  of them {kind}", each.acknowledged)
            for kind, each in account.counts.kinds.items()
            if kind != Kind.EVENT
        ),
        *((f"failed: {name}", number) for name, number in account.counts.failures.items()),
        ("in doubt", account.in_doubt or None),
        ("perhaps sent", account.perhaps_sent or None),
        ("workers replaced", account.respawns or None),
        ("lines rejected", account.counts.rejected or None),
        ("refused for their time", account.counts.disbelieved or None),
        ("first minute", account.first_minute),
        ("last minute", account.last_minute),
        ("seconds", f"{seconds:.1f}"),
        ("seed", None if account.seed is None else str(account.seed)),
    ]
    for name, value in rows:
        if value is not None:
            table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table


def what_is_missing(account: Account) -> list[str]:
    """What did not become an event that a report can have, and why, in lines for a person."""
    lines = [f"etar produce: {error}" for error in account.errors]
    if rejected := account.counts.rejected:
        lines.append(f"{_lines(rejected)} no event; each with its reason in {account.reject_file}:")
        for each in account.reject_reasons:
            where = f"{each.file}, line {each.line}"
            lines.append(f"  {each.lines:,} x {each.reason}" + (f" ({where}: {each.example})" if each.example else ""))
    if disbelieved := account.counts.disbelieved:
        lines.append(
            f"{disbelieved:,} {'event is' if disbelieved == 1 else 'events are'} too old or too far ahead for the "
            "pipeline: dead letters, in no report (`etar dead-letters list`)"
        )
    return lines


def _lines(number: int) -> str:
    return "1 line is" if number == 1 else f"{number:,} lines are"


def _fail(message: str) -> Any:
    typer.echo(f"etar produce: {message}", err=True)
    raise typer.Exit(2)

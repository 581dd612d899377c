"""``etar alerts``: what fires, silence it, see whether the targets can be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from cli.context import DEFAULT_FOLDER, AsJson, Folder, errors_shown, fail, use_settings_of
from cli.lazy import Group
from etar.alerts.states import AlertState
from etar.alerts.targets import Message, Sending, TargetsError, targets
from etar.settings import AlertRuleSettings, AlertSettings, ReportStoreSettings, get_settings

if TYPE_CHECKING:  # PostgreSQL's client takes 0.1 s to load
    import psycopg

    from etar.alerts.board import Board, ShownAlert

NOT_KNOWN = 3
"""Exit code of `etar alerts` where nobody knows what fires."""

_TEST_SECONDS = 120.0

app = typer.Typer(
    help="What fires, since when and what to press; silence it, send a test. Exits with 1 if something fires.\n\n"
    "Exit codes of the list: 0 nothing fires that is not silenced; 1 something does; 3 nobody knows: the report store "
    "is away, or the part `alerts` does not run. Of the commands: 0 done, 1 not, and why.",
    invoke_without_command=True,
    cls=Group,
)

Rule = Annotated[str, typer.Argument(metavar="RULE", help="Name of the rule, as `etar alerts` shows it.")]
OfStream = Annotated[str | None, typer.Option("--stream", metavar="NAME", help="Of this stream; of all if left out.")]


@app.callback()
def list_(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that are well, too.")] = False,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print what fires, since when, and what to press."""
    if context.invoked_subcommand:
        return
    from etar.alerts.board import read_board

    with _store(folder, exit_code=NOT_KNOWN) as connection:
        board = read_board(connection)
    if as_json:
        typer.echo(board.model_dump_json(indent=2))
    else:
        for line in lines(board, every=every):
            typer.echo(line)
    if not board.is_known:
        _end(board.why_not_known, NOT_KNOWN)
    raise typer.Exit(1 if any(alert.speaks for alert in board.alerts) else 0)


def lines(board: Board, *, every: bool) -> Iterator[str]:
    """The board as text: what fires with what to press, and under it what else there is to know."""
    for alert in board.alerts:
        if alert.state in (AlertState.FIRING, AlertState.PENDING):
            yield line(alert)
            yield f"    {alert.description}"
        elif every:
            yield line(alert)
    firing = sum(alert.state is AlertState.FIRING for alert in board.alerts)
    silenced = sum(alert.state is AlertState.FIRING and not alert.speaks for alert in board.alerts)
    without = [str(alert.alert) for alert in board.alerts if alert.state is AlertState.NO_DATA]
    if board.is_known:
        yield f"{firing} of {len(board.alerts)} fire" + (f", {silenced} silenced" if silenced else "")
    if without:
        yield f"without data: {', '.join(dict.fromkeys(without))}"
    yield from (f"not asked: {problem}" for problem in board.problems)
    yield f"told to: {', '.join(board.targets)}" if board.targets else "nobody is told: ETAR_ALERTS_TARGETS is empty"


def line(alert: ShownAlert) -> str:
    """One alert: state, since when, what is wrong, until when it is silenced."""
    if alert.state not in (AlertState.FIRING, AlertState.PENDING):
        of = f" of {alert.of}" if alert.labels else ""
        return f"{alert.state}: {alert.alert}{of} ({alert.expr}), since {_utc(alert.since)}"
    silence = alert.silence
    until = f" [silenced until {_utc(silence.until)} by {silence.by}: {silence.why}]" if silence else ""
    return f"{alert.state}: {alert}, since {_utc(alert.since)}{until}"


@app.command("silence")
def silence_(
    rule: Rule,
    time: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, like 30m, 2h or 1d; 30d at most.")],
    why: Annotated[str, typer.Option("--why", help="For whoever looks meanwhile.")],
    stream: OfStream = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Tell nobody of an alert for a while. It is evaluated and shown as before; an end whose start was told is told."""
    from etar.alerts.silences import UnfitSilenceError, silence, wanted

    with _store(folder) as connection:
        try:
            made = wanted(
                rule,
                stream=stream,
                time=time,
                why=why,
                by=_user(),
                settings=get_settings(AlertRuleSettings),
                now=datetime.now(UTC),
            )
        except UnfitSilenceError as error:
            fail(f"--{error.part}: {error}" if error.part in ("for", "why") else str(error))
        silence(connection, made)
    typer.echo(f"{rule}{_of(stream)} is silenced until {_utc(made.until)}; `etar alerts unsilence` ends that before")


@app.command("unsilence")
def unsilence(rule: Rule, stream: OfStream = None, folder: Folder = DEFAULT_FOLDER) -> None:
    """End a silence before its time. What fires by then is told."""
    from etar.alerts.silences import lift

    with _store(folder) as connection:
        lifted = lift(connection, rule, stream=stream, now=datetime.now(UTC))
    if not lifted:
        fail(f"{rule}{_of(stream)} is not silenced; `etar alerts` shows what is, and --stream has to be as it was then")
    typer.echo(f"{rule}{_of(stream)} is not silenced any more")


@app.command("test")
def send_test(as_json: AsJson = False, folder: Folder = DEFAULT_FOLDER) -> None:
    """Send a test message to each target, and say of each whether it was taken; exits with 1 unless all were."""
    with errors_shown():
        use_settings_of(folder, "ETAR_ALERTS_")
        try:
            known = targets(get_settings(AlertSettings))
        except TargetsError as error:
            fail(str(error))
    if not known:
        fail("there is no target: set ETAR_ALERTS_TARGETS (docs/alerts.md)")
    text = "This is a test (`etar alerts test`): alerts of etar come here."
    messages = [Message(uuid4(), name, "etar: test", text, "warning") for name in known]
    outcomes = Sending(messages).outcomes(wait_seconds=_TEST_SECONDS) or []
    answers = {each.target: each.problem for each in outcomes}
    problems = {name: answers.get(name, f"no answer within {_TEST_SECONDS:g} s") for name in known}
    if as_json:
        told = [{"target": name, "taken": not problem, "problem": problem} for name, problem in problems.items()]
        typer.echo(json.dumps(told, indent=2))
    else:
        for name, problem in problems.items():
            typer.echo(f"{name}: {'FAILED: ' + problem if problem else 'taken'}")
    raise typer.Exit(1 if any(problems.values()) else 0)


@contextmanager
def _store(folder: Any, *, exit_code: int = 1) -> Iterator[psycopg.Connection[Any]]:
    import psycopg

    from etar.clients import report_store_connection

    with errors_shown():
        use_settings_of(folder, "ETAR_REPORT_STORE_", "ETAR_ALERTS_")
        settings = get_settings(ReportStoreSettings)
        try:
            with report_store_connection(settings) as connection:
                yield connection
        except psycopg.Error as error:
            where = f"{settings.host}:{settings.port}"
            _end(f"the report store at {where} does not answer: {' '.join(str(error).split())}", exit_code)


def _user() -> str:
    from etar.dead_letters.journal import Author

    return Author.of_this_process("etar alerts silence").name


def _end(message: str, exit_code: int) -> None:
    typer.secho(f"etar: {message}", err=True, fg="red")
    raise typer.Exit(exit_code)


def _of(stream: str | None) -> str:
    return f" of {stream}" if stream else ""


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

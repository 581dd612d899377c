"""The native stack as a person runs it: ``etar up``, ``down``, ``logs``, ``exec``, ``clean``."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.context import DEFAULT_FOLDER, Folder, errors_shown, existing_stack, fail
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings
from stack import lifecycle
from stack.configuration import PortTakenError, SettingsError
from stack.layout import Layout
from stack.parts import Stack, airflow, part_named, possible_parts
from stack.processes import STACK_MARK
from stack.supervision import Supervisor

if TYPE_CHECKING:
    from etar.report import PublishedReport


def up(
    folder: Folder = DEFAULT_FOLDER,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
) -> None:
    """Start the stack and print each minute's report; Ctrl-C stops everything."""
    from cli.reports import one_line

    with errors_shown():
        if detach:
            _start_detached(folder)
            return
        with running(folder) as stack:
            typer.echo(
                "One line for each minute's report, some seconds after the minute's end. Ctrl-C stops everything."
            )
            supervisor = Supervisor(stack)
            # With one stream, whose report it is goes without saying.
            names = [stream.name for stream in stack.streams]
            widest = max(map(len, names)) + 2 if len(names) > 1 else 0
            for report in published(stack, since=MinuteWindow.containing(datetime.now(UTC)).previous):
                if report is not None:
                    typer.echo((f"{report.stream:<{widest}}" if widest else "") + one_line(report))
                elif not supervisor.is_running():
                    fail("the stack was stopped from elsewhere (`etar down`, or a crash of its supervisor)")


def _start_detached(folder: Path) -> None:
    """Start the stack and leave it running; an interrupted start leaves what ran before it, and no more."""
    ran = is_running(folder)
    _interrupt_at_signals()
    try:
        start(folder)
    except KeyboardInterrupt:
        typer.echo()
        if not ran:
            _stop(folder)
        raise typer.Exit(130) from None


def is_running(folder: Path) -> bool:
    """Whether there is a stack in the folder that is not stopped."""
    return Layout.at(folder).settings_file.exists() and Supervisor(existing_stack(folder)).is_running()


@contextmanager
def running(folder: Path, *, without: Collection[str] = (), when_interrupted: int = 0) -> Iterator[Stack]:
    """A stack that is stopped again however the block ends; one whose start is refused is left as it was.

    Ctrl-C, SIGTERM and a closed terminal end the command quietly, with the exit code ``when_interrupted``.
    """
    _interrupt_at_signals()
    refused = False
    try:
        try:
            stack = start(folder, without=without)
        except (SettingsError, PortTakenError):
            refused = True
            raise
        yield stack
    except KeyboardInterrupt:
        typer.echo()
        raise typer.Exit(when_interrupted) from None
    finally:
        if not refused:
            _stop(folder)


_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt_at_signals() -> None:
    # SIGINT as well: a shell starts background commands with it ignored.
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _stop(folder: Path) -> None:
    # Whoever is impatient sends a second signal, and so does `make` that is ended: it would cut the stopping short.
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if Layout.at(folder).settings_file.exists():
        typer.echo("stopping")
        lifecycle.stop(existing_stack(folder), say)


def say(message: str) -> None:
    """Print one step of a start or a stop."""
    typer.echo(f"  {message}")


def start(folder: Path, *, without: Collection[str] = ()) -> Stack:
    """Start the stack and print where its pages are and how to log in."""
    layout = Layout.at(folder)
    typer.echo(f"starting the stack in {layout.root}")
    stack = lifecycle.start(layout, os.environ, say, without=without)
    port = stack.settings.port
    typer.echo(
        f"\n  Airflow    http://127.0.0.1:{port('AIRFLOW')}   user {airflow.ADMIN}, password in "
        f"{airflow.passwords_file(stack)}\n"
        f"  dashboard  http://127.0.0.1:{port('DASHBOARD')}\n"
        f"  API        http://127.0.0.1:{port('API')}/openapi.json   tokens: ETAR_API_*_TOKEN in "
        f"{layout.settings_file}\n"
    )
    return stack


def published(stack: Stack, *, since: MinuteWindow) -> Iterator[PublishedReport | None]:
    """What :func:`cli.reports.follow` yields, for this stack."""
    from cli.reports import api_client, follow

    with api_client(stack.settings.of(ReportReadSettings)) as client:
        # One line a minute: each look costs the API a connection to PostgreSQL, for as long as the stack runs.
        yield from follow(client, since, [stream.name for stream in stack.streams], interval=5)


def down(folder: Folder = DEFAULT_FOLDER) -> None:
    """Stop the stack; its data stays."""
    with errors_shown():
        lifecycle.stop(existing_stack(folder), say)


def _part_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Parts whose name begins like this and that have a log, for a shell's Tab."""
    try:
        stack = existing_stack(ctx.params.get("folder") or DEFAULT_FOLDER)
        parts = [part.name for part in possible_parts(stack) if stack.layout.log(part.name).exists()]
    except (SettingsError, OSError):
        return []
    return [name for name in parts if name.startswith(incomplete)]


def logs(
    part: Annotated[
        str, typer.Argument(help="Name of the part, as `etar status` shows it.", autocompletion=_part_names)
    ],
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")] = 100,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added.")] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Show the log of one part."""
    with errors_shown():
        stack = existing_stack(folder)
    try:
        log = stack.layout.log(part_named(part, stack).name)
    except KeyError as error:
        fail(error.args[0])
    if not log.exists():
        fail(f"{part} has not run yet: there is no {log}")
    tail = ["tail", "-n", str(lines), *(["-F"] if follow_ else []), str(log)]
    os.execvp(tail[0], tail)


def exec_(context: typer.Context, folder: Folder = DEFAULT_FOLDER) -> None:
    """Run a command with the stack's environment: `etar exec airflow dags list`."""
    if not context.args:
        fail("give a command, like: etar exec airflow dags list")
    with errors_shown():
        stack = existing_stack(folder)
    own = {"ETAR_DIR": str(stack.layout.root)} | stack.settings.starting_with("ETAR_API_", "ETAR_REGISTRY_")
    environment = stack.base_environment | os.environ | airflow.environment(stack) | own
    environment["PATH"] = stack.base_environment["PATH"]
    # Not one of the stack's own processes: `etar down` must not end a person's shell.
    del environment[STACK_MARK]
    try:
        os.execvpe(context.args[0], context.args, environment)
    except FileNotFoundError:
        fail(f"there is no command {context.args[0]!r}")


def clean(
    folder: Folder = DEFAULT_FOLDER,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and delete its folder: data, logs and generated secrets."""
    layout = Layout.at(folder)
    if not layout.settings_file.exists():
        typer.echo(f"there is no stack in {layout.root}; nothing to delete")
        return
    if not yes:
        typer.confirm(f"Delete {layout.root} with all its data, logs and secrets?", abort=True)
    with errors_shown():
        stack = existing_stack(folder)
        lifecycle.stop(stack, say)
    for part in possible_parts(stack):
        shutil.rmtree(layout.temporary(part.name), ignore_errors=True)
    shutil.rmtree(layout.root)
    typer.echo(f"deleted {layout.root}")

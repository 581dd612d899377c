"""``etar connect``: bring Kafka Connect's connectors to what their files say, and see how they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.context import DEFAULT_FOLDER, AsJson, Folder, errors_shown, fail, use_settings_of
from cli.lazy import Group
from connect.registration import (
    Change,
    ConfigurationRefusedError,
    ConnectorFailedError,
    changes,
    check,
    register,
)
from connect.registration import restart as restart_connector
from connect.template import SINK_TEMPLATE, ConnectorConfigError, Template
from connect.variables import variables
from connect.worker import ConnectorStatus, UnknownConnectorError, Worker, WorkerRefusedError, WorkerUnavailableError
from etar.settings import ConnectSettings, WarehouseAddress, get_settings
from etar.streams import catalogue, default_stream

app = typer.Typer(
    help="Kafka Connect's connectors: compare them with their files, create and update them, see how they are.",
    no_args_is_help=True,
    cls=Group,
)

_DIFFERENT = 2

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE.json]…",
        help="Files of connectors; the sinks of all streams that are on if left out.",
        dir_okay=False,
    ),
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Connectors; all if left out.")]
Wait = Annotated[
    float | None, typer.Option(min=1, help="Longest wait for a worker and for tasks, in seconds; else the setting's.")
]


@app.command()
def apply(
    files: Files = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show the difference, change nothing.")] = False,
    wait: Wait = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Create or update connectors, the difference first; returns when their tasks run, fails with what they say."""
    with _worker(folder, wait) as worker:
        worker.wait()
        for config in _configurations(files):
            found = changes(worker.config(config["name"]), config)
            _print_changes(config["name"], found)
            check(worker, config)
            if dry_run:
                continue
            if found and not yes:
                typer.confirm(f"Change {config['name']}?", abort=True)
            _print_status(register(worker, config))


@app.command()
def diff(files: Files = None, wait: Wait = None, as_json: AsJson = False, folder: Folder = DEFAULT_FOLDER) -> None:
    """Show how connectors differ from their files; exits with 2 if any does."""
    with _worker(folder, wait) as worker:
        worker.wait()
        found = {config["name"]: changes(worker.config(config["name"]), config) for config in _configurations(files)}
    if as_json:
        typer.echo(json.dumps({name: [asdict(change) for change in own] for name, own in found.items()}, indent=2))
    else:
        for name, own in found.items():
            _print_changes(name, own)
    raise typer.Exit(_DIFFERENT if any(found.values()) else 0)


@app.command()
def status(names: Names = None, as_json: AsJson = False, folder: Folder = DEFAULT_FOLDER) -> None:
    """Show connectors and their tasks; exits with 1 unless there is one and all run."""
    with _worker(folder) as worker:
        found = [_status_of(worker, name) for name in names or worker.names()]
    if as_json:
        typer.echo(json.dumps([asdict(one) | {"running": one.running} for one in found], indent=2))
    else:
        for one in found:
            _print_status(one)
        if not found:
            typer.echo("no connectors: `etar connect apply` creates them")
    raise typer.Exit(0 if found and all(one.running for one in found) else 1)


@app.command()
def restart(
    names: Names = None,
    *,
    everything: Annotated[bool, typer.Option("--everything", help="What runs, too, not only what has failed.")] = False,
    wait: Wait = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Start connectors again that have failed, or a task of theirs; returns when they run."""
    with _worker(folder, wait) as worker:
        worker.wait()
        for name in names or worker.names():
            _print_status(restart_connector(worker, name, only_failed=not everything))


@contextmanager
def _worker(folder: Path, wait: float | None = None) -> Iterator[Worker]:
    """A worker of the stack in ``folder``; an error that can be expected ends the command with a message."""
    with errors_shown():
        # The warehouse's address, and not its password: only the workers need that.
        address = [f"ETAR_WAREHOUSE_{name}".upper() for name in WarehouseAddress.model_fields]
        use_settings_of(folder, "ETAR_CONNECT_", *address)
        settings = get_settings(ConnectSettings)
        try:
            with Worker(settings.url, wait_seconds=wait or settings.wait_seconds) as worker:
                yield worker
        except (
            ConfigurationRefusedError,
            ConnectorConfigError,
            ConnectorFailedError,
            UnknownConnectorError,
            WorkerRefusedError,
            WorkerUnavailableError,
        ) as error:
            fail(str(error))


def _configurations(files: Sequence[Path] | None) -> list[dict[str, str]]:
    if files:
        known = variables(default_stream())
        return [Template.load(file).filled(known) for file in files]
    template = Template.load(SINK_TEMPLATE)
    return [template.filled(variables(stream)) for stream in catalogue().on]


def _status_of(worker: Worker, name: str) -> ConnectorStatus:
    found = worker.status(name)
    if found is None:
        raise UnknownConnectorError(f"there is no connector {name!r}; `etar connect status` lists those there are")
    return found


def _print_changes(name: str, found: Sequence[Change]) -> None:
    typer.echo(f"{name}: {len(found)} differences" if found else f"{name}: as its file says")
    for change in found:
        typer.echo(str(change))


def _print_status(status: ConnectorStatus) -> None:
    typer.secho(f"{status.name}  {status.state}  {status.worker}", fg=None if status.running else "red")
    for task in status.tasks:
        typer.echo(f"  task {task.number}  {task.state}  {task.worker}")
    for failure in status.failures:
        typer.secho(f"  {failure}", fg="red")

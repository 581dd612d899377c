"""``etar demo``: a finite run that proves itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.context import DEFAULT_FOLDER, PLACES, Folder, errors_shown, fail, use_settings_of
from cli.reports import describe
from cli.stack import is_running, published, running
from cli.verify import show
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport
from etar.streams import DEFAULT_STREAM
from producer.options import Mix, ProduceOptions
from producer.run import produce
from stack.parts import Stack

MINUTES = 3
_LONGEST_WAIT = timedelta(minutes=3)


def demo(
    folder: Folder = DEFAULT_FOLDER,
    rate: Annotated[float, typer.Option(help="Records a second.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Seed of the events; another one in each run if left out.")] = None,
) -> None:
    """Start the stack, send three whole minutes of events, print their reports and the account, stop.

    Exits with 0 when every record is accounted for.
    """
    with errors_shown():
        if is_running(folder):
            fail(f"a stack runs in {folder}: `make down DIR={folder}` first, or give another folder with DIR=…")
        with running(folder, without=("demo-producer",), when_interrupted=130) as stack:
            use_settings_of(folder, *PLACES)
            exact = _run(stack, rate=rate, seed=seed)
    raise typer.Exit(0 if exact else 1)


def _run(stack: Stack, *, rate: float, seed: int | None) -> bool:
    first = MinuteWindow.containing(datetime.now(UTC)).next
    end = MinuteWindow(first.start + MINUTES * MINUTE)
    typer.echo(f"sending {rate:g} records a second from {first} for {MINUTES} minutes, 1 % duplicates, 0.2 % bad")
    account_file = stack.layout.accounts / f"demo-{first.slug}.json"
    options = ProduceOptions(
        rate=rate,
        duration=MINUTES * MINUTE,
        start=first.start,
        seed=seed,
        mix=Mix(duplicates=0.01, malformed=0.002),
        account=account_file,
    )
    account = produce(options)
    if account.generated != options.total:
        raise KeyboardInterrupt  # the producer took the Ctrl-C, ended cleanly and said so by its account
    typer.echo(
        f"sent: {account.acknowledged:,} acknowledged of {account.generated:,} generated, {account.duplicates:,} "
        f"duplicates and {account.malformed:,} bad records among them; the account is {account_file}\n"
    )
    for report in _wait_for_reports(stack, first, end):
        typer.echo(describe(report))
    typer.echo("\nthe account:")
    return account.ok and show(first, end, account=account_file)


def _wait_for_reports(stack: Stack, first: MinuteWindow, end: MinuteWindow) -> list[PublishedReport]:
    wanted = set(MinuteWindow.between(first, end))
    found: dict[MinuteWindow, PublishedReport] = {}
    deadline = time.monotonic() + _LONGEST_WAIT.total_seconds()
    for report in published(stack, since=first):
        if report is not None and report.stream == DEFAULT_STREAM and report.window in wanted:
            found[report.window] = report
        if wanted <= found.keys():
            return [found[window] for window in sorted(wanted)]
        if time.monotonic() > deadline:
            break
    missing = ", ".join(str(window) for window in sorted(wanted - found.keys()))
    raise TimeoutError(
        f"no report of {missing} within {_LONGEST_WAIT}; see `etar logs airflow-scheduler` and Airflow's UI"
    )

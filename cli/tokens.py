"""``etar token``: give out tokens of the report API, see them, replace one, end one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cli.context import DEFAULT_FOLDER, AsJson, Folder, errors_shown, fail, use_settings_of
from cli.lazy import Group
from etar.api_tokens import SEEN_SECONDS, ApiToken, Role, TokenError, create, known, revoke, rotate
from etar.settings import ReportStoreSettings, get_settings

if TYPE_CHECKING:  # PostgreSQL's client takes 0.1 s to load
    import psycopg

_LONGEST_DAYS = 3650
_LONGEST_OVERLAP = 7 * 24 * 60
_WIDTH = 160
"""Columns of a table that is not printed on a terminal."""
_SOON = f"within {SEEN_SECONDS:g} s"

app = typer.Typer(
    help="Tokens of the report API: give one out, see them, replace one, end one.\n\n"
    "The report store has their hashes, never the tokens; the API sees a change within seconds and is not restarted. "
    "The two tokens of its environment (ETAR_API_READ_TOKEN, ETAR_API_WRITE_TOKEN) are not among them.",
    no_args_is_help=True,
    cls=Group,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of its holder, as `etar token list` has it.")]


@app.command("create")
def create_(
    role: Annotated[
        Role, typer.Option(help="What it may do: read; read and operate; publish reports and nothing else.")
    ],
    name: Annotated[str, typer.Option(help="Whose it is: what the record of actions shows.")],
    expires: Annotated[
        int | None,
        typer.Option(
            min=1, max=_LONGEST_DAYS, metavar="DAYS", help="For how many days it is good; without, until it is revoked."
        ),
    ] = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print a new token, once: nobody can look it up."""
    with _store(folder) as connection:
        token = create(connection, name, role, lifetime=timedelta(days=expires) if expires else None)
    _give(token, f"{name} is {role} now; the API takes it {_SOON}")


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are not good any more, too.")] = False,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print whose tokens are good, and when each was last used."""
    with _store(folder) as connection:
        now = datetime.now(UTC)
        tokens = [each for each in known(connection) if every or each.is_good(now)]
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json", exclude={"id"}) for each in tokens], indent=2))
    elif tokens:
        _print(tokens, now)
    else:
        typer.echo("there is none; `etar token create` makes one")


@app.command("rotate")
def rotate_(
    name: Name,
    overlap: Annotated[
        int,
        typer.Option(min=0, max=_LONGEST_OVERLAP, metavar="MINUTES", help="For how long the old one stays good."),
    ] = 10,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Print a new token in place of one, of the same role and lifetime. The old one stays good for a while."""
    with _store(folder) as connection:
        token = rotate(connection, name, overlap=timedelta(minutes=overlap))
    _give(token, f"{name} has a new token, which the API takes {_SOON}; the old one is good for {overlap} min")


@app.command("revoke")
def revoke_(name: Name, folder: Folder = DEFAULT_FOLDER) -> None:
    """End a token now, and one that is good beside it after a rotation. The API refuses it within seconds."""
    with _store(folder) as connection:
        ended = revoke(connection, name)
    if not ended:
        fail(f"there is no token {name} that is good; `etar token list --all` shows all there were")
    typer.echo(f"{name} is revoked; the API refuses it {_SOON}")


def _give(token: str, what: str) -> None:
    """The token alone on stdout, for programs."""
    typer.echo(f"{what}. It is shown this once:", err=True)
    typer.echo(token)


def _print(tokens: Sequence[ApiToken], now: datetime) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("name", "role", "made", "good", "last used"):
        table.add_column(heading, no_wrap=True)
    for each in tokens:
        table.add_row(each.name, each.role, _utc(each.created_at), _standing(each, now), _utc(each.last_used_at))
    console.print(table)


def _standing(token: ApiToken, now: datetime) -> str:
    if token.revoked_at:
        return f"revoked {_utc(token.revoked_at)}"
    if token.expires_at is None:
        return "until it is revoked"
    return f"{'until' if token.is_good(now) else 'was until'} {_utc(token.expires_at)}"


def _utc(instant: datetime | None) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if instant else "never"


@contextmanager
def _store(folder: Path) -> Iterator[psycopg.Connection[Any]]:
    import psycopg

    from etar.clients import report_store_connection

    with errors_shown():
        use_settings_of(folder, "ETAR_REPORT_STORE_")
        settings = get_settings(ReportStoreSettings)
        try:
            with report_store_connection(settings) as connection:
                yield connection
        except TokenError as error:
            fail(str(error))
        except psycopg.Error as error:
            where = f"{settings.host}:{settings.port}"
            fail(f"the report store at {where} does not take this: {' '.join(str(error).split())}")

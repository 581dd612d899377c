"""``etar bootstrap``: what each place must have before the first event, made once; for containers and clusters.

Each job takes its settings from the environment and from mounted secrets, changes nothing that is already there, and
waits for nothing: what starts it knows what it needs. `etar up` does the same for a native stack by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import ValidationError

from cli.context import errors_shown, fail
from cli.lazy import Group
from etar.bootstrap import places
from etar.settings import (
    EventTimeSettings,
    KafkaSettings,
    ObjectStoreSettings,
    RegistrySettings,
    ReportStoreSettings,
    RetentionSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import catalogue
from stack.layout import REPOSITORY

app = typer.Typer(
    name="bootstrap",
    help="Make what each place must have before the first event: topics, tables, a bucket. Repeatable.",
    no_args_is_help=True,
    cls=Group,
)


@app.command()
def topics(
    copies: Annotated[int, typer.Option(min=1, help="Brokers that keep each record.")] = 1,
    in_sync: Annotated[int, typer.Option(min=1, help="Brokers that must have a record before it is acknowledged.")] = 1,
) -> None:
    """Make the topic of each stream in Kafka."""
    with _refusals_shown("Kafka"):
        for stream in catalogue().on:
            made = places.create_topic(stream, get_settings(KafkaSettings), copies=copies, in_sync=in_sync)
            _say(f"topic {stream.topic}", made=made)


@app.command()
def compatibility() -> None:
    """Have the schema registry refuse schemas that cannot read old events."""
    with _refusals_shown("the schema registry"):
        places.require_compatibility(get_settings(RegistrySettings))
        typer.echo(f"compatibility of schemas: {places.COMPATIBILITY}")


@app.command()
def tables() -> None:
    """Apply the DDL files of sql/clickhouse and of the streams that were not applied yet, make the landing tables of
    Kafka Connect, and check how long rows are kept."""
    from etar.bootstrap.landing import NoLandingError, make_landing
    from etar.bootstrap.migrations import apply_clickhouse, read_migrations, stream_migrations

    with _refusals_shown("the warehouse"):
        settings = get_settings(WarehouseSettings)
        applied = apply_clickhouse(settings, read_migrations(REPOSITORY / "sql" / "clickhouse"))
        for stream in catalogue().on:
            applied += apply_clickhouse(settings, stream_migrations(stream))
        _say_applied(applied)
        for stream in catalogue().on:
            try:
                if make_landing(stream, settings, get_settings(EventTimeSettings)):
                    typer.echo(f"made {stream.landing_table} and {stream.landing_view}")
            except NoLandingError as error:  # another sink needs none
                typer.echo(str(error), err=True)
            places.require_retention(stream, settings, get_settings(RetentionSettings))


@app.command()
def buckets() -> None:
    """Make the bucket of extracts and results. Users and what they may do are the object store's own business."""
    with _refusals_shown("the object store"):
        settings = get_settings(ObjectStoreSettings)
        _say(f"bucket {settings.bucket}", made=places.create_bucket(settings))


@app.command()
def report_store() -> None:
    """Apply the DDL files of sql/postgres and of the streams that were not applied yet. The database and its owner must
    be there."""
    from etar.bootstrap.migrations import apply_postgres, read_migrations, stream_postgres_migrations

    with _refusals_shown("the report store"):
        settings = get_settings(ReportStoreSettings)
        applied = apply_postgres(settings, read_migrations(REPOSITORY / "sql" / "postgres"))
        for stream in catalogue().on:
            applied += apply_postgres(settings, stream_postgres_migrations(stream))
        _say_applied(applied)


@contextmanager
def _refusals_shown(place: str) -> Iterator[None]:
    """Show what a place's client raises as one line: each client has errors of its own, and all mean no."""
    with errors_shown():
        try:
            yield
        except ValidationError:  # of a setting, and its message names it
            raise
        except Exception as error:
            fail(f"{place}: {str(error).strip() or type(error).__name__}")


def _say(what: str, *, made: bool) -> None:
    typer.echo(f"{what}: {'made' if made else 'there already'}")


def _say_applied(names: Sequence[str]) -> None:
    typer.echo(f"applied {', '.join(names)}" if names else "nothing to apply")

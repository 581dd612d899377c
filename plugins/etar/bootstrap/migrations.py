"""Applies the numbered DDL files of ``sql/`` and of the streams' folders, each once, and remembers the checksum of what
it applied."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from etar.clients import warehouse_client
from etar.settings import ReportStoreSettings, WarehouseSettings
from etar.streams import Stream

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

JOB_TABLES = "postgres"
"""Of a stream's folder: the statements for the report store."""

_FILE_NAME = re.compile(r"(?P<number>\d{4})_\w+\.sql")

# Two bootstraps at once wait for each other on this. Any constant will do; it must only stay the same.
_POSTGRES_LOCK = 0x65746172  # "etar"


class MigrationError(Exception):
    """The DDL files do not fit each other, or do not fit what was applied before."""


@dataclass(frozen=True)
class Migration:
    """One numbered DDL file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements, each ended by a ``;`` at the end of a line; lines that are only a comment are left out."""
        code = "\n".join(line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        return [statement for part in re.split(r";[ \t]*(?:\n|$)", code) if (statement := part.strip())]


def read_migrations(folder: Path) -> list[Migration]:
    """The files ``NNNN_name.sql`` of ``folder``, in the order of their numbers.

    Raises:
        MigrationError: the folder has none, a ``.sql`` file is not named so, or two have the same number.
    """
    paths = sorted(folder.glob("*.sql"))
    if not paths:
        raise MigrationError(f"{folder} has no .sql files")
    names_by_number: dict[str, str] = {}
    for path in paths:
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path} is not named like 0001_what_it_makes.sql")
        other = names_by_number.setdefault(match["number"], path.name)
        if other != path.name:
            raise MigrationError(f"{path} and {other} have the same number; give the newer one the next free number")
    return [Migration(path.name, path.read_text(encoding="utf-8")) for path in paths]


def stream_migrations(stream: Stream) -> list[Migration]:
    """The files of a stream's folder, named ``stream/NNNN_name.sql``, with its own tables in place of those of the
    stream that it is like.

    Raises:
        MigrationError: as :func:`read_migrations`.
    """
    if stream.folder is None:
        return []
    files = read_migrations(stream.folder / "sql")
    if stream.like is not None:
        # The names of its tables as whole words: what is longer by more than these two endings is another name.
        of_other = re.compile(rf"(?<!\w){re.escape(stream.like)}(?=(?:_landing|_landed)?(?!\w))")
        files = [replace(file, sql=of_other.sub(stream.table, file.sql)) for file in files]
    return [replace(file, name=f"{stream.name}/{file.name}") for file in files]


def stream_postgres_migrations(stream: Stream) -> list[Migration]:
    """The files of ``postgres/`` in a stream's folder, for its jobs, named ``stream/postgres/NNNN_name.sql``. Optional;
    a stream that is like another has no jobs, and none of these.

    Raises:
        MigrationError: as :func:`read_migrations`.
    """
    if stream.folder is None or stream.like is not None or not (stream.folder / JOB_TABLES).is_dir():
        return []
    return [
        replace(file, name=f"{stream.name}/{JOB_TABLES}/{file.name}")
        for file in read_migrations(stream.folder / JOB_TABLES)
    ]


def pending(migrations: Sequence[Migration], applied: Mapping[str, str]) -> Iterator[Migration]:
    """Those of ``migrations`` that are not in ``applied`` (checksum by name).

    A stream's file counts as applied, too, where one of another name without a folder had the same text: the files of
    the first stream stood among the shared ones before streams were folders.

    Raises:
        MigrationError: a file was changed after it had been applied.
    """
    of_before = {checksum for name, checksum in applied.items() if "/" not in name}
    for migration in migrations:
        checksum = applied.get(migration.name)
        if checksum is None:
            if migration.checksum not in of_before or "/" not in migration.name:
                yield migration
        elif checksum != migration.checksum:
            raise MigrationError(
                f"{migration.name} was changed after it had been applied (applied: {checksum[:12]}, "
                f"file: {migration.checksum[:12]}); restore it and put the change into a new file"
            )


def apply_postgres(settings: ReportStoreSettings, migrations: Sequence[Migration]) -> list[str]:
    """Apply what is missing, all of it or nothing, and return the names of the files applied now.

    Raises:
        MigrationError: see :func:`pending`.
        psycopg.Error: the database is away, or refuses a statement.
    """
    import psycopg

    with psycopg.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.database,
        user=settings.user,
        password=settings.password.get_secret_value(),
        connect_timeout=10,
    ) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_POSTGRES_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied: dict[str, str] = dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())
        missing = list(pending(migrations, applied))
        for migration in missing:
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)",
                (migration.name, migration.checksum),
            )
    return [migration.name for migration in missing]


def apply_clickhouse(settings: WarehouseSettings, migrations: Sequence[Migration]) -> list[str]:
    """Make the database if it is missing, apply what is missing, and return the names of the files applied now.

    ClickHouse has no transaction around DDL: a file is recorded after its last statement, and one that was cut off in
    the middle is applied again from its start. So every statement must be repeatable (``IF NOT EXISTS``).

    Raises:
        MigrationError: see :func:`pending`.
        clickhouse_connect.driver.exceptions.Error: the warehouse is away, or refuses a statement.
    """
    with warehouse_client(settings, database="default") as client:
        client.command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", parameters={"name": settings.database})
    with warehouse_client(settings) as client:
        client.command(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) "
            "ENGINE = ReplacingMergeTree ORDER BY name"
        )
        applied: dict[str, str] = dict(client.query("SELECT name, checksum FROM schema_migrations FINAL").result_rows)
        missing = list(pending(migrations, applied))
        for migration in missing:
            for statement in migration.statements:
                client.command(statement)
            _remember(client, [migration])
        # A file that had another name: from now on a change of it is seen.
        if renamed := [each for each in migrations if each.name not in applied and each not in missing]:
            _remember(client, renamed)
    return [migration.name for migration in missing]


def _remember(client: Client, migrations: Sequence[Migration]) -> None:
    rows = [[migration.name, migration.checksum] for migration in migrations]
    client.insert("schema_migrations", rows, column_names=["name", "checksum"])

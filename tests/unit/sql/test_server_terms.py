"""Every statement for the warehouse is one that a ClickHouse server takes too: nothing that only the library has.

chDB is the server's own engine and parser; what it adds is reached by a few words. They stand in the front over it
(``stack/chdb_http``), in what checks a stream's table without a server, in what measures the engine by itself, and
nowhere else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from etar.bootstrap.migrations import Migration, read_migrations, stream_migrations
from etar.streams import catalogue
from stack.layout import REPOSITORY

FOLDERS = ("plugins", "producer", "connect", "dashboard", "dags", "spark_apps", "stack", "cli", "bench")
THE_FRONT = REPOSITORY / "stack" / "chdb_http"
WITHOUT_A_SERVER = (
    REPOSITORY / "plugins" / "etar" / "stream_folder" / "engine.py",
    REPOSITORY / "bench" / "extract.py",
)
OF_POSTGRES = (REPOSITORY / "spark_apps" / "category_sales.py",)
DDL = REPOSITORY / "sql" / "clickhouse"

STATEMENT = re.compile(
    r"\b(?:SELECT|INSERT INTO|CREATE (?:DATABASE|TABLE|VIEW|MATERIALIZED VIEW|FUNCTION|USER|TEMPORARY)|ALTER TABLE"
    r"|DELETE FROM|OPTIMIZE TABLE|DROP (?:TABLE|DATABASE)|TRUNCATE|ATTACH|DETACH|SYSTEM [A-Z]+|KILL QUERY)\b"
)
NOT_A_SERVERS = {
    r"\bpython\s*\(": "Python objects are in the process of the library only",
    r"\b(?:file|fileCluster|executable)\s*\(": "a server reads its own user_files only, and runs no program of ours",
    r"\bengine\s*=\s*file\b": "as the function file",
    r"\b_local\b": "the overlay of files that the library has as a database",
    r"\b(?:into\s+outfile|from\s+infile)\b": "carried out by the client's side, which is the library",
    r"\btemporary\s+table\b": "needs a session, and requests have none",
    r"^\s*(?:set|use)\s+\w+\s*(?:=|$)": "needs a session, and requests have none",
    r"\battach\s+database\b": "as the front claims `default` from the library",
}
WANTS_MORE_RIGHTS = {
    r"\b(?:url|s3|hdfs|remote|remoteSecure|mysql|postgresql|jdbc|odbc|cluster|input)\s*\(": "etar's user has tables",
    r"\bcreate\s+(?:user|role|function)\b": "etar's user makes no users",
    r"\bsystem\s+(?:stop|start|reload|flush|drop|shutdown|kill|sync|restart)\b": "etar's user does not run the server",
}


def migrations() -> list[Migration]:
    """What all streams share, and the tables of each."""
    of_streams = [each for stream in catalogue().streams.values() for each in stream_migrations(stream)]
    return read_migrations(DDL) + of_streams


def strings(tree: ast.AST) -> Iterator[str]:
    """Every text in a program; the values in an f-string are given as ``x``."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@cache
def programs() -> list[tuple[Path, ast.Module]]:
    return [
        (path, ast.parse(path.read_text()))
        for folder in FOLDERS
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        if not path.is_relative_to(THE_FRONT) and path not in WITHOUT_A_SERVER + OF_POSTGRES
    ]


def statements() -> Iterator[tuple[str, str]]:
    """Where each statement stands, and its text."""
    for migration in migrations():
        for statement in migration.statements:
            yield migration.name, statement
    for path, tree in programs():
        for text in strings(tree):
            if STATEMENT.search(text):
                yield str(path.relative_to(REPOSITORY)), text


def complaints(text: str) -> list[str]:
    return [
        why
        for pattern, why in (NOT_A_SERVERS | WANTS_MORE_RIGHTS).items()
        if re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
    ]


def test_no_statement_needs_the_library() -> None:
    found = list(statements())
    assert len(found) > 50, "the statements have moved: look where they are now"
    assert [(where, why, text) for where, text in found for why in complaints(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM Python(frame)",
        "SELECT count() FROM file('/tmp/rows.parquet')",
        "CREATE TABLE t (a Int8) ENGINE = File(Parquet)",
        "SELECT * FROM _local.t",
        "SELECT 1 INTO OUTFILE '/tmp/one'",
        "CREATE TEMPORARY TABLE t (a Int8)",
        "SET max_threads = 1",
        "USE etar",
        "SELECT * FROM s3('http://127.0.0.1:7070/etar/x')",
        "CREATE USER reader",
        "SYSTEM STOP MERGES",
    ],
)
def test_what_only_the_library_or_more_rights_allow_is_found(text: str) -> None:
    assert complaints(text)


def test_only_the_front_knows_of_the_library() -> None:
    def modules(tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""

    assert [path for path, tree in programs() for name in modules(tree) if name.split(".")[0].startswith("chdb")] == []


def test_every_table_has_an_engine_that_a_cluster_has_replicated() -> None:
    made = {
        (migration.name, engine)
        for migration in migrations()
        for engine in re.findall(r"^ENGINE\s*=\s*(\w+)", migration.sql, re.MULTILINE)
    }
    assert made
    # Null keeps nothing: there is nothing to replicate.
    assert {engine for _, engine in made} <= {"ReplacingMergeTree", "Null"}

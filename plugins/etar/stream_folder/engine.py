"""The ClickHouse engine in this process, for what a folder's statements make: no server, no data, gone afterwards.

It is chDB, which the native stack's warehouse is made of; it is imported when it is first needed, and where it is not
installed (a container that only runs a part) the check says so and does what it can without.
"""

from __future__ import annotations

import atexit
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from etar.errors import PermanentError

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

_ADDRESS = ":memory:"
"""A process has one engine: all who use one in it use this."""

_NUMBERS = count(1)
_CODE = re.compile(
    r"Code: (?P<code>\d+)\. DB::Exception: (?P<message>.*?)(?: \((?P<name>[A-Z_0-9]+)\))?\.?\s*\Z", re.DOTALL
)
_MOST_CHARACTERS = 300


class NoEngineError(PermanentError):
    """There is no engine in this environment."""


class RefusedError(ValueError):
    """The engine refused a statement; the message is its own, in one line."""

    def __init__(self, error: Exception) -> None:
        text = " ".join(str(error).split())
        found = _CODE.search(text)
        super().__init__((found["message"] if found else text)[:_MOST_CHARACTERS])


class Database:
    """A database of its own, that is dropped in the end. Made by :func:`own_database`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, statement: str) -> None:
        """Raises:
        RefusedError
        """
        try:
            self._connection.query(statement, "Null")
        except Exception as error:  # chDB has one kind of error, and it is a RuntimeError
            raise RefusedError(error) from error

    def rows(self, query: str) -> list[list[Any]]:
        """What a query gives, a list a row, as JSON has it; numbers with a fraction as Decimal.

        Raises:
            RefusedError
        """
        try:
            answer = self._connection.query(query, "JSONCompactEachRow").bytes().decode()
        except Exception as error:  # as above
            raise RefusedError(error) from error
        return [json.loads(line, parse_float=Decimal) for line in answer.splitlines()]

    def parquet(self, query: str) -> bytes:
        """What a query gives, as a Parquet file.

        Raises:
            RefusedError
        """
        try:
            return bytes(self._connection.query(query, "Parquet").bytes())
        except Exception as error:  # as above
            raise RefusedError(error) from error

    def describe(self, table: str) -> list[tuple[str, str, str]]:
        """``(name, type, default kind)`` of every column, in order; none where there is no such table."""
        try:
            return [(row[0], row[1], row[2]) for row in self.rows(f"DESCRIBE TABLE `{table}`")]
        except RefusedError:
            return []


@contextmanager
def own_database() -> Iterator[Database]:
    """An empty database. One at a time: all are of the one connection that the process keeps.

    Raises:
        NoEngineError: chDB is not installed here.
    """
    connection = _engine()
    name = f"folder_{next(_NUMBERS)}"
    database = Database(connection)
    database.run(f"CREATE DATABASE {name}")
    try:
        database.run(f"USE {name}")
        yield database
    finally:
        database.run(f"DROP DATABASE {name}")


@lru_cache(maxsize=1)
def _engine() -> Connection:
    """Kept, as the engine shuts down with its last connection and takes a fifth of a second to start."""
    try:
        from chdb.state.sqlitelike import connect
    except ImportError as error:
        raise NoEngineError(
            "the table's statements were not run: there is no ClickHouse engine here (the Python package chdb)"
        ) from error
    connection = connect(_ADDRESS)
    atexit.register(connection.close)
    return connection

"""The one chDB engine of the process: opened once, used through a fresh connection per request."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from chdb.state.sqlitelike import Connection, connect

from stack.chdb_http.config import Config
from stack.chdb_http.errors import ABORTED, FrontError
from stack.chdb_http.policy import Policy, engine_config, engine_users
from stack.chdb_http.sql import Statement, take_apart

_log = logging.getLogger(__name__)

_ENGINE_IS_DYING = "shutting down due to a fatal error"
EXIT_ENGINE_FAILED = 70
"""Exit code of a front whose engine failed (EX_SOFTWARE in sysexits.h)."""


class EngineUnavailableError(Exception):
    """The engine cannot be opened on the directory; the text says which and why."""


@dataclass(frozen=True)
class Options:
    """What one request asks for beside its statement. ``parameters`` are in ClickHouse's Escaped form."""

    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False


@dataclass(frozen=True)
class Progress:
    """Rows and bytes that a statement read and wrote, as far as the engine tells."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class Engine:
    """Opens the directory and holds it. All methods block; connections run in parallel.

    Raises EngineUnavailableError on opening where another process holds the directory or the engine does not start.
    """

    def __init__(self, config: Config) -> None:
        self._limits = config.limits
        config.path.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_directory(config.path)
        self._own = tempfile.TemporaryDirectory(prefix="chdb_http_")
        users, main = Path(self._own.name, "users.xml"), Path(self._own.name, "config.xml")
        users.write_text(engine_users(config.limits))
        main.write_text(engine_config(str(users), config.limits))
        _claim_default_database(config.path)
        self._address = f"{config.path}?config-file={main}"
        try:
            # The engine shuts down with its last connection: this one keeps it up between requests.
            self._anchor = connect(self._address)
        except Exception as error:
            raise EngineUnavailableError(f"chDB does not start on {config.path}: {error}") from error
        for name in config.databases:
            self._anchor.query(f"CREATE DATABASE IF NOT EXISTS {quote_name(name)}")
        # Bodies wait here and not in /tmp, which may be memory. Files in it have no name and vanish with the process.
        self.spool = config.path / "spool"
        self.spool.mkdir(exist_ok=True)
        self.timezone = _text(self._anchor.query("SELECT timezone()", "TSVRaw"))
        names = _text(self._anchor.query("SELECT name FROM system.table_functions", "TSVRaw"))
        self.policy = Policy(frozenset(names.split("\n")))
        self._parsed = Parsed()

    def session(self, options: Options) -> Session:
        """A connection for one request. Raises FrontError for an unknown database, setting or a value over a cap."""
        return Session(connect(self._address), self.policy, options, self._limits.max_query_bytes, self._parsed)

    def kill(self, tag: str) -> None:
        """Ask the query of the session with this tag to stop; no harm where it does not run."""
        with connect(self._address) as connection:
            connection.query(f"KILL QUERY WHERE Settings['log_comment'] = {quote_text(tag)} ASYNC", "Null")

    def close(self) -> None:
        """Shut the engine down; the directory is free afterwards."""
        self._anchor.close()
        self._own.cleanup()
        os.close(self._lock)


class Parsed:
    """What texts were taken for, and allowed: to ask the engine costs as much as a small query.

    A text means the same under the same settings only: some of them change how the engine reads it.
    """

    _TEXTS = 1000
    _LONGEST = 10_000

    def __init__(self) -> None:
        self._known: dict[tuple[str, frozenset[tuple[str, str]]], Statement] = {}

    def get(self, sql: str, settings: frozenset[tuple[str, str]]) -> Statement | None:
        return self._known.get((sql, settings))

    def keep(self, sql: str, settings: frozenset[tuple[str, str]], statement: Statement) -> None:
        if len(sql) > self._LONGEST:
            return
        if len(self._known) >= self._TEXTS:
            self._known.clear()  # rare, and what is asked for often is soon back
        self._known[sql, settings] = statement


class Session:
    """One request's connection: its settings, its parameters, its database. Never used by two threads at a time."""

    def __init__(
        self, connection: Connection, policy: Policy, options: Options, max_query_bytes: int, parsed: Parsed
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._parsed = parsed
        self._settings = frozenset(options.settings.items())
        self.closed = False
        comment = options.settings.get("log_comment", "")
        self.tag = f"{comment} {uuid.uuid4()}".lstrip()
        # The text to be checked travels inside a literal, where every character may take two bytes.
        values = {"max_query_size": str(4 * max_query_bytes), **options.settings, "log_comment": self.tag}
        values |= {f"param_{name}": value for name, value in options.parameters.items()}
        if options.read_only:
            values["readonly"] = "2"  # last: it forbids changing itself
        try:
            if options.database:
                self._query(f"USE {quote_name(options.database)}")
            self._query("SET " + ", ".join(f"{name} = {quote_text(value)}" for name, value in values.items()))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back to the engine."""
        self.closed = True
        self._connection.close()

    def parse(self, sql: str) -> Statement:
        """The statement as the engine understands it. Raises FrontError: syntax, several statements, not allowed."""
        if (known := self._parsed.get(sql, self._settings)) is not None:
            return known
        try:
            canonical = _text(self._query(f"SELECT formatQuerySingleLine({quote_text(sql)})", "TSVRaw"))
        except FrontError as error:
            message = str(error.args[0]).partition(": In scope SELECT formatQuerySingleLine")[0]
            raise FrontError(error.code, message) from None
        statement = take_apart(canonical)
        self._policy.check(statement)
        self._parsed.keep(sql, self._settings, statement)
        return statement

    def execute(self, statement: Statement) -> Progress:
        """Run a statement that answers without rows, such as DDL and INSERT … SELECT."""
        return _progress(self._query(statement.text, "Null"))

    def write_rows(self, statement: Statement, default_format: str, pipe: int) -> Progress:
        """Run a statement that answers with rows, which go to the file descriptor ``pipe`` as they come."""
        format_ = statement.format or default_format
        # Not send_query: it begins a new file per block, which Parquet and Arrow cannot be read from. The engine
        # opens the pipe anew by its name in /dev/fd and closes what it opened.
        sql = f"{statement.body} INTO OUTFILE '/dev/fd/{pipe}' TRUNCATE FORMAT {quote_name(format_)}{statement.tail}"
        return _progress(self._query(sql, "Null"))

    def insert(self, statement: Statement, file: int) -> Progress:
        """Insert the file open as descriptor ``file``, from its beginning, in the statement's format.

        Nothing of it is in the table where this raises FrontError. That holds up to the size of one block of the
        engine (about a million rows): blocks before the one at fault stay, as in ClickHouse.
        """
        # Not send_insert: its finish() reports rows as written that the table refused (too many partitions, a
        # constraint, a materialized view that fails).
        done = _progress(self._query(statement.reading(f"/dev/fd/{file}")))
        return Progress(written_rows=done.read_rows, written_bytes=done.read_bytes)

    def _query(self, sql: str, format_: str = "Null") -> Any:
        try:
            return self._connection.query(sql, format_)
        except Exception as error:  # chDB raises its own error, RuntimeError and others
            refusal = FrontError.of_engine(error)
            if refusal.code == ABORTED and _ENGINE_IS_DYING in str(refusal):
                end_at_once()
            raise refusal from error


def end_at_once() -> NoReturn:
    """End the process as kill -9 would: the engine in it has failed.

    An engine that hits a fatal error in one of its own threads answers nothing but that any more, and takes minutes to
    abort. What it acknowledged is on disk; whoever supervises the front starts a working one within seconds.
    """
    _log.critical("the engine has failed and answers nothing any more; this process ends, start it again")
    logging.shutdown()
    os._exit(EXIT_ENGINE_FAILED)


def quote_text(value: str) -> str:
    """A string literal of ClickHouse's SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_name(name: str) -> str:
    """An identifier of ClickHouse's SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(result: Any) -> str:
    return str(result.bytes().decode()).removesuffix("\n")


def _progress(result: Any) -> Progress:
    return Progress(read_rows=int(result.rows_read()), read_bytes=int(result.bytes_read()))


def _lock_directory(path: Path) -> int:
    """Hold a lock beside the engine's own, before anything in the directory is touched; returns its descriptor."""
    try:
        with (path / "status").open("ab") as engines_own:  # its lock, taken by any process that has chDB open on it
            fcntl.flock(engines_own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock = os.open(path / "chdb_http.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EngineUnavailableError(f"The directory {path} is in use by another process") from error
    return lock


def _claim_default_database(path: Path) -> None:
    """Make ``default`` a database of tables, before the engine starts on ``path``.

    As a library the engine puts an overlay there, whose other half is the file system: every table in it would need
    the right to read files. With that overlay under another name, ``default`` is loaded from its own metadata. The
    link must not be there meanwhile: the overlay would take the database it points to; loading makes it again.
    """
    metadata, link = path / "metadata" / "default.sql", path / "metadata" / "default"
    own = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(link.readlink())) if link.is_symlink() else None
    metadata.parent.mkdir(exist_ok=True)
    if not metadata.exists():
        # A directory that plain chDB has used keeps its tables: its default database is the one linked to.
        metadata.write_text(f"ATTACH DATABASE _ UUID '{own[0] if own else uuid.uuid4()}'\nENGINE = Atomic\n")
    link.unlink(missing_ok=True)

"""``sql/``: its statements are this stream's own, can be repeated, and make the table that etar needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

from etar.bootstrap.migrations import Migration, MigrationError, stream_migrations
from etar.bootstrap.retention import kept_for
from etar.records.column_types import UnsupportedTableError
from etar.records.table import METADATA, EventColumns, TableLayout
from etar.settings import RetentionSettings, get_settings
from etar.stream_folder.engine import Database, RefusedError
from etar.stream_folder.proposal import EVENT_MINUTE
from etar.stream_folder.table import quoted
from etar.streams import Fault, Rule, Stream

Described = Sequence[tuple[str, str, str]]
"""``(name, type, default kind)`` of each column of a table."""

_STATEMENT = re.compile(
    r"\s*(?P<verb>CREATE|ALTER|DROP)\s+(?P<what>TABLE|VIEW|MATERIALIZED\s+VIEW)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
    r"(?P<name>`[^`]+`|[\w.]+)",
    re.IGNORECASE,
)
_TARGET = re.compile(r"\bTO\s+(?P<name>`[^`]+`|[\w.]+)", re.IGNORECASE)
_BETWEEN = re.compile(r"/\*.*?\*/|'(?:[^'\\]|\\.)*'", re.DOTALL)

_METADATA_TYPES = {
    METADATA.topic: "LowCardinality(String)",
    METADATA.partition: "Int32",
    METADATA.offset: "Int64",
    METADATA.timestamp: "DateTime64(3, 'UTC')",
}
_INSTANT = re.compile(r"DateTime64\([36], 'UTC'\)")


def own_statements(stream: Stream, migrations: Sequence[Migration]) -> Iterator[Fault]:
    """Of the statements' texts: each makes or changes a table of this stream, and none drops the events."""
    own = (stream.table, stream.landing_table, stream.landing_view)
    for migration in migrations:
        for number, statement in enumerate(migration.statements, 1):
            if (what := _not_own(statement, own)) is not None:
                mend = f"a folder makes and changes {', '.join(own)} and nothing else"
                yield _fault(stream, migration, number, what, mend, rule=Rule.STATEMENTS)


def read_statements(stream: Stream) -> tuple[list[Migration], list[Fault]]:
    """The files of ``sql/``, or why there are none."""
    try:
        return stream_migrations(stream), []
    except MigrationError as error:
        file = stream.file("sql")
        mend = "write the stream's table as 0001_table.sql, and each change of it as the next file"
        return [], [Fault(stream.name, file, "", str(error), mend, Rule.STATEMENTS)]


def run_statements(stream: Stream, migrations: Sequence[Migration], database: Database) -> Iterator[Fault]:
    """Runs all statements, twice: a file that was cut off in the middle is applied again from its start."""
    for again in (False, True):
        for migration in migrations:
            for number, statement in enumerate(migration.statements, 1):
                try:
                    database.run(statement)
                except RefusedError as error:
                    what = f"{'the second time, the' if again else 'the'} engine refuses it: {error}"
                    mend = "write it so that it can be repeated (IF NOT EXISTS, IF EXISTS)" if again else "mend it"
                    yield _fault(stream, migration, number, what, mend, rule=Rule.REPEATABLE)
                    return


def columns(stream: Stream, described: Described) -> Iterator[Fault]:
    """The table has what etar writes to and reads from, of types that can be filled."""
    found = {name: (declared, default) for name, declared, default in described}
    if not found:
        yield _of_table(
            stream, "", f"no statement makes the table {stream.table}", f"write CREATE TABLE {stream.table}"
        )
        return
    for name, needed in _METADATA_TYPES.items():
        if found.get(name) != (needed, ""):
            yield _of_table(stream, name, _instead(found.get(name)), f"it must be {name} {needed}")
    declared, default = found.get(stream.time, ("", ""))
    if default or not _INSTANT.fullmatch(declared):
        mend = f"the event's time must be {quoted(stream.time)} DateTime64(3, 'UTC') or DateTime64(6, 'UTC'), not null"
        yield _of_table(stream, stream.time, _instead(found.get(stream.time)), mend)
    for name in stream.identity:
        declared, default = found.get(name, ("", ""))
        if default or not declared or "Nullable(" in declared:
            mend = "what tells one event from another must be a column that is not null, and filled from the event"
            yield _of_table(stream, name, _instead(found.get(name)), mend)


def layout(stream: Stream, described: Described) -> TableLayout:
    """The table as the sink fills it.

    Raises:
        UnsupportedTableError: it cannot.
    """
    event = EventColumns.of(stream)
    return TableLayout.of(described, database="", table=stream.table, metadata=METADATA, event=event)


def unfilled(stream: Stream, described: Described) -> Iterator[Fault]:
    """Columns that the sink cannot fill; of one that is needed, it is the table's end."""
    try:
        for reason in layout(stream, described).unfilled:
            name = reason.split("'")[1]
            yield _of_table(stream, name, reason.split("; ")[0], reason.split("; ")[-1], is_warning=True)
    except UnsupportedTableError as error:
        yield _of_table(stream, "", str(error), "change the column, or what stream.toml says of it")


def minutes(stream: Stream, described: Described, database: Database) -> Iterator[Fault]:
    """The table keeps a minute a partition, each record once, and both for as long as the pipeline believes."""
    [(engine, partition, order)] = database.rows(
        "SELECT engine_full, partition_key, sorting_key FROM system.tables "
        f"WHERE database = currentDatabase() AND name = '{stream.table}'"
    )
    found = {name: (declared, default) for name, declared, default in described}
    [[expression]] = database.rows(
        f"SELECT any(default_expression) FROM system.columns WHERE database = currentDatabase() "
        f"AND table = '{stream.table}' AND name = '{EVENT_MINUTE}'"
    )
    minute = f"toStartOfMinute({stream.time})"
    if found.get(EVENT_MINUTE) != ("DateTime('UTC')", "MATERIALIZED") or expression != minute:
        declared, default = found.get(EVENT_MINUTE, ("missing", ""))
        what = f"is {declared}{f' {default} {expression}' if default else ''}"
        yield _of_minutes(stream, EVENT_MINUTE, what, f"it must be DateTime('UTC') MATERIALIZED {minute}")
    if not engine.startswith("ReplacingMergeTree ") and not engine.startswith("ReplacingMergeTree("):
        what = f"the engine is {engine.split(' ')[0]}"
        yield _of_minutes(stream, "ENGINE", what, "ReplacingMergeTree keeps a record once that the sink delivers twice")
    if partition != EVENT_MINUTE:
        mend = f"PARTITION BY {EVENT_MINUTE}: a minute is read, and in the end dropped, as a whole"
        yield _of_minutes(stream, "PARTITION BY", f"is {partition or 'missing'}", mend)
    if order != "_topic, _partition, _offset":
        mend = "ORDER BY (_topic, _partition, _offset): by this a record is known that is there twice"
        yield _of_minutes(stream, "ORDER BY", f"is {order or 'missing'}", mend)
    yield from _kept(stream, engine, database)


def _kept(stream: Stream, engine: str, database: Database) -> Iterator[Fault]:
    retention = get_settings(RetentionSettings).retention
    hours = f"{retention / timedelta(hours=1):g}"
    mend = f"TTL {EVENT_MINUTE} + INTERVAL {hours} HOUR, or more: so long a minute may still be reported again"
    kept = kept_for(engine, lambda query: database.rows(query)[0][0])
    if kept is None:
        yield _of_minutes(stream, "TTL", "rows do not leave the table by their minute", mend)
    elif kept < retention:
        yield _of_minutes(stream, "TTL", f"keeps a minute for {kept / timedelta(hours=1):g} h", mend)
    if "ttl_only_drop_parts = 1" not in engine:
        yield _of_minutes(
            stream, "SETTINGS", "ttl_only_drop_parts is not 1", "set it: a minute expires whole, not row by row"
        )


def _not_own(statement: str, own: Sequence[str]) -> str | None:
    """What is wrong with a statement, if anything."""
    text = _BETWEEN.sub(" ", statement)
    found = _STATEMENT.match(text)
    if found is None:
        return f"is {' '.join(text.split())!r:.60}, and neither makes nor changes a table or a view"
    target = _TARGET.search(text) if "MATERIALIZED" in found["what"].upper() else None
    for name in (found["name"], *((target["name"],) if target else ())):
        if name.strip("`") not in own:
            return f"is about {name.strip('`')}, which is not this stream's"
    if found["verb"].upper() == "DROP" and found["name"].strip("`") == own[0]:
        return "drops the table of the events"
    return None


def _instead(found: tuple[str, str] | None) -> str:
    if found is None:
        return "the table has no such column"
    declared, default = found
    return f"is {declared}{f' {default}' if default else ''}"


def _fault(stream: Stream, migration: Migration, number: int, what: str, mend: str, *, rule: Rule) -> Fault:
    file = stream.file("sql") / migration.name.rsplit("/", 1)[-1]
    return Fault(stream.name, file, f"statement {number}", what, mend, rule)


def _of_table(stream: Stream, place: str, what: str, mend: str, *, is_warning: bool = False) -> Fault:
    return Fault(stream.name, stream.file("sql"), place, what, mend, Rule.COLUMNS, is_warning)


def _of_minutes(stream: Stream, place: str, what: str, mend: str) -> Fault:
    return Fault(stream.name, stream.file("sql"), place, what, mend, Rule.MINUTES)

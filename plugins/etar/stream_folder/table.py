"""The table of a stream, as SQL. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from etar.stream_folder.proposal import Proposal, Proposed

HOURS_KEPT = 26
"""Two hours longer than the horizon: what arrives within its last second can still be reported and audited."""


def quoted(name: str) -> str:
    """A column's name in SQL, of ClickHouse as of Spark."""
    return name if name.isidentifier() else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def create_table(proposal: Proposal) -> str:
    """The statement that makes the table of a new stream."""
    columns = "".join(f"    {quoted(column.name)} {column.declared},\n" for column in proposal.columns)
    return f"""\
-- Events, one partition a minute. A record that the sink delivers twice has the same topic, partition and offset and
-- is replaced by itself: read with FINAL. A change is a new file, 0002_what_it_does.sql: this one is applied once.
CREATE TABLE IF NOT EXISTS {proposal.name}
(
{columns}\
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _timestamp DateTime64(3, 'UTC') COMMENT 'when the broker appended the record',
    event_minute DateTime('UTC') MATERIALIZED toStartOfMinute({quoted(proposal.time)})
)
ENGINE = ReplacingMergeTree
PARTITION BY event_minute
ORDER BY (_topic, _partition, _offset)
-- The horizon and two hours: what arrives within its last second can still be reported and audited.
TTL event_minute + INTERVAL {HOURS_KEPT} HOUR
SETTINGS ttl_only_drop_parts = 1
"""


def add_columns(table: str, columns: Iterable[Proposed]) -> str:
    """The statements that give a table more columns, one each, before those that say where a record stood."""
    return "".join(
        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {quoted(column.name)} {column.declared};\n" for column in columns
    )

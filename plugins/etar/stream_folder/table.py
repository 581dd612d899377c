"""The table of a stream, as SQL. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from etar.stream_folder.proposal import Proposal, Proposed

HOURS_KEPT = 26
"""Two hours longer than the horizon: what arrives within its last second can still be reported and audited."""

_GROWING = " CODEC(Delta, LZ4)"
"""Of numbers that grow from row to row, and are read often."""
_OF_A_MINUTE = " CODEC(T64, ZSTD(1))"
"""Of times of one minute, in any order."""
_COMING_AGAIN = " CODEC(ZSTD(3)) SETTINGS (min_compress_block_size = 1048576)"
"""Of values that come again far apart: what repeats is found within a block."""


def quoted(name: str) -> str:
    """A column's name in SQL, of ClickHouse as of Spark."""
    return name if name.isidentifier() else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def create_table(proposal: Proposal) -> str:
    """The statement that makes the table of a new stream."""
    columns = "".join(
        f"    {quoted(column.name)} {column.declared}{_codec(column, proposal)},\n" for column in proposal.columns
    )
    return f"""\
-- Events, one partition a minute. A record that the sink delivers twice has the same topic, partition and offset and
-- is replaced by itself: read with FINAL. A change is a new file, 0002_what_it_does.sql: this one is applied once.
CREATE TABLE IF NOT EXISTS {proposal.name}
(
{columns}\
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64{_GROWING},
    _timestamp DateTime64(3, 'UTC') COMMENT 'when the broker appended the record'{_GROWING},
    event_minute DateTime('UTC') MATERIALIZED toStartOfMinute({quoted(proposal.time)})
)
ENGINE = ReplacingMergeTree
PARTITION BY event_minute
ORDER BY (_topic, _partition, _offset)
-- The horizon and two hours: what arrives within its last second can still be reported and audited.
TTL event_minute + INTERVAL {HOURS_KEPT} HOUR
SETTINGS ttl_only_drop_parts = 1, default_compression_codec = 'ZSTD(1)'
"""


def _codec(column: Proposed, proposal: Proposal) -> str:
    if column.name == proposal.time:
        return _OF_A_MINUTE
    comes_again = column.declared.removeprefix("Nullable(").startswith(("UUID", "String"))
    return _COMING_AGAIN if comes_again and (column.name,) != proposal.identity else ""


def add_columns(table: str, columns: Iterable[Proposed]) -> str:
    """The statements that give a table more columns, one each, before those that say where a record stood."""
    return "".join(
        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {quoted(column.name)} {column.declared};\n" for column in columns
    )

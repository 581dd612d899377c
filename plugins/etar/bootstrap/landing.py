"""What Kafka Connect's ClickHouse sink writes to, made of a stream's own table: a landing table, and a view that moves
on what is a row.

The connector checks only names and writes RowBinary, so that a value which a column cannot take costs its whole batch:
every field is Nullable in the landing table, and of the type that Avro gives it. The place in Kafka is not, as without
it no row may be stored. Nothing stays there. By the rules of :mod:`etar.records` the view lets through what is a row;
what is not stays out without an error, and the auditor files it from Kafka with its reason.

Where the two cannot keep to these rules for a column, none is made: the stream's folder has to bring its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from etar.bootstrap.migrations import stream_migrations
from etar.clients import warehouse_client
from etar.errors import PermanentError
from etar.event_times import EventTimeBounds
from etar.records.table import METADATA, Column, EventColumns, TableLayout
from etar.settings import EventTimeSettings, WarehouseSettings
from etar.streams import DEFAULT_STREAM, Limits, RecordFormat, Stream, schema_fields

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_MARK = "made by etar of the table"
"""In the comment of a landing table, with what tells one from another: without it, it is somebody's own."""

_LANDED: Mapping[str, str] = {
    "string": "String",
    "int": "Int32",
    "long": "Int64",
    "float": "Float32",
    "double": "Float64",
    "boolean": "Bool",
}
_PLACE = {
    METADATA.topic: "String",
    METADATA.partition: "Int32",
    METADATA.offset: "Int64",
    METADATA.timestamp: "DateTime64(3, 'UTC')",
}
_INSTANTS_MS = (-2_208_988_800_000, 10_413_792_000_000)
"""What a DateTime64 holds: from 1900 up to 2300."""


class NoLandingError(PermanentError):
    """No landing table can be made of the stream's table; the message says of which column, and what to do."""


@dataclass(frozen=True)
class Landing:
    """The statements that make both, each repeatable."""

    table: str
    view: str

    @property
    def comment(self) -> str:
        """Another one for other statements."""
        return f"{_MARK}: {sha256(f'{self.table}{self.view}'.encode()).hexdigest()[:16]}"


def make_landing(stream: Stream, warehouse: WarehouseSettings, settings: EventTimeSettings) -> bool:
    """Make the two, or make them anew where the stream's table has changed, and say whether something was made. What a
    folder brings, and what is there without having been made here, stays as it is.

    Raises:
        NoLandingError: they cannot be made.
        UnsupportedTableError: the stream's table is none that a sink could fill.
        clickhouse_connect.driver.exceptions.Error: the warehouse is away, or refuses.
    """
    if _is_brought(stream):
        return False
    with warehouse_client(warehouse) as client:
        there = _comment(client, stream.landing_table)
        if there is not None and not there.startswith(_MARK):
            return False
        described = client.query(f"DESCRIBE TABLE `{stream.table}`").result_rows
        layout = TableLayout.of(
            [(row[0], row[1], row[2]) for row in described],
            database=warehouse.database,
            table=stream.table,
            metadata=METADATA,
            event=EventColumns.of(stream),
        )
        landing = landing_of(stream, layout, EventTimeBounds.of(settings))
        if there not in (None, landing.comment):
            client.command(f"DROP TABLE IF EXISTS `{stream.landing_view}`")
            client.command(f"DROP TABLE `{stream.landing_table}`")
        client.command(f"{landing.table} COMMENT '{landing.comment}'")
        client.command(landing.view)
    return there != landing.comment


def require_landing(stream: Stream) -> None:
    """See, without a warehouse, that nothing stands against the two.

    Raises:
        NoLandingError: something does.
    """
    if stream.record is not RecordFormat.AVRO and not _is_brought(stream):
        raise _no_landing(stream, f"its records are {stream.record}, of which the connector gives on no types")


def _is_brought(stream: Stream) -> bool:
    return any(stream.landing_table in migration.sql for migration in stream_migrations(stream))


def _comment(client: Client, table: str) -> str | None:
    """None: there is no such table."""
    rows: Sequence[Sequence[str]] = client.query(
        "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        parameters={"table": table},
    ).result_rows
    return rows[0][0] if rows else None


def landing_of(stream: Stream, layout: TableLayout, bounds: EventTimeBounds) -> Landing:
    """
    Raises:
        NoLandingError
    """
    require_landing(stream)
    fields = schema_fields(stream)
    landed: list[_Landed] = []
    for column in layout.fields:
        if (field := fields.get(column.name)) is not None:
            landed.append(_landed(stream, column, field.kind))
        elif not column.nullable:
            raise _no_landing(stream, f"the schema has no field for its column {column.name}")
    columns = {f"`{each.name}`": f"Nullable({each.kind})" for each in landed} | _PLACE
    return Landing(
        table=f"CREATE TABLE IF NOT EXISTS `{stream.landing_table}`\n(\n"
        + ",\n".join(f"    {name} {kind}" for name, kind in columns.items())
        + "\n)\nENGINE = Null",
        view=f"CREATE MATERIALIZED VIEW IF NOT EXISTS `{stream.landing_view}` TO `{stream.table}` AS\n"
        + f"WITH\n    toUnixTimestamp64Milli(landed.`{layout.time.name}`) AS happened,\n"
        + f"    toUnixTimestamp64Milli(landed.{METADATA.timestamp}) AS appended\nSELECT\n"
        + ",\n".join(
            [f"    {each.value} AS `{each.name}`" for each in landed]
            + [f"    landed.{name} AS {name}" for name in _PLACE]
        )
        + f"\nFROM `{stream.landing_table}` AS landed\nWHERE "
        + "\n    AND ".join(
            [
                f"happened > appended - {bounds.behind_ms:.0f}",
                f"happened <= appended + {bounds.ahead_ms:.0f}",
                *(each.condition for each in landed),
            ]
        ),
    )


@dataclass(frozen=True)
class _Landed:
    """A column: its type in the landing table without Nullable, its value in the stream's, and when that is one."""

    name: str
    kind: str
    value: str
    condition: str


def _landed(stream: Stream, column: Column, avro: Any) -> _Landed:
    kind = _kind(avro)
    if kind is None:
        raise _no_landing(stream, f"the field of its column {column.name} is no plain one")
    given = f"landed.`{column.name}`"
    if (moved := _moved(kind, column, given)) is None:
        raise _no_landing(stream, f"its column {column.name} {column.type.kind} is filled from {kind}")
    value, conditions = moved
    if column.limits is not None:
        if (limits := _within(column.limits, kind, given)) is None:
            raise _no_landing(stream, f"its column {column.name} is checked for what only exact numbers tell")
        conditions += limits
    if column.nullable:
        # What is written for no value is computed, too, and may not fail.
        value = f"if(isNull({given}), NULL, {value})"
        condition = f"(isNull({given}) OR ({' AND '.join(conditions)}))" if conditions else "1"
    else:
        condition = " AND ".join([f"isNotNull({given})", *conditions])
    return _Landed(column.name, kind, value, condition)


def _kind(avro: Any) -> str | None:
    """The column that takes what the Avro converter makes of a field; None: there is no simple one."""
    types = [each for each in avro if each != "null"] if isinstance(avro, list) else [avro]
    if len(types) != 1:
        return None
    [kind] = types
    described = kind if isinstance(kind, dict) else {"type": kind}
    match described.get("type"), described.get("logicalType"):
        case "long", "timestamp-millis":
            return "DateTime64(3, 'UTC')"
        case "enum", _:
            return "String"
        case "string", _:
            return "String"
        case str() as plain, None:
            return _LANDED.get(plain)
    return None


def _moved(kind: str, column: Column, given: str) -> tuple[str, list[str]] | None:
    """A value as its column has it, and when it can be that; None: it would not be what the intake makes of it."""
    some, to = f"assumeNotNull({given})", column.type.kind
    integer = re.fullmatch(r"U?Int(8|16|32|64)", to)
    if kind == "String" and to == "String":
        # U+FFFD is what a converter makes of bytes that are no UTF-8: the auditor sees them.
        return some, [f"isValidUTF8({some})", f"position({some}, '\\xEF\\xBF\\xBD') = 0"]
    if kind == "String" and to == "UUID":
        return f"toUUIDOrZero({some})", [f"toString(toUUIDOrZero({some})) = lower({some})"]
    if kind.startswith("Int") and integer:
        narrow = f"accurateCastOrNull({some}, '{to}')"
        return f"assumeNotNull({narrow})", [f"isNotNull({narrow})"]
    if kind.startswith("DateTime64(") and column.precision:
        first, end = _INSTANTS_MS
        ticks = f"toUnixTimestamp64Milli({some})"
        value = some if column.precision == 3 else f"fromUnixTimestamp64Micro({ticks} * 1000, 'UTC')"
        return value, [f"{ticks} >= {first}", f"{ticks} < {end}"]
    return (some, []) if kind == to or (kind, to) == ("Float32", "Float64") else None


def _within(limits: Limits, kind: str, given: str) -> list[str] | None:
    """When a value keeps to ``[checks]``; None: this cannot be said in SQL as exactly."""
    if not (kind.startswith("Int") or kind == "String") or (limits.one_of is not None and kind != "String"):
        return None
    some = f"assumeNotNull({given})"
    return list(_conditions(limits, some))


def _conditions(limits: Limits, some: str) -> Iterator[str]:
    if limits.min is not None:
        yield f"{some} >= {math.ceil(limits.min)}"
    if limits.max is not None:
        yield f"{some} <= {math.floor(limits.max)}"
    if limits.one_of is not None:
        yield f"{some} IN ({', '.join(map(_text, limits.one_of))})"
    if limits.min_length is not None:
        yield f"lengthUTF8({some}) >= {limits.min_length}"
    if limits.max_length is not None:
        yield f"lengthUTF8({some}) <= {limits.max_length}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _no_landing(stream: Stream, why: str) -> NoLandingError:
    return NoLandingError(
        f"no landing table for Kafka Connect can be made of the table {stream.table}: {why}; write "
        f"{stream.landing_table} and {stream.landing_view} in the next file of {stream.file('sql')}, as "
        f"streams/{DEFAULT_STREAM}/sql/0003_connect_landing.sql does, or use etar's own sink"
    )

"""Rows like those of an extract, made of a stream's schema alone: for what warms a Spark before there is an extract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa

from etar.streams import Stream, schema_fields

_SOME_MINUTE = datetime(2026, 1, 1, tzinfo=UTC)


def made_up_rows(stream: Stream, count: int) -> pa.Table:
    """``count`` rows of different events: a column for each field of the stream's schema that has a plain type, and
    those that say where a row stood in Kafka."""
    columns: dict[str, pa.Array] = {}
    for name, field in schema_fields(stream).items():
        if (column := _column(field.kind, count, is_time=name == stream.time)) is not None:
            columns[name] = column
    return pa.table(
        {
            **columns,
            "_topic": [stream.topic] * count,
            "_partition": pa.array([0] * count, pa.int32()),
            "_offset": pa.array(range(count), pa.int64()),
            "_timestamp": pa.array([_SOME_MINUTE] * count, pa.timestamp("ms", "UTC")),
        }
    )


def _column(kind: Any, count: int, *, is_time: bool) -> pa.Array | None:
    """Values of a field by its type in an Avro schema or a JSON Schema; None: they are not plain."""
    described = _not_null(kind)
    described = described if isinstance(described, dict) else {"type": described}
    plain = described.get("logicalType") or described.get("format") or _not_null(described.get("type"))
    if is_time or str(plain).startswith(("timestamp-", "date-time")):
        return pa.array([_SOME_MINUTE] * count, pa.timestamp("ms", "UTC"))
    if plain == "enum":
        symbols = described["symbols"]
        return pa.array([symbols[number % len(symbols)] for number in range(count)])
    value, arrow = _VALUES.get(plain, (None, None))
    return None if value is None else pa.array(map(value, range(count)), arrow)


def _not_null(kind: Any) -> Any:
    return next((each for each in kind if each != "null"), "null") if isinstance(kind, list) else kind


_VALUES: Mapping[Any, tuple[Callable[[int], object], pa.DataType]] = {
    "uuid": (lambda number: UUID(int=number).bytes, pa.binary()),
    "string": (str, pa.string()),
    **dict.fromkeys(("int", "long", "integer"), (int, pa.int64())),
    **dict.fromkeys(("float", "double", "number"), (float, pa.float64())),
    "boolean": (lambda number: number % 2 == 0, pa.bool_()),
}
"""What is the value of a row, by its number, of a field of a type."""

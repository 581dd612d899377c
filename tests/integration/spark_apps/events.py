"""Rows of a minute of user interactions, as an extract has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from etar.minute import MinuteWindow

SCHEMA = T.StructType(
    [
        T.StructField("event_id", T.BinaryType(), nullable=False),
        T.StructField("user_id", T.BinaryType(), nullable=False),
        T.StructField("event_type", T.StringType(), nullable=False),
        T.StructField("status", T.StringType(), nullable=False),
        T.StructField("_partition", T.IntegerType(), nullable=False),
        T.StructField("_offset", T.LongType(), nullable=False),
    ]
)
ARROW = to_arrow_schema(SCHEMA)
WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))


@dataclass(frozen=True)
class Event:
    event: int
    user: int = 1
    kind: str = "view"
    status: str = "success"
    partition: int = 0
    offset: int = 0

    @property
    def row(self) -> tuple[Any, ...]:
        ids = (self.event.to_bytes(16, "big"), self.user.to_bytes(16, "big"))
        return (*ids, self.kind, self.status, self.partition, self.offset)


def table(events: Sequence[Event]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, event.row, strict=True)) for event in events], ARROW)


def frame(spark: SparkSession, events: Sequence[Event]) -> DataFrame:
    # As Arrow: for rows of Python, Spark starts a Python of its own beside its JVM.
    return spark.createDataFrame(table(events), SCHEMA)

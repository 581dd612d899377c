"""Records as Spark hands them to Python, and the rows that the sink would store of them: what a stream's job counts is
what the table has, as the same code decides about each record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from etar.event_times import EventTimeBounds
from etar.records.intake import Intake
from etar.records.record import Record
from etar.records.registry import Registry
from etar.records.table import METADATA, EventColumns, TableLayout
from etar.records.warehouse import Warehouse
from etar.settings import RegistrySettings
from etar.streams import Stream

RECORD_COLUMNS = ("topic", "partition", "offset", "appended_ms", "value", "headers")
"""What a batch of records has: text, integers, milliseconds since 1970, bytes or null, and a list of (key, value)."""


@dataclass(frozen=True)
class TypedBatches:
    """Makes batches of rows of batches of records; can be sent to another process, which then asks no warehouse.

    Args:
        described: the table's columns, as :meth:`Warehouse.describe` gives them.
        columns: those that are wanted of a row.
    """

    stream: Stream
    database: str
    described: tuple[tuple[str, str, str], ...]
    bounds: EventTimeBounds
    registry: RegistrySettings
    columns: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """Of what it makes. Raises KeyError for a column that the table has not, or not from the event."""
        return pa.schema([(name, _of_spark(self._types[name])) for name in self.columns])

    @property
    def _types(self) -> dict[str, pa.DataType]:
        layout = TableLayout.of(
            self.described,
            database=self.database,
            table=self.stream.table,
            metadata=METADATA,
            event=EventColumns.of(self.stream),
        )
        return {column.name: column.arrow_type for column in layout.fields}

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows of the records that are good; of those that the sink would file as dead letters nothing.

        Raises:
            RegistryUnavailableError: the registry is away, for streams whose records name their schema.
        """
        intake, schema = _intake_of(self), self.schema
        for batch in batches:
            decoded = intake.decode(list(_records(batch)))
            if decoded.rows:
                table = intake.layout().table_of_rows(decoded.rows)
                yield from table.select(self.columns).cast(schema).to_batches()


@lru_cache(maxsize=8)
def _intake_of(typed: TypedBatches) -> Intake:
    """One for all the calls of a process: it has the schemas that it has read."""
    return Intake.of(
        typed.stream,
        database=typed.database,
        bounds=typed.bounds,
        registry=Registry.connect(typed.registry),
        warehouse=_Described(typed.described),
    )


class _Described(Warehouse):
    """Knows what it was told of the table, and nothing else."""

    def __init__(self, described: tuple[tuple[str, str, str], ...]) -> None:
        self._described = described

    def describe(self, database: str, table: str) -> list[tuple[str, str, str]]:  # noqa: ARG002
        return list(self._described)


def _records(batch: pa.RecordBatch) -> Iterator[Record]:
    columns = (batch.column(name).to_pylist() for name in RECORD_COLUMNS)
    for topic, partition, offset, appended_ms, value, headers in zip(*columns, strict=True):
        named = tuple((header["key"], header["value"]) for header in headers or ())
        yield Record(topic, partition, offset, appended_ms, None, value, named)


def _of_spark(kind: pa.DataType) -> pa.DataType:
    """Spark has instants in microseconds only, and no bytes of a fixed number."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC")
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else kind

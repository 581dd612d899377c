"""The table a sink fills: its columns, the values each can hold, and which of them say what an event is and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from etar.records.column_types import (
    FILLS,
    NOTHING_DECLARED,
    ColumnType,
    Convert,
    Declared,
    OutOfRangeError,
    UnsupportedTableError,
    shown,
)
from etar.streams import Limits, Stream, TimeForm

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from etar.records.batch import Integers
    from etar.records.record import Row


@dataclass(frozen=True)
class MetadataColumns:
    """Columns that say where a row stood in Kafka, as a sink's ``InsertField`` transform names them."""

    topic: str
    partition: str
    offset: str
    timestamp: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.topic, self.partition, self.offset, self.timestamp))


METADATA = MetadataColumns(topic="_topic", partition="_partition", offset="_offset", timestamp="_timestamp")
"""The names in etar's own tables (``sql/clickhouse``)."""


@dataclass(frozen=True)
class EventColumns:
    """Columns that a stream's definition says more about than the table does. ``checks``: by column."""

    time: str = "event_time"
    time_form: TimeForm = TimeForm.LOGICAL
    identity: tuple[str, ...] = ("event_id",)
    checks: Mapping[str, Limits] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, stream: Stream) -> Self:
        return cls(stream.time, stream.time_form, stream.identity, stream.checks)

    @property
    def needed(self) -> frozenset[str]:
        """Those without which no row says what it is, or keeps what was promised of it."""
        return frozenset((self.time, *self.identity, *self.checks))


@dataclass(frozen=True)
class Column:
    """One column that the sink fills. ``form``: how an event tells the instant in it; ``limits``: beyond its type."""

    name: str
    type: ColumnType
    form: TimeForm = TimeForm.LOGICAL
    limits: Limits | None = None

    @classmethod
    def parse(
        cls, name: str, declared: str, *, form: TimeForm = TimeForm.LOGICAL, limits: Limits | None = None
    ) -> Column:
        """From a type as ``DESCRIBE TABLE`` writes it, e.g. ``LowCardinality(Nullable(String))``.

        Raises:
            UnsupportedTableError: the type cannot be filled, or has nothing that the limits could be of.
        """
        try:
            column = cls(name, ColumnType.parse(declared), form, limits)
        except UnsupportedTableError as error:
            part = "" if str(error) == declared else f", with {error} in it"
            raise UnsupportedTableError(
                f"column {name!r} has the type {declared}{part}, which the native sink cannot fill (it fills {FILLS}); "
                "change the column, let the table compute it, or use the official connector"
            ) from None
        if limits is not None and (misfit := _misfit(limits, column.type)):
            raise UnsupportedTableError(f"column {name!r} has the type {declared}, and the check {misfit}")
        return column

    @property
    def nullable(self) -> bool:
        return self.type.nullable

    @property
    def precision(self) -> int | None:
        """Digits after the second of a column of instants, else None."""
        return self.type.precision

    @property
    def arrow_type(self) -> pa.DataType:
        return self.type.arrow_type

    def converter(self, declared: Declared | None) -> Convert:
        """The check and conversion of one value, given what its writer declared."""
        convert = self.type.converter(declared or NOTHING_DECLARED, self.form)
        return convert if self.limits is None else _limited(convert, self.limits, self.type)


@dataclass(frozen=True)
class TableLayout:
    """The columns of a table that the sink fills: ``fields`` from the event, ``metadata`` from its place in Kafka.

    ``identity``: the columns that tell one event from another.
    """

    database: str
    table: str
    fields: tuple[Column, ...]
    metadata: MetadataColumns
    metadata_types: Mapping[str, pa.DataType]
    time: Column
    time_index: int
    """Where in a row's values its time is."""

    ticks_per_ms: int
    """Of that time."""

    identity: tuple[str, ...]
    unfilled: tuple[str, ...] = ()
    """Why a column is left to its default, for each that no event can fill."""

    @classmethod
    def of(
        cls,
        described: Iterable[tuple[str, str, str]],
        *,
        database: str,
        table: str,
        metadata: MetadataColumns,
        event: EventColumns | None = None,
    ) -> TableLayout:
        """From ``(name, type, default kind)`` per column, as ``DESCRIBE TABLE`` gives them.

        Columns with a default kind (MATERIALIZED, ALIAS, DEFAULT) are the table's own business and left to it. So is
        one of a type that cannot be filled, as a field without a column is: it must not hold up every event.

        Args:
            event: what the stream says of its columns; by default that of the first stream.

        Raises:
            UnsupportedTableError: a metadata column, the event's time, its identity or a column with a check is
                missing, or of a type that cannot be filled.
        """
        event = event or EventColumns()
        columns: dict[str, Column] = {}
        unfilled: list[str] = []
        for name, declared, default in described:
            if default:
                continue
            form = event.time_form if name == event.time else TimeForm.LOGICAL
            try:
                columns[name] = Column.parse(name, declared, form=form, limits=event.checks.get(name))
            except UnsupportedTableError as error:
                if name in event.needed or name in metadata.names:
                    raise
                unfilled.append(str(error))
        time = columns.get(event.time)
        if time is None or not time.precision or time.nullable:
            raise UnsupportedTableError(
                f"{database}.{table} needs a column {event.time!r} of type DateTime64, not null"
            )
        if missing := sorted(metadata.names - columns.keys()):
            raise UnsupportedTableError(f"{database}.{table} lacks the metadata columns {', '.join(missing)}")
        if missing := sorted(event.needed - columns.keys()):
            raise UnsupportedTableError(
                f"{database}.{table} lacks columns that the stream names as its events' identity or checks: "
                f"{', '.join(missing)}"
            )
        fields = tuple(column for name, column in columns.items() if name not in metadata.names)
        return cls(
            database=database,
            table=table,
            fields=fields,
            metadata=metadata,
            metadata_types={name: columns[name].arrow_type for name in metadata.names},
            time=time,
            time_index=fields.index(time),
            ticks_per_ms=10 ** (time.precision - 3),
            identity=event.identity,
            unfilled=tuple(unfilled),
        )

    def event_ms(self, values: tuple[Any, ...]) -> int:
        """When the event of a row happened, in whole milliseconds since 1970.

        Args:
            values: the row's, in the order of :attr:`fields`.
        """
        milliseconds: int = values[self.time_index] // self.ticks_per_ms
        return milliseconds

    def table_of(
        self,
        fields: Sequence[pa.Array],
        *,
        topics: Sequence[str] | npt.NDArray[np.object_],
        partitions: Sequence[int] | Integers,
        offsets: Sequence[int] | Integers,
        appended_ms: Sequence[int] | Integers,
    ) -> pa.Table:
        """Rows as the table's columns: :attr:`fields`, then the place in Kafka."""
        names = [column.name for column in self.fields]
        arrays = list(fields)
        for name, values in (
            (self.metadata.topic, topics),
            (self.metadata.partition, partitions),
            (self.metadata.offset, offsets),
            (self.metadata.timestamp, appended_ms),
        ):
            names.append(name)
            arrays.append(pa.array(values, self.metadata_types[name]))
        return pa.table(arrays, names)

    def table_of_rows(self, rows: Sequence[Row]) -> pa.Table:
        """As :meth:`table_of`."""
        return self.table_of(
            [
                pa.array(values, column.arrow_type)
                for column, values in zip(self.fields, zip(*(row.values for row in rows), strict=True), strict=True)
            ],
            topics=[row.record.topic for row in rows],
            partitions=[row.record.partition for row in rows],
            offsets=[row.record.offset for row in rows],
            appended_ms=[row.record.appended_ms for row in rows],
        )


def _misfit(limits: Limits, of: ColumnType) -> str | None:
    """What of the limits cannot be held by values of a type, in words."""
    if not of.is_number and (limits.min is not None or limits.max is not None):
        return "min or max is for numbers"
    if not (of.is_number or of.is_text) and limits.one_of is not None:
        return "one_of is for numbers and text"
    has_length = of.is_text or of.kind in ("Array", "Map")
    if not has_length and (limits.min_length is not None or limits.max_length is not None):
        return "min_length or max_length is for text, lists and maps"
    if of.is_number and limits.one_of is not None:
        try:
            list(map(Decimal, limits.one_of))
        except ArithmeticError:
            return f"one_of names what is no number: {', '.join(limits.one_of)}"
    return None


def _limited(convert: Convert, limits: Limits, of: ColumnType) -> Convert:
    """``convert``, and then the limits. Null keeps them all."""
    low, high, shortest, longest = limits.min, limits.max, limits.min_length, limits.max_length
    known: frozenset[Any] | None = None
    if limits.one_of is not None:
        known = frozenset(map(Decimal, limits.one_of)) if of.is_number else frozenset(limits.one_of)

    def check(value: Any) -> Any:
        converted = convert(value)
        if converted is None:
            return None
        # Comparing and hashing are exact, whichever kinds of number meet. NaN, which no Decimal is compared with, is
        # in no range.
        if low is not None and (converted != converted or converted < low):  # noqa: PLR0124
            raise OutOfRangeError(f"min is {low}, got {shown(converted)}")
        if high is not None and (converted != converted or converted > high):  # noqa: PLR0124
            raise OutOfRangeError(f"max is {high}, got {shown(converted)}")
        if known is not None and converted not in known:
            raise OutOfRangeError(f"one_of is {', '.join(limits.one_of or ()):.200}, got {shown(converted)}")
        if shortest is not None and len(converted) < shortest:
            raise OutOfRangeError(f"min_length is {shortest}, got {len(converted)}: {shown(converted)}")
        if longest is not None and len(converted) > longest:
            raise OutOfRangeError(f"max_length is {longest}, got {len(converted)}: {shown(converted)}")
        return converted

    return check

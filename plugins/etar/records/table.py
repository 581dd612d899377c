"""The table a sink fills: its columns, the values each can hold, and rows as Arrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa

Convert = Callable[[Any], Any]
"""From a value as Avro gave it to one as Arrow takes it; raises :class:`WrongValueError`, :class:`OutOfRangeError`."""

EVENT_TIME = "event_time"
"""The column that every stream's table has: when the event happened."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"(?P<unsigned>U?)Int(?P<bits>8|16|32|64)")
_DATETIME64 = re.compile(r"DateTime64\((?P<precision>[36])(?:, 'UTC')?\)")
_WRAPPER = re.compile(r"(?P<wrapper>LowCardinality|Nullable)\((?P<inner>.*)\)")

# What DateTime64 holds at every precision, in seconds: [1900-01-01, 2300-01-01) as the engine documents it.
_FIRST_SECOND, _END_SECOND = -2_208_988_800, 10_413_792_000
TICKS_PER_SECOND = {"timestamp-millis": 1_000, "timestamp-micros": 1_000_000, "timestamp-nanos": 1_000_000_000}
"""Logical types that are instants. A local timestamp is none: of which place it is local its schema does not say."""

UUID_BYTES = 16


class UnsupportedTableError(ValueError):
    """The table has a shape that the native sink cannot fill; the message names the column and the way out."""


class WrongValueError(ValueError):
    """A value that is not of its column's type."""


class OutOfRangeError(ValueError):
    """A value of the right type that its column cannot hold."""


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
class Column:
    """One column that the sink fills. ``kind`` is the ClickHouse type without its wrappers."""

    name: str
    kind: str
    nullable: bool

    @classmethod
    def parse(cls, name: str, declared: str) -> Column:
        """From a type as ``DESCRIBE TABLE`` writes it, e.g. ``LowCardinality(Nullable(String))``."""
        kind, nullable = declared, False
        while match := _WRAPPER.fullmatch(kind):
            nullable = nullable or match["wrapper"] == "Nullable"
            kind = match["inner"]
        column = cls(name, kind, nullable)
        column.arrow_type  # noqa: B018  (an unsupported type is refused here, before the first row)
        return column

    @property
    def precision(self) -> int | None:
        """Digits after the second of a DateTime64 column, else None."""
        match = _DATETIME64.fullmatch(self.kind)
        return int(match["precision"]) if match else None

    @property
    def arrow_type(self) -> pa.DataType:
        if match := _INTEGER.fullmatch(self.kind):
            return pa.type_for_alias(f"{'u' if match['unsigned'] else ''}int{match['bits']}")
        if self.precision:
            return pa.timestamp("ms" if self.precision == 3 else "us", tz="UTC")
        plain = {"String": pa.string(), "UUID": pa.binary(16), "Float64": pa.float64(), "Bool": pa.bool_()}
        if self.kind not in plain:
            raise UnsupportedTableError(
                f"column {self.name!r} has the type {self.kind}, which the native sink cannot fill (it fills String, "
                "UUID, Bool, Float64, integers, and DateTime64 of precision 3 or 6 in UTC, nullable or not); change "
                "the column, let the table compute it, or use the official connector"
            )
        return plain[self.kind]

    def converter(self, logical_type: str | None, *, fixed: bool = False) -> Convert:
        """The check and conversion of one value, given the logical type that its writer declared, and whether it may be
        bytes of a fixed number."""
        if match := _INTEGER.fullmatch(self.kind):
            convert = _integer(int(match["bits"]), signed=not match["unsigned"])
        elif self.precision:
            convert = _instant(logical_type, self.precision)
        else:
            convert = {"String": _text, "UUID": _uuid, "Float64": _number, "Bool": _boolean}[self.kind]
            if fixed and logical_type == "uuid" and self.kind in _OF_UUID_BYTES:
                convert = _or_uuid_bytes(convert, _OF_UUID_BYTES[self.kind])
        if not self.nullable:
            return convert
        return lambda value: None if value is None else convert(value)


@dataclass(frozen=True)
class TableLayout:
    """The columns of a table that the sink fills: ``fields`` from the event, ``metadata`` from its place in Kafka."""

    database: str
    table: str
    fields: tuple[Column, ...]
    metadata: MetadataColumns
    metadata_types: Mapping[str, pa.DataType]
    unfilled: tuple[str, ...] = ()
    """Why a column is left to its default, for each that no event can fill."""

    @classmethod
    def of(
        cls, described: Iterable[tuple[str, str, str]], *, database: str, table: str, metadata: MetadataColumns
    ) -> TableLayout:
        """From ``(name, type, default kind)`` per column, as ``DESCRIBE TABLE`` gives them.

        Columns with a default kind (MATERIALIZED, ALIAS, DEFAULT) are the table's own business and left to it. So is
        one of a type that cannot be filled, as a field without a column is: it must not hold up every event.

        Raises:
            UnsupportedTableError: a metadata or event time column is missing, or of a type that cannot be filled.
        """
        columns: dict[str, Column] = {}
        unfilled: list[str] = []
        for name, declared, default in described:
            if default:
                continue
            try:
                columns[name] = Column.parse(name, declared)
            except UnsupportedTableError as error:
                if name == EVENT_TIME or name in metadata.names:
                    raise
                unfilled.append(str(error))
        instant = columns.get(EVENT_TIME)
        if instant is None or instant.precision is None or instant.nullable:
            raise UnsupportedTableError(
                f"{database}.{table} needs a column {EVENT_TIME!r} of type DateTime64, not null"
            )
        if missing := sorted(metadata.names - columns.keys()):
            raise UnsupportedTableError(f"{database}.{table} lacks the metadata columns {', '.join(missing)}")
        return cls(
            database=database,
            table=table,
            fields=tuple(column for name, column in columns.items() if name not in metadata.names),
            metadata=metadata,
            metadata_types={name: columns[name].arrow_type for name in metadata.names},
            unfilled=tuple(unfilled),
        )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise WrongValueError(f"expected text, got {_shown(value)}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise WrongValueError(f"expected text, got half of a surrogate pair in {_shown(value)}")
    return value


def _uuid(value: Any) -> bytes:
    if type(value) is not str or not _UUID.fullmatch(value):
        raise WrongValueError(f"expected a UUID, got {_shown(value)}")
    return bytes.fromhex(value.replace("-", ""))


_OF_UUID_BYTES: Mapping[str, Convert] = {"UUID": bytes, "String": lambda value: str(UUID(bytes=value))}


def _or_uuid_bytes(convert: Convert, of_bytes: Convert) -> Convert:
    """``convert``, where the writer may hold a UUID as its sixteen bytes and not as text."""
    return lambda value: of_bytes(value) if type(value) is bytes and len(value) == UUID_BYTES else convert(value)


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise WrongValueError(f"expected a number, got {_shown(value)}")
    return float(value)


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise WrongValueError(f"expected true or false, got {_shown(value)}")
    return value


def _integer(bits: int, *, signed: bool) -> Convert:
    low, end = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)

    def convert(value: Any) -> int:
        if type(value) is not int:
            raise WrongValueError(f"expected an integer, got {_shown(value)}")
        if not low <= value < end:
            raise OutOfRangeError(f"{value} does not fit {'' if signed else 'U'}Int{bits}")
        return value

    return convert


def _instant(logical_type: str | None, precision: int) -> Convert:
    per_second = TICKS_PER_SECOND.get(logical_type or "")
    ticks: int = 10**precision
    low, end = _FIRST_SECOND * ticks, _END_SECOND * ticks

    def convert(value: Any) -> int:
        if per_second is None or type(value) is not int:
            raise WrongValueError(
                f"expected a long of logical type {' or '.join(TICKS_PER_SECOND)}, got {_shown(value)}"
                f"{'' if logical_type else ' without one'}"
            )
        instant = value * ticks // per_second
        if not low <= instant < end:
            raise OutOfRangeError(f"the instant {value} ({logical_type}) is beyond the years 1900 to 2299")
        return instant

    return convert


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}"

"""What a format of records is to those who read and write them: the one place where formats differ."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Protocol

import pyarrow as pa

from etar.dead_letters import Reason
from etar.records.batch import Batch, Flags, Integers
from etar.records.bodies import Bodies
from etar.records.framing import Frame, SchemaId
from etar.records.record import Record, Unreadable
from etar.records.registry import RegisteredSchema
from etar.records.table import TableLayout


class UnusableSchemaError(ValueError):
    """A schema that no record can be written with."""


class NotEncodableError(ValueError):
    """Fields that do not make a record of the schema; the message names the field."""


class ColumnReader(Protocol):
    """Reads records of one writer schema side by side into the columns of one table."""

    def read(self, bodies: Bodies, places: Integers, /) -> tuple[Mapping[str, pa.Array], Flags]:
        """
        Args:
            places: of the records, ascending.

        Returns:
            The columns by their names, and which of the records are read: each to what :meth:`Reader.read` would have
            made of it. What the columns have of the others means nothing: they are read by that one.
        """
        ...


class Reader(Protocol):
    """Reads records of one writer schema into the columns of one table."""

    columns: ColumnReader | None
    """For many records at a time; None where there is no such way."""

    def read(self, body: BytesIO, /) -> tuple[Any, ...]:
        """The values of one record, in the order of :attr:`TableLayout.fields`.

        Args:
            body: the record's value, at the place where its body begins.

        Raises:
            BadRecordError: the body cannot be decoded, or a value does not fit its column.
        """
        ...


class Writer(Protocol):
    """Writes records of one schema."""

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """A record's value, with its header where the format has one.

        Raises:
            NotEncodableError: a field is missing, unknown to the schema, or not of its type.
        """
        ...


class Codec(Protocol):
    """One format of records."""

    malformed: Reason
    """The reason of a letter whose bytes are not of this format."""

    own_schema: RegisteredSchema | None
    """The stream's own schema, known by the id :data:`etar.records.framing.OWN_SCHEMA`, where its records name none;
    else None, and the registry has them."""

    def frame_of(self, record: Record, value: bytes) -> Frame:
        """How the record names its writer's schema, and where its body begins.

        Raises:
            BadRecordError: it names none, or not so that it can be asked for.
        """
        ...

    def bodies(self, batch: Batch) -> Bodies | None:
        """Of a batch, for a :class:`ColumnReader`; None where no reader of this format has one."""
        ...

    def reader(self, schema: RegisteredSchema, layout: TableLayout) -> Reader | Unreadable:
        """A reader for a writer's schema, or why there can be none."""
        ...

    def writer(self, schema: RegisteredSchema, schema_id: SchemaId) -> Writer:
        """A writer of records under a schema.

        Raises:
            UnusableSchemaError: none can be written with it.
        """
        ...

"""From a Kafka record to a row of the table, or to a dead letter that says why not. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.instants import from_milliseconds
from etar.records.avro_codec import AvroCodec
from etar.records.batch import Batch, Flags, Integers, Rows
from etar.records.bodies import Bodies
from etar.records.codec import Codec, Reader
from etar.records.framing import Frame, SchemaId, named
from etar.records.record import BadRecordError, Record, Row, Unreadable
from etar.records.table import TableLayout

AVRO = AvroCodec()


class Decoder:
    """Decides about each record of a stream: a row, or a dead letter. Never raises, whatever the bytes."""

    def __init__(self, layout: TableLayout, bounds: EventTimeBounds, codec: Codec = AVRO) -> None:
        self._layout = layout
        self._bounds = bounds
        self._codec = codec

    def decode(self, record: Record, readers: Mapping[SchemaId, Reader | Unreadable]) -> Row | DeadLetter:
        """``readers`` must have the id that :func:`schema_of` gives for the record."""
        try:
            return Row(record, self._values(record, readers))
        except BadRecordError as error:
            return record.dead(error.reason, error.detail)

    def decode_all(
        self, batch: Batch, bodies: Bodies | None, readers: Mapping[SchemaId, Reader | Unreadable]
    ) -> tuple[Sequence[Row], list[DeadLetter]]:
        """Decide about each record as :meth:`decode` does, many at a time where that comes to the same. Rows and
        letters are in the records' order.

        Args:
            bodies: of the batch, where its codec has them.
        """

        def row_at(place: int) -> Row:
            outcome = self.decode(batch[place], readers)
            if isinstance(outcome, Row):
                return outcome
            raise AssertionError(f"read with others it is a row, and by itself a letter: {outcome.detail}")

        left = np.ones(len(batch), np.bool_)
        tables: list[pa.Table] = []
        places: list[Integers] = []
        for identifier, reader in readers.items():
            if bodies is None or isinstance(reader, Unreadable) or reader.columns is None:
                continue
            if isinstance(identifier, UUID):  # named in a header
                continue
            those = np.flatnonzero(bodies.identifiers == identifier)
            if len(those):
                table, read = self._columns(batch, those, *reader.columns.read(bodies, those))
                tables.append(table)
                places.append(read)
                left[read] = False
        others: dict[int, Row] = {}
        letters: list[DeadLetter] = []
        for place in np.flatnonzero(left).tolist():
            outcome = self.decode(batch[place], readers)
            if isinstance(outcome, Row):
                others[place] = outcome
            else:
                letters.append(outcome)
        if not tables:
            return list(others.values()), letters
        if others:
            tables.append(self._layout.table_of_rows(list(others.values())))
            places.append(np.array(list(others), np.int64))
        table, at = pa.concat_tables(tables), np.concatenate(places)
        if len(tables) > 1:
            order = at.argsort()
            table, at = table.take(pa.array(order)), at[order]
        return Rows(table, row_at, at), letters

    def _columns(
        self, batch: Batch, those: Integers, columns: Mapping[str, pa.Array], read: Flags
    ) -> tuple[pa.Table, Integers]:
        """The rows among some records, and the places of these."""
        layout = self._layout
        ticks = columns[layout.time.name].cast(pa.int64()).fill_null(0).to_numpy()
        appended_ms = batch.appended_ms[those]
        read = read & self._bounds.believe_each(ticks // layout.ticks_per_ms, appended_ms)
        table = layout.table_of(
            [columns[column.name] for column in layout.fields],
            topics=batch.topics[those],
            partitions=batch.partitions[those],
            offsets=batch.offsets[those],
            appended_ms=appended_ms,
        )
        return (table, those) if read.all() else (table.filter(pa.array(read)), those[read])

    def _values(self, record: Record, readers: Mapping[SchemaId, Reader | Unreadable]) -> tuple[Any, ...]:
        value = record.value
        if value is None:
            raise BadRecordError(Reason.NULL_VALUE, "the record has no value (a tombstone)")
        if not value:
            raise BadRecordError(Reason.EMPTY_VALUE, "the value is zero bytes long")
        identifier, at, header = self._codec.frame_of(record, value)
        reader = readers[identifier]
        if isinstance(reader, Unreadable):
            raise BadRecordError(reader.reason, f"{named(identifier, header)}: {reader.detail}")
        body = BytesIO(value)
        body.seek(at)
        values = reader.read(body)
        event_ms = self._layout.event_ms(values)
        if not self._bounds.believe(event_ms, record.appended_ms):
            reason = Reason.EVENT_TIME_OUT_OF_BOUNDS if event_ms > record.appended_ms else Reason.TOO_LATE
            raise BadRecordError(reason, self._out_of_bounds(event_ms, record.appended_ms))
        return values

    def _out_of_bounds(self, event_ms: int, appended_ms: int) -> str:
        apart = (event_ms - appended_ms) / 1000
        event = from_milliseconds(event_ms)
        return (
            f"{self._layout.time.name} {event.isoformat(timespec='milliseconds')} is {abs(apart):.3f} s "
            f"{'after' if apart > 0 else 'before'} the broker took the record; believed are less than "
            f"{self._bounds.behind_ms / 1000:g} s before and at most {self._bounds.ahead_ms / 1000:g} s after"
        )


def frame_of(record: Record, codec: Codec = AVRO) -> Frame | None:
    """How the record names its writer's schema; None where it does not, or not so that it can be asked for."""
    try:
        return codec.frame_of(record, record.value) if record.value else None
    except BadRecordError:
        return None


def schema_of(record: Record, codec: Codec = AVRO) -> SchemaId | None:
    """The id of :func:`frame_of`."""
    frame = frame_of(record, codec)
    return frame[0] if frame else None

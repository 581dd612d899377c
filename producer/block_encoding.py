"""From many events of a stream to the keys, values and times of their records."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etar.rows.blocks import Block, Drawn, is_uuids, plain_values, rows_of
from etar.streams import KeyForm, RecordFormat, Stream
from producer.avro_columns import AvroColumns, Remembered, apart, as_objects
from producer.encoding import Encoding, NoEventError
from producer.partitions import NO_KEY, hashes_of, murmur2, positive


class Encoded(NamedTuple):
    """Events as records, in their order."""

    keys: list[bytes | None]
    hashes: npt.NDArray[np.int64]
    """Of the keys (:func:`producer.partitions.hashes_of`)."""
    values: list[bytes]
    happened: npt.NDArray[np.int64]
    """Milliseconds since the epoch."""


class BlockEncoding:
    """How blocks of one stream's events are written: what :class:`producer.encoding.Encoding` makes of each."""

    def __init__(self, stream: Stream, encoding: Encoding) -> None:
        self._encoding = encoding
        self._by_bytes = stream.key.form is KeyForm.UUID16
        self._keys = Remembered(lambda values: as_objects([encoding.key_form(value) for value in values]))
        self._hashes = Remembered(lambda values: hashes_of(self._keys.of(values).tolist()))
        self._avro = (
            AvroColumns(stream.schema_text or "", encoding.header) if stream.record is RecordFormat.AVRO else None
        )

    def encoded(self, block: Block, rows: int) -> Encoded:
        """The records of ``rows`` events.

        Raises:
            NoEventError: they are no events of the stream's schema, or not as many.
        """
        for name, column in block.items():
            if rows_of(column) != rows:
                raise NoEventError(f"{name} has {rows_of(column)} values for {rows} events")
        for needed in (self._encoding.time_field, self._encoding.key_field):
            if needed is not None and needed not in block:
                raise NoEventError(f"{needed} is missing")
        try:
            return Encoded(*self._keys_of(block, rows), self._values_of(block, rows), self._times_of(block))
        except NoEventError:
            raise
        except Exception as error:  # as many kinds as there are wrong values
            raise NoEventError(f"{type(error).__name__}: {error}") from error

    def _values_of(self, block: Block, rows: int) -> list[bytes]:
        if self._avro is not None:
            return self._avro.encoded(block, rows)
        names, encode = tuple(block), self._encoding.encode
        columns = [plain_values(column) for column in block.values()]
        return [encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    def _keys_of(self, block: Block, rows: int) -> tuple[list[bytes | None], npt.NDArray[np.int64]]:
        name = self._encoding.key_field
        if name is None:
            return [None] * rows, np.full(rows, NO_KEY, np.int64)
        column = block[name]
        if isinstance(column, Drawn):
            keys, hashes = self._keys.of(column.values), self._hashes.of(column.values)
            return keys[column.places].tolist(), hashes[column.places]
        if self._by_bytes and is_uuids(column):
            return [*apart(column)], positive(murmur2(column))
        made = [self._encoding.key_form(value) for value in plain_values(column)]
        return made, hashes_of(made)

    def _times_of(self, block: Block) -> npt.NDArray[np.int64]:
        encoding = self._encoding
        column = block[encoding.time_field]
        if type(column) is np.ndarray and column.dtype.kind == "i":
            return column if encoding.ticks == 1000 else column * 1000 // encoding.ticks
        times = (encoding.time_of({encoding.time_field: value}) for value in plain_values(column))
        return np.fromiter(times, np.int64, rows_of(column))

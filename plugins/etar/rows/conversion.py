"""What makes records of the rows of a file: the contract that a stream's folder may keep in a way of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from etar.rows.values import RowError

if TYPE_CHECKING:
    from etar.rows.columns import Column

_BATCH_OVERHEAD = 128
"""Bytes that a batch of one record has around key and value, at most."""


class Records(NamedTuple):
    """Events of a file, ready to be sent."""

    times: npt.NDArray[np.int64]
    """Milliseconds since the epoch."""
    keys: Sequence[bytes | None]
    values: Sequence[bytes]

    def parts(self, size: int) -> Iterator[Records]:
        """The same in order, ``size`` at a time."""
        for first in range(0, len(self.values), size):
            part = slice(first, first + size)
            yield Records(self.times[part], self.keys[part], self.values[part])


class Converted(NamedTuple):
    """What became of rows: records in their order, and of the others, by their index, why they are none."""

    records: Records
    errors: dict[int, RowError]


class Row(NamedTuple):
    """One of them."""

    time: int
    key: bytes | None
    value: bytes


class Converter(Protocol):
    """Makes records of rows. A folder's own class (``[input] converter = "input:RowConverter"``) has the columns that a
    file may have as ``LAYOUT``, and is made with :class:`etar.rows.values.Values` (what the file's values mean), the
    header that stands before the body of each record, and the bytes of the largest batch that the topic takes (None:
    there is no limit)."""

    def convert(self, columns: Mapping[str, Column], rows: int, /) -> Converted:
        """Records of ``rows`` rows. A field without a column is not given."""


class SizeLimit:
    """What a topic takes.

    Args:
        longest: bytes of its largest batch; None: no limit.
    """

    def __init__(self, longest: int | None) -> None:
        self.largest = None if longest is None else longest - _BATCH_OVERHEAD
        """Bytes of key and value together."""

    def converted(self, rows: Iterable[Row | RowError]) -> Converted:
        """Rows that were converted one by one, parted; a record that is too large is none."""
        made: list[Row] = []
        errors: dict[int, RowError] = {}
        for index, row in enumerate(rows):
            if isinstance(row, RowError):
                errors[index] = row
            elif error := self._too_large(row):
                errors[index] = error
            else:
                made.append(row)
        times = np.array([row.time for row in made], np.int64)
        return Converted(Records(times, [row.key for row in made], [row.value for row in made]), errors)

    def _too_large(self, row: Row) -> RowError | None:
        size = len(row.key or b"") + len(row.value)
        if self.largest is None or size <= self.largest:
            return None
        kind = f"the record is larger than the {self.largest} bytes that the topic takes"
        return RowError(kind, f"{kind}: {size}")

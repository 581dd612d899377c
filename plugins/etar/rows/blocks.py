"""Many made-up events at once, column by column: what the ``block`` method of a stream's traffic returns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias, TypeGuard
from uuid import UUID

import numpy as np
import numpy.typing as npt

UUID_BYTES = 16


class Drawn(NamedTuple):
    """A column of values that come again and again: row ``i`` has ``values[places[i]]``.

    A value is what the schema's type takes, None included. Each is encoded once for as long as a column has the same
    object as ``values``, block after block.
    """

    values: Sequence[Any]
    places: npt.NDArray[np.integer[Any]]


BlockColumn: TypeAlias = Drawn | npt.NDArray[Any] | Sequence[Any]
"""A value a row: :class:`Drawn`; an array of numbers or truths, a masked one (``numpy.ma``) where some are null; UUIDs
as an array of ``(rows, 16)`` bytes; or any sequence of the values themselves, which is the slowest."""

Block: TypeAlias = Mapping[str, BlockColumn]
"""By field of the schema."""


def is_uuids(column: BlockColumn) -> TypeGuard[npt.NDArray[np.uint8]]:
    """Whether a column is an array of UUIDs."""
    return isinstance(column, np.ndarray) and column.dtype == np.uint8 and column.shape[1:] == (UUID_BYTES,)


def rows_of(column: BlockColumn) -> int:
    return len(column.places if isinstance(column, Drawn) else column)


def plain_values(column: BlockColumn) -> Sequence[Any]:
    """The column as Python values, one a row."""
    if isinstance(column, Drawn):
        return list(map(column.values.__getitem__, column.places.tolist()))
    if not isinstance(column, np.ndarray):
        return column
    if is_uuids(column):
        content = column.tobytes()
        return [UUID(bytes=content[at : at + UUID_BYTES]) for at in range(0, len(content), UUID_BYTES)]
    return column.tolist()  # type: ignore[no-any-return]  # a masked array's nulls are None


def chance_of(name: str) -> np.random.Generator:
    """A sequence of chance that follows from its name: ``5/0/visits`` is that of seed 5, worker 0, for visits."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(sha256(name.encode()).digest()[:16], "big")))

"""A column of a file: Python's values, or an Arrow array whose values are Python's when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etar.rows.values import EPOCH, Unreadable

Column: TypeAlias = Sequence[object] | pa.Array

_TICKS = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}


def python_values(
    columns: Mapping[str, Column], indices: npt.NDArray[np.int64] | None = None
) -> dict[str, Sequence[object]]:
    """Columns as Python's values, of all rows or of those at some indices."""
    if indices is None:
        return {name: plain_values(column) for name, column in columns.items()}
    return {
        name: plain_values(column.take(pa.array(indices)))
        if isinstance(column, pa.Array)
        else [column[index] for index in indices]
        for name, column in columns.items()
    }


def plain_values(column: Column) -> Sequence[object]:
    """A column as Python values that its bytes determine: times as milliseconds, text that is not all UTF-8 as bytes;
    whatever cannot be one is :class:`Unreadable`."""
    if not isinstance(column, pa.Array):
        return column
    column = plain_array(column)
    kind = column.type
    if pa.types.is_timestamp(kind):  # seconds that are no milliseconds of 64 bits
        return [None if at is None else at * 1000 for at in column.view(pa.int64()).to_pylist()]
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.view(pa.binary() if pa.types.is_string(kind) else pa.large_binary()).to_pylist())
    except Exception:  # one value that Python has no type for: the others are read
        return [_plain_value(column[index]) for index in range(len(column))]


def exact_values(column: Column) -> Sequence[object]:
    """A column as Python values, times to the microsecond and dates as what they are."""
    if not isinstance(column, pa.Array):
        return column
    column = _stored(column)
    if pa.types.is_date(column.type):
        return [_plain_value(each) for each in column]
    return [_instant(each) for each in column] if pa.types.is_timestamp(column.type) else plain_values(column)


def _instant(value: pa.Scalar) -> object:
    """Not by pyarrow, which needs the zone's rules: units since the epoch are in UTC."""
    if not value.is_valid:
        return None
    try:
        return EPOCH + timedelta(microseconds=value.value * 1_000_000 // _TICKS[value.type.unit])
    except OverflowError:
        return Unreadable(f"{value.value} {value.type.unit} since 1970 is in no year up to 9999")


def plain_array(column: pa.Array) -> pa.Array:
    """The same with times as milliseconds, where they are of 64 bits, and values that are references put in."""
    column = _stored(column)
    kind = column.type
    if pa.types.is_date32(kind):
        return pc.multiply(column.view(pa.int32()).cast(pa.int64()), 86_400_000)
    if pa.types.is_date64(kind):
        return column.view(pa.int64())
    if not pa.types.is_timestamp(kind):  # not datetime: it ends in the year 9999, and needs the zone's rules
        return column
    units = column.view(pa.int64())
    if kind.unit == "s":
        try:
            return pc.multiply_checked(units, 1000)
        except pa.ArrowInvalid:
            return column
    a_millisecond = {"ms": 1, "us": 1000, "ns": 1_000_000}[kind.unit]
    milliseconds = units.fill_null(0).to_numpy() // a_millisecond
    return pa.array(milliseconds, pa.int64(), mask=column.is_null().to_numpy(zero_copy_only=False))


def _stored(column: pa.Array) -> pa.Array:
    """What an array of a type that pyarrow adds is kept as, with values that are references put in."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _plain_value(value: pa.Scalar) -> object:
    try:
        return value.as_py()
    except Exception as error:  # whatever it is, it is this value's reason
        return Unreadable(str(error))

"""Avro records of one schema, read side by side into the columns of a table. Pure.

What is unusual in a record, good or bad, is left to :class:`etar.records.avro_codec.RecordReader`: that one alone says
what is wrong with a record. What is read here it would read to the same row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etar.records.avro import AvroDeclared, AvroSchema, Node, type_of
from etar.records.batch import Flags, Integers
from etar.records.bodies import MOST_STEPS, Bodies, Lanes, Spans
from etar.records.column_types import TICKS_PER_SECOND, UUID_BYTES, OutOfRangeError, WrongValueError
from etar.records.table import Column, TableLayout
from etar.streams import Limits

_DEEPEST = 16
_UUID_CHARACTERS = 36
_LARGEST = 1 << 62

_Read = Callable[[Lanes], Any]
_Make = Callable[[Lanes, Any], pa.Array]
"""A column's values, of what was read of the lanes; those that the column does not take as they are, are doubted."""

_Step = Callable[[Lanes], pa.Array | None]


class _RecordByRecordError(Exception):
    """A schema or a table that is not read in columns."""


class AvroColumns:
    """Reads records of one schema side by side. Made by :func:`compile_columns`."""

    def __init__(self, steps: Sequence[tuple[str, _Step]], absent: Sequence[Column]) -> None:
        """
        Args:
            steps: in the schema's order, each with the name of the column that it fills.
            absent: columns that nothing fills, and that are null.
        """
        self._steps = steps
        self._absent = absent

    def read(self, bodies: Bodies, places: Integers) -> tuple[dict[str, pa.Array], Flags]:
        """
        Args:
            places: of the records, ascending.

        Returns:
            The columns by their names, and which of the records are read: what the columns have of the others means
            nothing.
        """
        lanes = bodies.at(places)
        columns = {column.name: pa.nulls(len(lanes), column.arrow_type) for column in self._absent}
        for name, step in self._steps:
            values = step(lanes)
            if values is not None:
                columns[name] = values
        return columns, lanes.good & lanes.at_end()


def compile_columns(schema: AvroSchema, layout: TableLayout) -> AvroColumns | None:
    """A reader of records under a schema that can be read record by record; None where that is the only way."""
    try:
        return _compiled(schema, layout)
    except _RecordByRecordError:
        return None


def _compiled(schema: AvroSchema, layout: TableLayout) -> AvroColumns:
    if schema.union(schema.top) is not None:
        raise _RecordByRecordError
    columns = {column.name: column for column in layout.fields}
    checked = {name.split(".")[0] for name in columns}
    steps = []
    for name, node in _leaves(schema, schema.branches[0]):
        steps.append((name, _step(schema, node, columns.pop(name, None), is_text=name.split(".")[0] in checked)))
        if len(steps) > MOST_STEPS:
            raise _RecordByRecordError
    records = {".".join(name.split(".")[:depth]) for name, _ in steps for depth in range(1, name.count(".") + 1)}
    if len({name for name, _ in steps} | records) < len(steps) + len(records) or records & columns.keys():
        raise _RecordByRecordError
    if any(not column.nullable or column.type.parts for column in columns.values()):
        raise _RecordByRecordError
    return AvroColumns(steps, list(columns.values()))


def _leaves(schema: AvroSchema, record: Node, within: str = "", depth: int = 0) -> Iterator[tuple[str, Node]]:
    """The fields, those of a record in it with their path, in their order."""
    fields = schema.fields(record)
    if depth > _DEEPEST or len(fields) != len(record.json["fields"]) or not fields:
        raise _RecordByRecordError
    for name, node in fields.items():
        if "." in name:
            raise _RecordByRecordError
        if schema.union(node) is None and schema.is_record(inner := next(schema.types(node))):
            yield from _leaves(schema, inner, f"{within}{name}.", depth + 1)
        else:
            yield f"{within}{name}", node


def _step(schema: AvroSchema, node: Node, column: Column | None, *, is_text: bool) -> _Step:
    """
    Args:
        is_text: whether text is none that is not UTF-8, also where it goes into no column.
    """
    branches = schema.union(node)
    only = [each for each in branches or list(schema.types(node)) if type_of(each) != "null"]
    if len(only) != 1 or (branches is not None and len(branches) != 2):
        raise _RecordByRecordError
    (leaf,) = only
    read = _reader(leaf)
    make: _Make | None = None
    if column is not None:
        make = _maker(column, AvroDeclared(schema, leaf), leaf)
    elif is_text and type_of(leaf) == "string":
        make = _text

    def whole(lanes: Lanes) -> pa.Array | None:
        found = read(lanes)
        return None if make is None else make(lanes, found)

    if branches is None:
        return whole
    return partial(_in_union, whole, branches.index(leaf), column)


def _in_union(whole: _Step, branch: int, column: Column | None, lanes: Lanes) -> pa.Array | None:
    """Of two branches, the other of which is null."""
    number = lanes.integers()
    present = number == branch
    lanes.doubt(~present & (number != 1 - branch))
    if column is not None and not column.nullable:
        lanes.doubt(~present)
    if present.all():
        return whole(lanes)
    if not present.any():
        return None if column is None else pa.nulls(len(lanes), column.arrow_type)
    chosen = np.flatnonzero(present)
    some = lanes.some(chosen)
    values = whole(some)
    lanes.join(chosen, some)
    if column is None or values is None:
        return None
    return values.take(pa.array(present.cumsum() - 1, pa.int64(), mask=~present))


def _reader(leaf: Node) -> _Read:
    match type_of(leaf):
        case "int" | "long":
            return Lanes.integers
        case "boolean":
            return Lanes.booleans
        case "float" | "double" as kind:
            size = 4 if kind == "float" else 8
            return lambda lanes: lanes.fixed(size).rows(size).view(f"<f{size}").ravel()
        case "string" | "bytes":
            return Lanes.spans
        case "fixed":
            return partial(Lanes.fixed, size=leaf.json["size"])
        case "enum":
            return partial(_symbol_number, len(leaf.json["symbols"]))
    raise _RecordByRecordError


def _symbol_number(symbols: int, lanes: Lanes) -> Integers:
    number = lanes.integers()
    unknown = (number < 0) | (number >= symbols)
    lanes.doubt(unknown)
    number[unknown] = 0
    return number


def _maker(column: Column, declared: AvroDeclared, leaf: Node) -> _Make:
    of, avro = column.type, type_of(leaf)
    if of.is_text:
        make = _text_maker(column, declared, leaf)
    elif of.decimal is not None:
        make = _decimal_maker(column, of.decimal, declared, avro)
    elif of.integers is not None:
        make = _integer_maker(column, of.integers, declared, avro)
    elif of.kind in ("Float32", "Float64") and column.limits is None and avro in ("int", "long", "float", "double"):
        make = partial(_floats, column)
    elif of.kind == "Bool" and avro == "boolean":
        make = _booleans
    elif of.kind == "UUID" and avro == "string":
        make = _uuids
    elif of.kind == "UUID" and avro == "fixed" and declared.logical_type == "uuid" and declared.size == UUID_BYTES:
        make = _uuid_bytes
    else:
        raise _RecordByRecordError
    return make


def _text_maker(column: Column, declared: AvroDeclared, leaf: Node) -> _Make:
    match type_of(leaf):
        case "enum":
            return _symbol_maker(column, declared, leaf)
        case "string":
            return partial(_texts, column)
    raise _RecordByRecordError


def _integer_maker(column: Column, known: range, declared: AvroDeclared, avro: str) -> _Make:
    """Of what is kept as integers: numbers, instants and dates."""
    per_second = TICKS_PER_SECOND.get(declared.logical_type or "")
    precision = column.precision
    fits = column.type.is_number or (per_second if precision is not None else declared.logical_type == "date")
    if avro not in ("int", "long") or not fits:
        raise _RecordByRecordError
    make = partial(_integers, column, *_allowed(known, column.limits or Limits()))
    if precision is not None and per_second is not None:
        in_ticks = partial(_in_ticks, per_second, 10**precision)
        return lambda lanes, values: make(lanes, in_ticks(lanes, values))
    return make


def _allowed(known: range, limits: Limits) -> tuple[range, Integers | None]:
    """Which of the integers of a type are within the limits: from where to where, and the only ones, if so."""
    numbers = [Decimal(each) for each in limits.one_of or ()]
    if not all(each is None or each.is_finite() for each in (limits.min, limits.max, *numbers)):
        raise _RecordByRecordError
    low = known.start if limits.min is None else max(known.start, math.ceil(limits.min))
    end = known.stop if limits.max is None else min(known.stop, math.floor(limits.max) + 1)
    # A number beyond 64 bits would have NumPy compare floats.
    only = [int(each) for each in numbers if each == int(each) and -(1 << 63) <= each < 1 << 63]
    return range(low, end), None if limits.one_of is None else np.array(only, np.int64)


def _array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Values as they lie in memory, one for each entry of the first axis."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _doubt_beyond(lanes: Lanes, values: Integers, low: int, end: int) -> None:
    """``low``, ``end``: half-open."""
    if low > -(1 << 63):
        lanes.doubt(values < low)
    if end < 1 << 63:
        lanes.doubt(values >= end)


def _in_ticks(per_second: int, ticks: int, lanes: Lanes, values: Integers) -> Integers:
    """``per_second``, ``ticks``: what a second has as it was written, and as the column keeps it."""
    if ticks > per_second:
        times = ticks // per_second
        _doubt_beyond(lanes, values, -_LARGEST // times, _LARGEST // times)
        return values * times
    return values // (per_second // ticks)


def _integers(column: Column, known: range, only: Integers | None, lanes: Lanes, values: Integers) -> pa.Array:
    _doubt_beyond(lanes, values, known.start, known.stop)
    if only is not None:
        lanes.doubt(~np.isin(values, only))
    kind = column.arrow_type
    return _array(values.astype(f"{'u' if pa.types.is_unsigned_integer(kind) else 'i'}{kind.bit_width // 8}"), kind)


def _decimal_maker(column: Column, declared_digits: tuple[int, int], declared: AvroDeclared, avro: str) -> _Make:
    digits, scale = declared_digits
    if column.limits is None:
        if avro in ("int", "long") and 10**scale < _LARGEST:
            return partial(_decimals, column, 10**scale, 10 ** (digits - scale))
        if avro in ("bytes", "fixed") and declared.scale == scale:
            return lambda lanes, spans: _decimals(column, 1, 10**digits, lanes, _unscaled(lanes, spans))
    raise _RecordByRecordError


def _unscaled(lanes: Lanes, spans: Spans) -> Integers:
    lanes.doubt((spans.sizes < 1) | (spans.sizes > 8))
    return spans.integers()


def _decimals(column: Column, times: int, end: int, lanes: Lanes, values: Integers) -> pa.Array:
    """``end``: the first number that has too many digits before the point."""
    end = min(end, _LARGEST // times)
    _doubt_beyond(lanes, values, 1 - end, end)
    words = np.empty((len(values), column.arrow_type.bit_width // 64), np.int64)
    words[:, 0] = values * times
    words[:, 1:] = (words[:, :1] < 0) * -1
    return _array(words, column.arrow_type)


def _floats(column: Column, lanes: Lanes, values: npt.NDArray[Any]) -> pa.Array:
    with np.errstate(over="ignore", invalid="ignore"):
        doubles = values.astype(np.float64)
        singles = doubles.astype(np.float32)
    if column.type.kind == "Float64":
        return pa.array(doubles)
    lanes.doubt(np.isinf(singles) & np.isfinite(doubles))
    return pa.array(singles)


def _booleans(_lanes: Lanes, values: Flags) -> pa.Array:
    return pa.array(values)


def _uuid_bytes(_lanes: Lanes, spans: Spans) -> pa.Array:
    return _array(spans.rows(UUID_BYTES), pa.binary(UUID_BYTES))


def _symbol_maker(column: Column, declared: AvroDeclared, leaf: Node) -> _Make:
    symbols = leaf.json["symbols"]
    convert = column.converter(declared)

    def fits(symbol: str) -> bool:
        try:
            convert(symbol)
        except (WrongValueError, OutOfRangeError):
            return False
        return True

    misfit = np.array([not fits(symbol) for symbol in symbols], np.bool_)
    texts = pa.array(symbols, pa.string())

    def make(lanes: Lanes, numbers: Integers) -> pa.Array:
        lanes.doubt(misfit[numbers])
        return texts.take(pa.array(numbers))

    return make


def _text(lanes: Lanes, spans: Spans) -> pa.Array:
    values = spans.arrow()
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        broken = np.array([not _is_utf8(each) for each in values.to_pylist()], np.bool_)
    lanes.doubt(broken)
    return Spans(spans.data, spans.begins, np.where(broken, 0, spans.sizes)).arrow().cast(pa.string())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _texts(column: Column, lanes: Lanes, spans: Spans) -> pa.Array:
    values = _text(lanes, spans)
    limits = column.limits or Limits()
    for known in (column.type.symbols, limits.one_of):
        if known is not None:
            lanes.doubt(~_flags(pc.is_in(values, pa.array(sorted(known), pa.string()))))
    if limits.min_length is not None or limits.max_length is not None:
        end = 1 << 63 if limits.max_length is None else limits.max_length + 1
        _doubt_beyond(lanes, pc.utf8_length(values).to_numpy(), limits.min_length or 0, end)
    return values


def _flags(values: pa.Array) -> Flags:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


def _uuids(lanes: Lanes, spans: Spans) -> pa.Array:
    rows = spans.rows(_UUID_CHARACTERS)
    # Eight digits in a word, of which there are four; the dashes stand between.
    words = np.empty((4, len(rows)), np.uint64)
    words[0] = _at(rows, 0, "<u8")
    words[1] = _at(rows, 9, "<u4") | _at(rows, 14, "<u4").astype(np.uint64) << np.uint64(32)
    words[2] = _at(rows, 19, "<u4") | _at(rows, 24, "<u4").astype(np.uint64) << np.uint64(32)
    words[3] = _at(rows, 28, "<u8")
    text = words.view(np.uint8)
    hexadecimal = (text - ord("0") < 10) | ((text | 0x20) - ord("a") < 6)
    lanes.doubt((hexadecimal.view(np.uint64) != _EACH_BYTE).any(axis=0))
    for dash in (8, 13, 18, 23):
        lanes.doubt(rows[:, dash] != ord("-"))
    lanes.doubt(spans.sizes != _UUID_CHARACTERS)
    nibbles = ((text & 0xF) + (text >> 6) * 9).view(np.uint64)
    found = (nibbles << np.uint64(4) | nibbles >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    found = (found | found >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    found |= found >> np.uint64(16)
    return _array(found.astype("<u4").T, pa.binary(UUID_BYTES))


def _at(rows: npt.NDArray[np.uint8], place: int, kind: str) -> npt.NDArray[Any]:
    """The number of a NumPy type at a place of each row."""
    return np.ndarray((len(rows),), kind, rows, place, rows.strides[:1])


_EACH_BYTE = np.uint64(0x0101010101010101)

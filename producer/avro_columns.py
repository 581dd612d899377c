"""Avro of many events at once, a field of all of them after the other, as Avro is its fields one after the other.

What is put together here is what the reference serializer makes of each event by itself (a test compares them on events
of every type): a value that comes again and again is its work, once, and so is each value for which there is no faster
way. Numbers, truths and UUIDs in arrays are written here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import fastavro
import numpy as np
import numpy.typing as npt

from etar.rows.blocks import UUID_BYTES, Block, BlockColumn, Drawn, is_uuids, plain_values
from producer.encoding import NoEventError

_Bytes: TypeAlias = npt.NDArray[np.uint8]
_Part: TypeAlias = "_Bytes | list[bytes]"
"""Some fields of each row: as many bytes in all, as an array of rows and bytes, or bytes by themselves."""

_UUID_GROUPS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
_UUID_AVRO = 1 + UUID_BYTES * 2 + len(_UUID_GROUPS) - 1
_NUMBERS = {"int": "iu", "long": "iu", "float": "iuf", "double": "iuf", "boolean": "b"}
"""By Avro's type, the kinds of NumPy's that are written here."""

_LARGEST_FLOAT = float(np.finfo(np.float32).max)


class AvroColumns:
    """The bodies of records of one schema, behind a header.

    Args:
        schema: the text of a record's schema.
    """

    def __init__(self, schema: str, header: bytes) -> None:
        record = json.loads(schema)
        whole: dict[str, Any] = {}
        fastavro.parse_schema(record, named_schemas=whole)
        outer = next(iter(whole))  # named before what stands in it, as it may be within itself
        names = {outer: whole[outer]}
        self._fields = {
            field["name"]: _Field(record, number, field, names) for number, field in enumerate(record["fields"])
        }
        self._header = np.frombuffer(header, np.uint8)

    def encoded(self, block: Block, rows: int) -> list[bytes]:
        """The value of each record.

        Raises:
            NoEventError: a column is of no field.
            Exception: whatever the serializer raises of a value that is not of the schema.
        """
        if unknown := block.keys() - self._fields.keys():
            raise NoEventError(f"{', '.join(sorted(unknown))}: no field of the schema")
        parts: list[list[bytes]] = []
        beside: list[_Bytes] = [np.broadcast_to(self._header, (rows, len(self._header)))]
        for name, field in self._fields.items():
            part = field.encoded(block.get(name, Drawn(_LEFT_OUT, np.zeros(rows, np.intp))))
            if isinstance(part, np.ndarray):
                beside.append(part)
                continue
            if beside:
                parts.append(apart(np.concatenate(beside, axis=1)))
                beside = []
            parts.append(part)
        if beside:
            parts.append(apart(np.concatenate(beside, axis=1)))
        return list(map(b"".join, zip(*parts, strict=True)))


class _Absent:
    """In place of a value that a record does without, for its schema's default."""


_LEFT_OUT = (_Absent(),)


class _Shape(NamedTuple):
    """A type that has a way of its own: what it is, and what stands before a value and for null in a union."""

    plain: str
    logical: str | None
    before: bytes = b""
    null: bytes | None = None


class _Field:
    def __init__(self, record: dict[str, Any], number: int, field: dict[str, Any], names: dict[str, Any]) -> None:
        # A record of this field alone is what this field is in the whole one; a name of a type holds for the fields
        # behind it.
        alone = {**record, "name": f"{record['name']}_{number}", "fields": [field]}
        self._schema = fastavro.parse_schema(alone, named_schemas=names)
        self._name = field["name"]
        self._shape = _shape_of(field["type"])
        self._drawn = Remembered(lambda values: _together([self._one(value) for value in values]))

    def encoded(self, column: BlockColumn) -> _Part:
        if isinstance(column, Drawn):
            table = self._drawn.of(column.values)
            taken = np.take(table, column.places, axis=0)
            return taken if taken.ndim > 1 else taken.tolist()
        part = None
        if isinstance(column, np.ndarray) and self._shape is not None:
            part = _uuids(column, self._shape) if is_uuids(column) else _numbers(column, self._shape)
        return [self._one(value) for value in plain_values(column)] if part is None else part

    def _one(self, value: Any) -> bytes:
        body = io.BytesIO()
        event = {} if isinstance(value, _Absent) else {self._name: value}
        fastavro.schemaless_writer(body, self._schema, event, strict_allow_default=True)
        return body.getvalue()


class Remembered:
    """What was made of the values of a :class:`etar.rows.blocks.Drawn`, for the blocks that have the same ones."""

    def __init__(self, make: Callable[[Sequence[Any]], npt.NDArray[Any]]) -> None:
        self._make = make
        self._values: Sequence[Any] | None = None
        self._made: npt.NDArray[Any] = np.empty(0)

    def of(self, values: Sequence[Any]) -> npt.NDArray[Any]:
        if values is not self._values:
            self._made, self._values = self._make(values), values
        return self._made


def as_objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """An array of the values, whatever they are."""
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _shape_of(kind: Any) -> _Shape | None:
    """None: values of the type are left to the serializer."""
    if isinstance(kind, list):
        [value, *others] = [each for each in kind if each != "null"] or [None]
        if others or len(kind) != 2 or (shape := _shape_of(value)) is None:
            return None
        place = kind.index(value)
        return shape._replace(before=_branch(place), null=_branch(1 - place))
    if isinstance(kind, str):
        return _Shape(kind, None) if kind in _NUMBERS else None
    shape = _Shape(kind["type"], kind.get("logicalType")) if isinstance(kind["type"], str) else None
    if shape is None or (shape.plain not in _NUMBERS and shape.logical != "uuid"):
        return None
    return shape


def _branch(place: int) -> bytes:
    return bytes((place << 1,))


def _together(encoded: Sequence[bytes]) -> npt.NDArray[Any]:
    """A table of values: of rows and bytes, where all are equally long, else of bytes by themselves."""
    [width, *others] = {len(each) for each in encoded} or {0}
    if others or not width:
        return as_objects(encoded)
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(-1, width)


def apart(content: _Bytes) -> list[bytes]:
    """Each row's bytes by themselves."""
    return np.ascontiguousarray(content).view(f"V{content.shape[1]}").ravel().tolist()


def _before(shape: _Shape, content: _Bytes) -> _Bytes:
    """The same with the branch of a union in front."""
    if not shape.before:
        return content
    made = np.empty((len(content), content.shape[1] + 1), np.uint8)
    made[:, 0] = shape.before[0]
    made[:, 1:] = content
    return made


def _uuids(column: _Bytes, shape: _Shape) -> _Bytes | None:
    if shape.logical != "uuid":
        return None
    if shape.plain == "fixed":
        return _before(shape, column)
    digits = np.frombuffer(column.tobytes().hex().encode(), np.uint8).reshape(-1, 2 * UUID_BYTES)
    text = np.full((len(column), _UUID_AVRO), ord("-"), np.uint8)
    text[:, 0] = (_UUID_AVRO - 1) << 1
    for number, (first, end) in enumerate(_UUID_GROUPS, 1):
        text[:, first + number : end + number] = digits[:, first:end]
    return _before(shape, text)


def _numbers(column: npt.NDArray[Any], shape: _Shape) -> _Part | None:
    """None: some value is left to the serializer, as it is or may be none of the type."""
    nulls = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    if nulls is not None and not nulls.any():
        nulls = None
    given = np.ma.getdata(column) if nulls is None else column[~nulls].data
    if (
        given.ndim != 1
        or given.dtype.kind not in _NUMBERS.get(shape.plain, "")
        or (nulls is not None and not shape.null)
    ):
        return None
    content, widths = None, None
    match shape.plain:
        case "int" | "long":
            if not np.can_cast(given.dtype, np.int64):  # unsigned, of 64 bits
                return None
            content, widths = _varints(given.astype(np.int64))
        case "double":
            content = given.astype("<f8").view(np.uint8).reshape(-1, 8)
        case "float":
            exact = given.astype(np.float64)
            if (np.abs(exact[np.isfinite(exact)]) > _LARGEST_FLOAT).any():
                return None
            content = exact.astype("<f4").view(np.uint8).reshape(-1, 4)
        case _:
            content = given.astype(np.uint8).reshape(-1, 1)
    content = _before(shape, content)
    if nulls is None and widths is None:
        return content
    return _of_widths(content, None if widths is None else widths + len(shape.before), nulls, shape.null)


def _varints(numbers: npt.NDArray[np.int64]) -> tuple[_Bytes, npt.NDArray[np.int64] | None]:
    """Seven bits a byte, the lowest first, each but the last with the eighth set; and how many bytes each number has,
    None: all of them."""
    bits = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    least, most = (
        (max(1, -(-int(each).bit_length() // 7)) for each in (bits.min(), bits.max())) if len(bits) else (1, 1)
    )
    made = np.empty((len(bits), most), np.uint8)
    widths = np.full(len(bits), most)
    for place in range(most):
        made[:, place] = (bits >> np.uint64(7 * place)) & np.uint64(0x7F) | np.uint64(0x80)
        if least <= place + 1 < most:
            widths -= bits < np.uint64(1 << (7 * (place + 1)))
    made[np.arange(len(bits)), widths - 1] &= 0x7F
    return made, None if least == most else widths


def _of_widths(
    content: _Bytes, widths: npt.NDArray[np.int64] | None, nulls: npt.NDArray[np.bool_] | None, null: bytes | None
) -> list[bytes]:
    """Bytes of each row; those of ``content`` are the rows that are not null."""
    made = np.empty(len(content), object)
    if widths is None:
        made[:] = apart(content)
    else:
        for width in np.unique(widths).tolist():
            rows = np.flatnonzero(widths == width)
            made[rows] = apart(content[rows, :width])
    if nulls is None:
        return made.tolist()
    whole = as_objects([null] * len(nulls))
    whole[~nulls] = made
    return whole.tolist()  # type: ignore[no-any-return]

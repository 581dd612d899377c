"""Most rows of a piece as records, whole columns at a time, with pyarrow and NumPy: a fraction of what each row by
itself costs.

Here is only what nearly every row looks like. What else a value may be is null in its column, and so is its row: those
rows are left to ``input.py``, which says what is right (a test compares the two on rows of every kind).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etar.rows.columns import Column, plain_array, plain_values
from etar.rows.values import RowError, Values

from .input_cells import (
    DAY_MS,
    FIELDS,
    SIX_BYTE_TIMES,
    UUID_AVRO,
    Cell,
    Memory,
    event_id_cell,
    is_canonical_uuid,
    key_of,
    uuid_cell,
)

_Array: TypeAlias = Any
"""An Arrow array of one value a row, or an Arrow scalar that is the same in all."""

_NO_TEXT = pa.scalar(b"", pa.binary())
_SOME_SECOND = "2026-11-21T10:31:05"
_UUID_LENGTH = 36
_DASHES = [8, 13, 18, 23]
_DIGITS = [place for place in range(_UUID_LENGTH) if place not in _DASHES]
_IS_DIGIT = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdef", np.uint8))
_REMEMBERED = 50_000


class Records(NamedTuple):
    """What became of rows: of those that are left, ``values`` is null, and the others mean nothing."""

    times: npt.NDArray[np.int64]
    """Milliseconds since the epoch."""
    keys: list[bytes]
    values: pa.BinaryArray


class _Field(NamedTuple):
    """A column twice: as Avro, and as JSON, as it stands in the text that an event's id follows from."""

    avro: _Array
    json: Callable[[], _Array]


class WholeColumns:
    """Makes records of columns.

    Args:
        memories: of each field, what reads and encodes one value.
        session: of a user (a UUID in its usual form) and a day since the epoch.
        status_of: of an error code.
    """

    def __init__(
        self,
        values: Values,
        header: bytes,
        memories: Mapping[str, Memory],
        *,
        session: Callable[[str, int], Cell],
        status_of: Callable[[Cell], Cell],
    ) -> None:
        self._header = pa.scalar(header, pa.binary())
        self._memories = memories
        self._users = _Users(session)
        self._instants = _Instants(memories["event_time"])
        self._status_of = status_of
        # A word that means "not given" may look like a value.
        self._able = not any(is_canonical_uuid(word) or word[:1].isdigit() for word in values.nulls)

    def records(self, columns: Mapping[str, Column], rows: int) -> Records | None:
        """The records of ``rows`` rows; None: all of them are left."""
        arrays = {name: _as_array(column) for name, column in columns.items()}
        if not self._able or any(array is None for array in arrays.values()):
            return None
        users, times = arrays.get("user_id"), arrays.get("event_time")
        if users is None or times is None or not pa.types.is_string(users.type):
            return None
        instants = self._instants.read(times)
        if instants is None:
            return None
        fields = self._fields(arrays, instants)
        met = self._users.of(users, instants)
        both = pa.array([user and user.avro for user in met], pa.binary())
        fields["user_id"] = _uuid_field(pc.binary_slice(both, 0, 1 + _UUID_LENGTH))
        sessions = pc.binary_slice(both, 1 + _UUID_LENGTH, 2 + 2 * _UUID_LENGTH)
        if (given := arrays.get("session_id")) is not None:
            sessions = _or_where_not_given(given, _uuids(given), sessions)
        fields["session_id"] = _uuid_field(sessions)
        ids = self._event_ids(arrays.get("event_id"), fields, rows)
        others = [fields[name].avro for name in FIELDS if name != "event_id"]
        if "session_id" not in arrays:  # nearly always: both at once
            others[:2] = [both]
        return Records(
            instants, [user.key if user else b"" for user in met], _joined(self._header, ids, *others, between=_NO_TEXT)
        )

    def _fields(self, arrays: Mapping[str, pa.Array], instants: npt.NDArray[np.int64]) -> dict[str, _Field]:
        """All but the ids."""
        fields = {
            name: self._by_value(name, arrays.get(name))
            for name in ("event_type", "product_id", "amount", "error_code", "device", "country")
        }
        fields["status"] = self._by_value("error_code", arrays.get("error_code"), self._status_of)
        if (column := arrays.get("status")) is not None:
            given, derived = self._by_value("status", column), fields["status"]
            missing = pc.equal(given.avro, _NO_TEXT)
            fields["status"] = _Field(
                pc.if_else(missing, derived.avro, given.avro),
                lambda: pc.if_else(missing, derived.json(), given.json()),
            )
        fields["event_time"] = _time_field(instants)
        return fields

    def _by_value(self, name: str, column: pa.Array | None, of: Callable[[Cell], Cell] = lambda cell: cell) -> _Field:
        """A column of values that come again and again: each is read once. ``of`` makes another field's cell of it."""
        memory = self._memories[name]
        if column is None:
            cell = memory.cell(None)
            if isinstance(cell, RowError):
                missing = pa.scalar(None, pa.binary())
                return _Field(missing, lambda: missing)
            _, avro, text = of(cell)
            return _Field(pa.scalar(avro, pa.binary()), lambda: pa.scalar(text.encode(), pa.binary()))
        encoded = column.dictionary_encode("encode")
        cells = [
            None if isinstance(cell, RowError) else of(cell) for cell in memory.read(plain_values(encoded.dictionary))
        ]
        return _Field(
            pa.array([cell and cell[1] for cell in cells], pa.binary()).take(encoded.indices),
            lambda: pa.array([cell and cell[2].encode() for cell in cells], pa.binary()).take(encoded.indices),
        )

    def _event_ids(self, column: pa.Array | None, fields: Mapping[str, _Field], rows: int) -> pa.BinaryArray:
        given = _uuids(column) if column is not None else None
        if column is not None and given is not None and not pc.any(_not_given(column)).as_py():
            return given
        texts = (fields[name].json() for name in FIELDS if name != "event_id")
        content = _joined(*texts, between=pa.scalar(b", ", pa.binary()))
        if column is not None:
            content = pc.if_else(_not_given(column), content, pa.scalar(None, pa.binary()))
        derived = pa.array([text and event_id_cell(text)[1] for text in content.to_pylist()], pa.binary(), size=rows)
        return derived if column is None else _or_where_not_given(column, given, derived)


class _User(NamedTuple):
    """What a user's records of a day have in common."""

    avro: bytes
    """Of user and session."""
    key: bytes


class _Users:
    """Users that were met, by their text and the day."""

    def __init__(self, session: Callable[[str, int], Cell]) -> None:
        self._session = session
        self._days: dict[int, _UsersOfDay] = {}

    def of(self, column: pa.StringArray, instants: npt.NDArray[np.int64]) -> list[_User | None]:
        """Of each row; None: not a UUID in its usual form."""
        if sum(map(len, self._days.values())) > _REMEMBERED:
            self._days.clear()
        texts = column.view(pa.binary()).to_pylist()
        days = instants // DAY_MS
        if days.size and days.min() == days.max():
            return list(map(self._of_day(int(days[0])).__getitem__, texts))
        return [self._of_day(day)[text] for text, day in zip(texts, days.tolist(), strict=True)]

    def _of_day(self, day: int) -> _UsersOfDay:
        users = self._days.get(day)
        if users is None:
            users = self._days[day] = _UsersOfDay(self._session, day)
        return users


class _UsersOfDay(dict[bytes | None, _User | None]):
    def __init__(self, session: Callable[[str, int], Cell], day: int) -> None:
        super().__init__()
        self._session = session
        self._day = day

    def __missing__(self, content: bytes | None) -> _User | None:
        user = self[content] = None if content is None else self._user(content)
        return user

    def _user(self, content: bytes) -> _User | None:
        with suppress(UnicodeDecodeError):
            text = content.decode()
            if is_canonical_uuid(text):
                return _User(uuid_cell(text)[1] + self._session(text, self._day)[1], key_of(text))
        return None


class _Instants:
    """Event times as numbers, or as text: date and time to the second, and what stands behind them in ISO 8601."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._rests: dict[str, int | None] = {}

    def read(self, column: pa.Array) -> npt.NDArray[np.int64] | None:
        """Milliseconds since the epoch, 0 where a time is left; None: all are."""
        if pa.types.is_string(column.type):
            instants = self._of_text(column)
        elif pa.types.is_int64(column.type):
            instants = pc.fill_null(column, 0).to_numpy()
        else:
            return None
        if instants is None:
            return None
        return np.where((instants >= SIX_BYTE_TIMES.start) & (instants < SIX_BYTE_TIMES.stop), instants, 0)

    def _of_text(self, column: pa.StringArray) -> npt.NDArray[np.int64] | None:
        for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
            with suppress(pa.ArrowInvalid):  # some have a zone, and some have none or one that ISO 8601 does not know
                return pc.fill_null(column.cast(kind).view(pa.int64()), 0).to_numpy() // 1000  # type: ignore[no-any-return]
        try:
            # No zone, as none fits in: the cast refuses one, and whatever is not digits in their places.
            start = pc.utf8_slice_codeunits(column, 0, len(_SOME_SECOND))
            seconds = start.cast(pa.timestamp("s")).view(pa.int64())
            rests = pc.utf8_slice_codeunits(column, len(_SOME_SECOND)).dictionary_encode("encode")
        except pa.ArrowInvalid:
            return None
        if len(self._rests) > _REMEMBERED:
            self._rests.clear()
        offsets = pa.array([self._rest(rest) for rest in rests.dictionary.to_pylist()], pa.int64())
        times = pc.add(pc.multiply(seconds, 1000), offsets.take(rests.indices))
        return pc.fill_null(times, 0).to_numpy()  # type: ignore[no-any-return]

    def _rest(self, rest: str | None) -> int | None:
        """The milliseconds that stand behind the seconds, the zone's taken off; None: unknown."""
        if rest is None:
            return None
        if rest not in self._rests:
            cell = self._memory.cell(_SOME_SECOND + rest)
            known = not isinstance(cell, RowError)
            self._rests[rest] = cell[0] - self._memory.cell(_SOME_SECOND)[0] if known else None
        return self._rests[rest]


def _as_array(column: Column) -> pa.Array | None:
    """The column with its values as text, numbers or bytes; None: they are of several types, or of another."""
    with suppress(pa.ArrowException, UnicodeEncodeError, OverflowError):
        if isinstance(column, pa.Array):
            column = plain_array(column)
            kind = column.type
            if pa.types.is_large_string(kind):
                return column.cast(pa.string())
            if pa.types.is_integer(kind):
                return column.cast(pa.int64())
            usable = pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_floating(kind)
            return column if usable else None
        match set(map(type, column)) - {type(None)}:
            case types if types <= {str}:
                return pa.array(column, pa.string())
            case types if types <= {int}:
                return pa.array(column, pa.int64())
    return None


def _not_given(column: pa.Array) -> pa.BooleanArray:
    """Where a column that may be text is null or empty."""
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return column.is_null()
    return pc.equal(pc.fill_null(pc.binary_length(column), 0), 0)


def _or_where_not_given(column: pa.Array, given: _Array, derived: _Array) -> pa.Array:
    return pc.if_else(_not_given(column), derived, given)


def _joined(*fields: _Array, between: pa.Scalar) -> pa.BinaryArray:
    return pc.binary_join_element_wise(*fields, between, null_handling="emit_null")


def _uuid_field(avro: pa.BinaryArray) -> _Field:
    quote, nothing = pa.scalar(b'"', pa.binary()), _NO_TEXT
    return _Field(avro, lambda: _joined(quote, pc.binary_slice(avro, 1, 1 + _UUID_LENGTH), quote, between=nothing))


def _uuids(column: pa.Array) -> pa.BinaryArray:
    """Avro of UUIDs as text in their usual form, in which they are sent; null: anything else."""
    rows = len(column)
    if not pa.types.is_string(column.type):
        return pa.nulls(rows, pa.binary())
    long_enough = pc.fill_null(pc.equal(pc.binary_length(column), _UUID_LENGTH), False)
    of_length = column if long_enough.true_count == rows else column.filter(long_enough)
    _, offsets, content = of_length.buffers()
    if not len(of_length):
        return pa.nulls(rows, pa.binary())
    first = np.frombuffer(offsets, np.int32)[of_length.offset]
    characters = np.frombuffer(content, np.uint8, len(of_length) * _UUID_LENGTH, first).reshape(-1, _UUID_LENGTH)
    usual = _IS_DIGIT[characters][:, _DIGITS].all(axis=1) & (characters[:, _DASHES] == ord("-")).all(axis=1)
    avro = np.empty((len(of_length), 1 + _UUID_LENGTH), np.uint8)
    avro[:, 0] = UUID_AVRO[0]
    avro[:, 1:] = characters
    found = _binary_array(avro)
    if not usual.all():
        found = pc.if_else(pa.array(usual), found, pa.scalar(None, pa.binary()))
    return found if of_length is column else pc.replace_with_mask(pa.nulls(rows, pa.binary()), long_enough, found)


def _time_field(instants: npt.NDArray[np.int64]) -> _Field:
    """Avro of a long: seven bits a byte, the lowest first; each but the last has the eighth set. Null for 0."""
    bits = instants << 1
    avro = np.empty((len(instants), 6), np.uint8)
    for place in range(6):
        avro[:, place] = bits >> 7 * place & 0x7F | (0x80 if place < 5 else 0)
    known = instants != 0
    found = _binary_array(avro)
    if not known.all():
        found = pc.if_else(pa.array(known), found, pa.scalar(None, pa.binary()))
    return _Field(found, lambda: pa.array(instants).cast(pa.string()).view(pa.binary()))


def _binary_array(content: npt.NDArray[np.uint8]) -> pa.BinaryArray:
    """Each row's bytes as a value."""
    rows, width = content.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(content)])

"""Rows of a file as records for Kafka, column by column: each value is read and encoded once, however often it stands.

Encoding goes field by field, because Avro is its fields one after the other: a country is encoded once for a million
rows. What comes out is what the registry's serializer makes of the same event (a test compares the two).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha1
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

import fastavro

from producer.traffic import Kind
from producer.user_event import SCHEMA_TEXT, UserEvent
from producer.values import EVENT_TIMES, FIELDS, REQUIRED, RowError, Values

_EVENT_IDS = uuid5(NAMESPACE_URL, "etar/input/events")
_SESSION_IDS = uuid5(NAMESPACE_URL, "etar/input/sessions")
_DAY_MS = 86_400_000

_REMEMBERED_VALUES = 50_000
_MEMORABLE = frozenset({str, int, bytes, type(None)})
"""Types whose equal values are the same value. Not float or bool: 1, 1.0 and True are equal to Python."""

_BATCH_OVERHEAD = 128
"""Bytes that a batch of one record has around key and value, at most."""

_SCHEMA = fastavro.parse_schema(json.loads(SCHEMA_TEXT))


class Row(NamedTuple):
    """An event of a file, ready to be sent: its time in milliseconds, Kafka's key and value."""

    event_time: int
    key: bytes
    value: bytes

    @property
    def kind(self) -> Kind:
        return Kind.EVENT

    @property
    def event(self) -> UserEvent:
        """The event, read from the value."""
        fields: Any = fastavro.schemaless_reader(io.BytesIO(self.value[5:]), _SCHEMA, None)
        return UserEvent(**fields | {"event_time": int(fields["event_time"].timestamp() * 1000)})


_Cell: TypeAlias = tuple[Any, bytes, str]
"""A value, its Avro, and it as JSON: as it stands in the text that an event's id follows from. Value None: it is not
given, and follows from other fields."""


class RowConverter:
    """Makes records of rows.

    Args:
        values: what the file's values mean.
        header: what stands before the Avro of a record: the magic byte and the schema's id.
        longest: bytes of the largest batch that the topic takes; None: no limit.
    """

    def __init__(self, values: Values, header: bytes, longest: int | None = None) -> None:
        self._header = header
        self._longest = None if longest is None else longest - _BATCH_OVERHEAD
        self._memories = {name: _memory_of(name, type_, values) for name, type_ in _FIELD_TYPES.items()}
        self._sessions: dict[tuple[str, int], _Cell] = {}
        self._success: _Cell = self._memories["status"].cell("success")
        self._error: _Cell = self._memories["status"].cell("error")

    def convert(self, columns: Mapping[str, Sequence[object]], rows: int) -> list[Row | RowError]:
        """A record for each of ``rows`` rows, or why it is none. A field without a column is not given.

        Not given, ``status`` is error if there is an error_code and else success, ``device`` and ``country`` are
        ``unknown``, and ``session_id`` is the user's for that day. An ``event_id`` that is not given follows from the
        other values, so that the same line, sent twice or in another file, is still one event.
        """
        errors: dict[int, RowError] = {}
        cells: dict[str, list[Any]] = {}
        for name in _READ_IN_ORDER:
            memory = self._memories[name]
            cells[name] = memory.read(columns[name]) if name in columns else [memory.cell(None)] * rows
            if memory.refused:
                for number, cell in enumerate(cells[name]):
                    if isinstance(cell, RowError):
                        errors.setdefault(number, cell)
        if errors:
            good = [number for number in range(rows) if number not in errors]
            cells = {name: [column[number] for number in good] for name, column in cells.items()}
        made = iter(self._made(cells))
        return [errors[number] if number in errors else next(made) for number in range(rows)] if errors else list(made)

    def _made(self, cells: dict[str, list[_Cell]]) -> Iterable[Row | RowError]:
        """Records of rows of which each has all cells; those that are not given are put in."""
        users = [cell[0] for cell in cells["user_id"]]
        times = [cell[0] for cell in cells["event_time"]]
        cells["session_id"] = [
            cell if cell[0] is not None else self._session(user, at)
            for cell, user, at in zip(cells["session_id"], users, times, strict=True)
        ]
        cells["status"] = [
            cell if cell[0] is not None else self._success if error_code[0] is None else self._error
            for cell, error_code in zip(cells["status"], cells["error_code"], strict=True)
        ]
        if any(cell[0] is None for cell in cells["event_id"]):
            others = zip(*(cells[name] for name in FIELDS if name != "event_id"), strict=True)
            cells["event_id"] = [
                cell if cell[0] is not None else _uuid_cell(_id_of(fields))
                for cell, fields in zip(cells["event_id"], others, strict=True)
            ]
        encoded = (map(itemgetter(1), cells[name]) for name in FIELDS)
        values = map(b"".join, zip(repeat(self._header, len(times)), *encoded, strict=True))
        keys = (bytes.fromhex(user.replace("-", "")) for user in users)
        made = map(Row, times, keys, values)
        return made if self._longest is None else map(self._checked, made)

    def _checked(self, row: Row) -> Row | RowError:
        size = len(row.key) + len(row.value)
        if self._longest is None or size <= self._longest:
            return row
        kind = f"the record is larger than the {self._longest} bytes that the topic takes"
        return RowError(kind, f"{kind}: {size}")

    def _session(self, user: str, event_time: int) -> _Cell:
        key = user, event_time // _DAY_MS
        cell = self._sessions.get(key)
        if cell is None:
            if len(self._sessions) > _REMEMBERED_VALUES:
                self._sessions.clear()
            self._sessions[key] = cell = _uuid_cell(str(uuid5(_SESSION_IDS, f"{key[0]}/{key[1]}")))
        return cell


class _Memory(dict[Any, Any]):
    """Cells of the values of one field that were met, or why a value is none."""

    def __init__(self, name: str, encode: Callable[[Any], bytes], values: Values) -> None:
        super().__init__()
        self._name = name
        self._encode = encode
        self._values = values
        self.refused = False
        """Whether any value was."""

    def read(self, column: Sequence[object]) -> list[Any]:
        if len(self) > _REMEMBERED_VALUES:
            self.clear()
            self.refused = False
        if _MEMORABLE.issuperset(map(type, column)):
            return list(map(self.__getitem__, column))
        return [self[value] if type(value) in _MEMORABLE else self.cell(value) for value in column]

    def __missing__(self, value: object) -> Any:
        cell = self[value] = self.cell(value)
        return cell

    def cell(self, value: object) -> Any:
        try:
            read = self._values.read(self._name, value)
            if read is None:
                return self._not_given()
        except RowError as error:
            self.refused = True
            return error
        return self._made(read)

    def _not_given(self) -> _Cell:
        if self._name in REQUIRED:
            kind = f"{self._name} is missing"
            raise RowError(kind)
        return (None, b"", "") if self._name in _DERIVED else self._made(_DEFAULTS.get(self._name))

    def _made(self, read: Any) -> _Cell:
        return read, self._encode(read), json.dumps(read)


class _Uuids(_Memory):
    """Those in the usual form, in which they are sent, are made without a look at what else they may be."""

    def cell(self, value: object) -> Any:
        if type(value) is str and _CANONICAL_UUID(value) and not self._values.has_nulls:
            return _uuid_cell(value)
        return super().cell(value)

    def _made(self, read: UUID) -> _Cell:
        return _uuid_cell(str(read))


class _EventIds(_Uuids):
    """Every row has its own: none is remembered."""

    def read(self, column: Sequence[object]) -> list[Any]:
        self.refused = False
        return list(map(self.cell, column))


class _Times(_Memory):
    """Most rows have their own, but seconds, and what stands behind them in ISO 8601, that others have, too."""

    def __init__(self, name: str, encode: Callable[[Any], bytes], values: Values) -> None:
        super().__init__(name, encode, values)
        self._seconds: dict[str, int] = {}
        self._rests: dict[str, int] = {}

    def read(self, column: Sequence[object]) -> list[Any]:
        if len(self._seconds) + len(self._rests) > _REMEMBERED_VALUES:
            self._seconds.clear()
            self._rests.clear()
        self.refused = False
        return list(map(self.cell, column))

    def cell(self, value: object) -> Any:
        if type(value) is int and value in _USUAL_TIMES:
            return self._made(value)
        if type(value) is not str:
            return super().cell(value)
        seconds, rest = self._seconds.get(value[:19]), self._rests.get(value[19:])
        if seconds is not None and rest is not None and seconds + rest in _USUAL_TIMES:
            return self._made(seconds + rest)
        cell = super().cell(value)
        if _TO_THE_SECOND(value) and isinstance(cell, tuple) and isinstance(start := super().cell(value[:19]), tuple):
            self._seconds[value[:19]], self._rests[value[19:]] = start[0], cell[0] - start[0]
        return cell

    def _made(self, read: int) -> _Cell:
        return read, _encode_time(read), str(read)


def _memory_of(name: str, type_: Any, values: Values) -> _Memory:
    schema = fastavro.parse_schema(type_)

    def encode(value: Any) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, value)
        return out.getvalue()

    match type_:
        case {"logicalType": "uuid"}:
            return (_EventIds if name == "event_id" else _Uuids)(name, encode, values)
        case {"logicalType": "timestamp-millis"}:
            return _Times(name, encode, values)
    return _Memory(name, encode, values)


_FIELD_TYPES = {field["name"]: field["type"] for field in json.loads(SCHEMA_TEXT)["fields"]}
_READ_IN_ORDER = (*REQUIRED, *(name for name in FIELDS if name not in REQUIRED))
_DEFAULTS = {"device": "unknown", "country": "unknown"}
_DERIVED = ("event_id", "session_id", "status")

_UUID_BYTES = b"H"
"""Avro of 36, the bytes that follow."""
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_TO_THE_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?![0-9])").match
_USUAL_TIMES = range(EVENT_TIMES.start, 2**41)
"""Milliseconds, from 1973 to 2039, that are six bytes of Avro."""
_PAIRS = [bytes((bits & 0x7F | 0x80, bits >> 7 | 0x80)) for bits in range(2**14)]
_LAST_PAIRS = [bytes((bits & 0x7F | 0x80, bits >> 7)) for bits in range(2**14)]


def _uuid_cell(text: str) -> _Cell:
    return text, _UUID_BYTES + text.encode(), f'"{text}"'


def _id_of(fields: Iterable[_Cell]) -> str:
    """``str(uuid5(…))`` without its detour by three objects: one is made for every event."""
    content = f"[{', '.join([cell[2] for cell in fields])}]".encode()
    digest = bytearray(sha1(_EVENT_IDS.bytes + content, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _encode_time(milliseconds: int) -> bytes:
    """Avro of a long: seven bits a byte, the lowest first; here two bytes at a time."""
    rest = milliseconds << 1
    if milliseconds in _USUAL_TIMES:
        return _PAIRS[rest & 0x3FFF] + _PAIRS[rest >> 14 & 0x3FFF] + _LAST_PAIRS[rest >> 28]
    out = []
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))

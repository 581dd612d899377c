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
from typing import Any, NamedTuple, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

import fastavro

from producer.traffic import Kind
from producer.user_event import SCHEMA_TEXT, UserEvent
from producer.values import FIELDS, REQUIRED, RowError, Values

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
        nothing: Sequence[object] = (None,) * rows
        errors: dict[int, RowError] = {}
        cells: dict[str, list[Any]] = {}
        for name in _READ_IN_ORDER:
            memory = self._memories[name]
            cells[name] = memory.read(columns.get(name, nothing))
            if memory.refused:
                for number, cell in enumerate(cells[name]):
                    if isinstance(cell, RowError):
                        errors.setdefault(number, cell)
        made: list[Row | RowError] = []
        for number, (event_id, user_id, session_id, event_type, status, event_time, *others) in enumerate(
            zip(*(cells[name] for name in FIELDS), strict=True)
        ):
            if errors and number in errors:
                made.append(errors[number])
                continue
            fields = (
                user_id,
                session_id if session_id[0] is not None else self._session(user_id[0], event_time[0]),
                event_type,
                status if status[0] is not None else self._status(others[_ERROR_CODE][0]),
                event_time,
                *others,
            )
            identified = event_id if event_id[0] is not None else _uuid_cell(_id_of(fields))
            value = self._header + identified[1] + b"".join([cell[1] for cell in fields])
            made.append(self._checked(Row(event_time[0], bytes.fromhex(user_id[0].replace("-", "")), value)))
        return made

    def _status(self, error_code: str | None) -> _Cell:
        return self._success if error_code is None else self._error

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
    """Most rows have their own: those in the usual form are made without a look at what was met."""

    def read(self, column: Sequence[object]) -> list[Any]:
        usual, nulls = _CANONICAL_UUID, self._values.has_nulls
        return [
            (value, _UUID_BYTES + value.encode(), f'"{value}"')
            if type(value) is str and usual(value) and not nulls
            else self.cell(value)
            for value in column
        ]

    def _made(self, read: UUID) -> _Cell:
        return _uuid_cell(str(read))


class _Times(_Memory):
    """Most rows have their own, but seconds, and what stands behind them in ISO 8601, that others have, too."""

    def __init__(self, name: str, encode: Callable[[Any], bytes], values: Values) -> None:
        super().__init__(name, encode, values)
        self._seconds: dict[str, int] = {}
        self._rests: dict[str, int] = {}

    def __missing__(self, value: object) -> Any:
        if type(value) is not str or not _TO_THE_SECOND(value):
            return super().__missing__(value)
        seconds, rest = self._seconds.get(value[:19]), self._rests.get(value[19:])
        if seconds is not None and rest is not None and seconds + rest in _USUAL_TIMES:
            return self._made(seconds + rest)
        cell = super().__missing__(value)
        if not isinstance(cell, RowError) and isinstance(start := self.cell(value[:19]), tuple):
            if len(self._seconds) + len(self._rests) > _REMEMBERED_VALUES:
                self._seconds.clear()
                self._rests.clear()
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
            return _Uuids(name, encode, values)
        case {"logicalType": "timestamp-millis"}:
            return _Times(name, encode, values)
    return _Memory(name, encode, values)


_FIELD_TYPES = {field["name"]: field["type"] for field in json.loads(SCHEMA_TEXT)["fields"]}
_READ_IN_ORDER = (*REQUIRED, *(name for name in FIELDS if name not in REQUIRED))
_DEFAULTS = {"device": "unknown", "country": "unknown"}
_DERIVED = ("event_id", "session_id", "status")
_ERROR_CODE = FIELDS.index("error_code") - FIELDS.index("event_time") - 1

_UUID_BYTES = b"H"
"""Avro of 36, the bytes that follow."""
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_TO_THE_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?![0-9])").match
_USUAL_TIMES = range(2**35, 2**41)
"""Milliseconds, from 1971 to 2039, that are six bytes of Avro."""
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

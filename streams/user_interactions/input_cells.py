"""One value of a field as a cell: read, as Avro and as JSON; each value once, however often it stands in a file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from hashlib import sha1
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

import fastavro

from etar.rows.layout import Layout
from etar.rows.values import (
    EVENT_TIMES,
    Reader,
    RowError,
    Values,
    one_of,
    read_milliseconds,
    read_text,
    read_uuid,
    refusal,
    whole,
)

from .event import EVENT_TYPES, FIELD_TYPES, STATUSES

LAYOUT = Layout(names=tuple(FIELD_TYPES), required=("user_id", "event_type", "event_time"))
FIELDS = LAYOUT.names

Cell: TypeAlias = tuple[Any, bytes, str]
"""A value, its Avro, and it as JSON: as it stands in the text that an event's id follows from. Value None: it is not
given, and follows from other fields."""

DAY_MS = 86_400_000
SIX_BYTE_TIMES = range(EVENT_TIMES.start, 2**41)
"""Milliseconds, from 1973 to 2039, that are six bytes of Avro."""
UUID_AVRO = b"H"
"""Avro of 36, the bytes that follow."""

is_canonical_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

_EVENT_IDS = uuid5(NAMESPACE_URL, "etar/input/events")
_SESSION_IDS = uuid5(NAMESPACE_URL, "etar/input/sessions")

_REMEMBERED_VALUES = 50_000
_MEMORABLE = frozenset({str, int, bytes, type(None)})
"""Types whose equal values are the same value. Not float or bool: 1, 1.0 and True are equal to Python."""

_DEFAULTS = {"device": "unknown", "country": "unknown"}
_DERIVED = ("event_id", "session_id", "status")


def _whole_number(name: str, value: object) -> int:
    number = whole(value)
    if number is None or not -(2**63) <= number < 2**63:
        raise refusal(name, value, "a whole number of minor units (cents), of at most 64 bits")
    return number


_READERS: MappingProxyType[str, Reader] = MappingProxyType(
    {
        "event_id": read_uuid,
        "user_id": read_uuid,
        "session_id": read_uuid,
        "event_type": one_of(EVENT_TYPES),
        "status": one_of(STATUSES),
        "event_time": read_milliseconds,
        "product_id": read_text,
        "amount": _whole_number,
        "error_code": read_text,
        "device": read_text,
        "country": read_text,
    }
)


class Memory(dict[Any, Any]):
    """Cells of the values of one field that were met, or why a value is none."""

    def __init__(self, name: str, encode: Callable[[Any], bytes], values: Values) -> None:
        super().__init__()
        self._name = name
        self._encode = encode
        self._values = values
        self._reader = _READERS[name]
        self._binary = 16 if self._reader is read_uuid else None
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
            given = self._values.given(self._name, value, self._binary)
            if given is None:
                return self._not_given()
            read = self._reader(self._name, given)
        except RowError as error:
            self.refused = True
            return error
        return self._made(read)

    def _not_given(self) -> Cell:
        if self._name in LAYOUT.required:
            kind = f"{self._name} is missing"
            raise RowError(kind)
        return (None, b"", "") if self._name in _DERIVED else self._made(_DEFAULTS.get(self._name))

    def _made(self, read: Any) -> Cell:
        return read, self._encode(read), json.dumps(read)


class _Uuids(Memory):
    """Those in the usual form, in which they are sent, are made without a look at what else they may be."""

    def cell(self, value: object) -> Any:
        if type(value) is str and is_canonical_uuid(value) and not self._values.nulls:
            return uuid_cell(value)
        return super().cell(value)

    def _made(self, read: UUID) -> Cell:
        return uuid_cell(str(read))


def memories_of(values: Values) -> dict[str, Memory]:
    """One of each field."""
    return {name: _memory_of(name, type_, values) for name, type_ in FIELD_TYPES.items()}


def _memory_of(name: str, type_: Any, values: Values) -> Memory:
    schema = fastavro.parse_schema(type_)

    def encode(value: Any) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, value)
        return out.getvalue()

    match type_:
        case {"logicalType": "uuid"}:
            return _Uuids(name, encode, values)
    return Memory(name, encode, values)


def uuid_cell(text: str) -> Cell:
    return text, UUID_AVRO + text.encode(), f'"{text}"'


def session_cell(user: str, day: int) -> Cell:
    """The session of a user on a day since the epoch."""
    return uuid_cell(_uuid5(_SESSION_IDS, f"{user}/{day}".encode()))


def event_id_cell(fields: bytes) -> Cell:
    """The id that follows from the other fields, which are JSON with ``, `` between."""
    return uuid_cell(_uuid5(_EVENT_IDS, b"[" + fields + b"]"))


def _uuid5(namespace: UUID, content: bytes) -> str:
    """``str(uuid5(namespace, content))`` without its detour by three objects: one may be made for every event."""
    digest = bytearray(sha1(namespace.bytes + content, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def key_of(user: str) -> bytes:
    """Kafka's key: the 16 bytes of a UUID in its usual form."""
    return bytes.fromhex(user.replace("-", ""))

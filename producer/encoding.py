"""From an event of a stream to what Kafka holds of it: its key, its value, and each way in which that is malformed.

An event is a dict or a named tuple, its fields those of the stream's schema, its values those that the schema's types
take: for Avro as fastavro takes them (an instant is a number in the schema's unit, or a datetime), for JSON those that
JSON has, besides :class:`UUID` and :class:`Decimal`, which is written as the number that it is.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from etar.records.framing import with_header
from etar.streams import KeyForm, RecordFormat, Stream, TimeForm, schema_fields
from producer.kinds import NO_SUCH_SCHEMA_ID, Draft, Kind, malformed_kinds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TICKS = {"timestamp-millis": 1000, "timestamp-micros": 10**6, "timestamp-nanos": 10**9}
_WIDEST = 2**63


class NoEventError(ValueError):
    """What was to be sent is no event of the stream's schema."""


def header_of(schema_id: int) -> bytes:
    """What stands before every record under a schema."""
    return with_header(schema_id, b"")


class Encoding:
    """How the records of one stream are written.

    Args:
        header: from :func:`header_of`; none for plain JSON.

    Attributes:
        malformed: the ways in which its records can be.
        key_field: the field that the key is made of; None: there is no key.
        key_form: what makes a key of that field's value. None, where the value is.
        time_field: the field that says when an event happened.
        ticks: how many units of that field make a second, where it is a number.
    """

    def __init__(self, stream: Stream, header: bytes = b"") -> None:
        self.header = header
        self.malformed = malformed_kinds(stream.record)
        self.key_field = stream.key.field
        self.key_form = _key_form(stream)
        self.encode: Callable[[Any], bytes]
        """A record's value. Raises whatever the encoder does where an event is not of the schema."""
        self._decode: Callable[[bytes], dict[str, Any]]
        if stream.record is RecordFormat.AVRO:
            self.encode, self._decode = _avro(stream, header)
        else:
            self.encode, self._decode = _json(header)
        self.time_field = stream.time
        self._iso = stream.time_form is TimeForm.ISO8601
        self.ticks = _ticks_of(stream)
        self.coarse = max(0, 1000 // self.ticks - 1)
        """Milliseconds by which :meth:`time_of` may be too early, as a record's time may be in whole seconds."""

    def key(self, event: Any) -> bytes | None:
        """The key of an event's record."""
        name = self.key_field
        if name is None:
            return None
        return self.key_form(event.get(name) if isinstance(event, dict) else getattr(event, name))

    def time_of(self, event: Any) -> int:
        """When an event happened, in milliseconds since the epoch."""
        value = event[self.time_field] if isinstance(event, dict) else getattr(event, self.time_field)
        if type(value) is int:
            return value if self.ticks == 1000 else value * 1000 // self.ticks
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
        return int(Decimal(value) * 1000 // self.ticks)

    def at_time(self, event: Any, instant: int) -> Any:
        """The same event, as if it had happened at ``instant``, in milliseconds since the epoch."""
        value: int | str | Decimal = instant
        if self._iso:
            value = (_EPOCH + instant * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        elif self.ticks != 1000:
            exact = Decimal(instant) * self.ticks / 1000
            value = int(exact) if exact == int(exact) else exact
        if isinstance(event, dict):
            return event | {self.time_field: value}
        return event._replace(**{self.time_field: value})

    def can_say(self, instant: int) -> bool:
        """Whether a record can be of that time at all: not every year has four digits, nor every number 64 bits."""
        if not self._iso:
            return abs(instant) * self.ticks // 1000 < _WIDEST
        try:
            _EPOCH + instant * _MILLISECOND
        except OverflowError:
            return False
        return True

    def logged(self, event: Any) -> dict[str, Any]:
        """The fields of an event, with its time in milliseconds since the epoch."""
        return dict(_fields(event)) | {self.time_field: self.time_of(event)}

    def event_of(self, value: bytes) -> dict[str, Any]:
        """The event of a value that :attr:`encode` made."""
        return self._decode(value)

    def value_of(self, draft: Draft) -> bytes | None:
        """The record's value."""
        value: bytes | None
        header = len(self.header)
        match draft.kind:
            case Kind.NULL_VALUE:
                value = None
            case Kind.EMPTY_VALUE:
                value = b""
            case Kind.NOT_AVRO:
                value = _start_of_json(draft.event)
            case Kind.NOT_JSON:
                value = self.header + b"<event/>"
            case Kind.UNKNOWN_SCHEMA_ID:
                value = header_of(NO_SUCH_SCHEMA_ID) + self.encode(draft.event)[header:]
            case Kind.TRUNCATED:
                whole = self.encode(draft.event)
                value = whole[: header + (len(whole) - header) // 2]
            case Kind.TRAILING_BYTES:
                value = self.encode(draft.event) + b"\x00trailing"
            case _:
                value = self.encode(draft.event)
        return value


def _fields(event: Any) -> Mapping[str, Any]:
    return event if isinstance(event, dict) else event._asdict()


def _start_of_json(event: Any) -> bytes:
    """What a client that forgot the serializer sends."""
    name, value = next(iter(_fields(event).items()))
    return json.dumps({name: value}, default=str).encode()


def _key_form(stream: Stream) -> Callable[[Any], bytes | None]:
    """What makes a key of the value of the stream's key field. None, where there is none."""

    def uuid16(value: Any) -> bytes | None:
        if value is None:
            return None
        return value.bytes if isinstance(value, UUID) else UUID(value).bytes

    def utf8(value: Any) -> bytes | None:
        return None if value is None else str(value).encode()

    return uuid16 if stream.key.form is KeyForm.UUID16 else utf8


def _avro(stream: Stream, header: bytes) -> tuple[Callable[[Any], bytes], Callable[[bytes], dict[str, Any]]]:
    # Here: made for a run, and not for `etar produce --help`.
    import fastavro

    schema = fastavro.parse_schema(json.loads(stream.schema_text or ""))
    write, read = fastavro.schemaless_writer, fastavro.schemaless_reader

    def encode(event: Any) -> bytes:
        body = io.BytesIO()
        body.write(header)
        write(body, schema, event if isinstance(event, dict) else event._asdict(), strict_allow_default=True)
        return body.getvalue()

    def decode(value: bytes) -> dict[str, Any]:
        return read(io.BytesIO(value[len(header) :]), schema, None)  # type: ignore[no-any-return]

    return encode, decode


def _json(header: bytes) -> tuple[Callable[[Any], bytes], Callable[[bytes], dict[str, Any]]]:
    write = msgspec.json.Encoder(decimal_format="number").encode
    read = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode

    def encode(event: Any) -> bytes:
        return header + write(_fields(event))

    def decode(value: bytes) -> dict[str, Any]:
        return read(value[len(header) :])

    return encode, decode


def _ticks_of(stream: Stream) -> int:
    """How many units of the stream's time make a second, where it is a number."""
    if stream.time_form is not TimeForm.LOGICAL:
        return 1 if stream.time_form is TimeForm.UNIX_S else 1000
    if stream.record is not RecordFormat.AVRO:
        return 1000
    time = schema_fields(stream).get(stream.time)
    for kind in _branches(time.kind if time else []):
        if isinstance(kind, dict) and (ticks := _TICKS.get(str(kind.get("logicalType")).removeprefix("local-"))):
            return ticks
    return 1000


def _branches(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else [kind]

"""``samples.jsonl``: records of a stream, each with what it must become, a row or a dead letter; an object a line.

``{"about": …, "appended": "2026-11-21T10:31:06Z", "record": {…}, "row": {…}}`` is a good one: with ``row`` as the table
has it, decimals and instants as text. ``"reason": "too_late"`` stands in place of the row for one that becomes a dead
letter, with what its detail says as ``"detail": "amount: 9.99"``, the beginning of it or all, where that matters.
``"raw": "…"`` stands in place of ``record`` for a value that is no record; ``"record": null`` is a tombstone.
Avro is written by the stream's schema; a field that a record leaves out then is one that its writer's schema has not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.instants import to_milliseconds, utc_text
from etar.records.codec import Codec, NotEncodableError, Reader, UnusableSchemaError
from etar.records.decode import Decoder, schema_of
from etar.records.formats import codec_of
from etar.records.framing import OWN_SCHEMA, SchemaId, with_header
from etar.records.json_text import read_object, to_text
from etar.records.record import BadRecordError, Record, Row, Unreadable
from etar.records.registry import RegisteredSchema
from etar.records.table import TableLayout
from etar.stream_folder.avro_fields import fields_needed, plain_fields, schema_without
from etar.stream_folder.guesses import GuessError
from etar.streams import RecordFormat, Stream

FILE_NAME = "samples.jsonl"

_KEYS = frozenset(("about", "appended", "record", "raw", "row", "reason", "detail"))
_HALVES = re.compile("[\ud800-\udfff]")
_REGISTERED = 1
"""The id that the schema has here."""

_WITHOUT = 2
"""The id of the same schema without some fields."""


class ExampleError(ValueError):
    """A line that is no example; the message says why."""


@dataclass(frozen=True)
class Example:
    """A record and what it must become: ``row`` or ``reason``. ``record``: its fields, or None for a tombstone;
    ``raw`` stands in its place for a value that is none. ``appended``: when the broker took it. ``detail``: how that of
    the dead letter begins."""

    about: str
    appended: datetime
    record: Mapping[str, Any] | None = None
    raw: str | None = None
    row: Mapping[str, Any] | None = None
    reason: Reason | None = None
    detail: str = ""

    @classmethod
    def parse(cls, line: str) -> Example:
        """
        Raises:
            ExampleError
        """
        try:
            found = read_object(line.encode())
        except BadRecordError as error:
            raise ExampleError(f"is no JSON object: {error.detail}") from error
        if unknown := sorted(found.keys() - _KEYS):
            raise ExampleError(f"has the key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
        if ("record" in found) == ("raw" in found):
            raise ExampleError('has either "record" or "raw"')
        if ("row" in found) == ("reason" in found):
            raise ExampleError('says what it becomes: either "row" or "reason"')
        try:
            appended = datetime.fromisoformat(found["appended"])
        except (KeyError, ValueError, TypeError):
            raise ExampleError('says when the broker took it: "appended": "2026-11-21T10:31:06Z"') from None
        reason = found.get("reason")
        if reason is not None and reason not in list(Reason):
            raise ExampleError(f"has the reason {reason!r}; there are {', '.join(Reason)}")
        if "detail" in found and reason is None:
            raise ExampleError('has "detail" without "reason": it is of a dead letter')
        for key, kind in (("record", dict), ("row", dict), ("raw", str), ("detail", str)):
            if key in found and not isinstance(found[key], kind) and not (key == "record" and found[key] is None):
                raise ExampleError(f'"{key}" is no {"text" if kind is str else "object"}')
        return cls(
            about=str(found.get("about", "")),
            appended=appended.replace(tzinfo=appended.tzinfo or UTC),
            record=found.get("record"),
            raw=found.get("raw"),
            row=found.get("row"),
            reason=Reason(reason) if reason is not None else None,
            detail=found.get("detail", ""),
        )

    @property
    def line(self) -> str:
        parts: dict[str, Any] = {"about": self.about, "appended": utc_text(self.appended, "milliseconds")}
        parts |= {"record": self.record} if self.raw is None else {"raw": self.raw}
        parts |= {"row": self.row} if self.reason is None else {"reason": self.reason.value}
        parts |= {"detail": self.detail} if self.detail else {}
        return json_text(parts)


def value_of(
    example: Example, stream: Stream, codec: Codec, schema_id: Callable[[RegisteredSchema], int]
) -> bytes | None:
    """An example as the value of a record.

    Args:
        codec: the stream's.
        schema_id: registers the schema that it is written by, and says under which id.

    Raises:
        ExampleError: it cannot be written as a record.
    """
    if example.raw is not None:
        return example.raw.encode()
    if example.record is None:
        return None
    if codec.own_schema:
        return json_text(example.record).encode()
    schema = registered(stream)
    if schema.kind == "JSON":
        # As it is, also where it breaks the schema: that is what some are to show.
        return with_header(schema_id(schema), json_text(example.record).encode())
    if absent := fields_needed(schema.text) - example.record.keys():
        schema = RegisteredSchema(schema_without(schema.text, absent), "AVRO")
    try:
        return codec.writer(schema, schema_id(schema)).encode(plain_fields(schema.text, example.record))
    except (NotEncodableError, UnusableSchemaError, GuessError) as error:
        raise ExampleError(f"cannot be written by the schema: {error}") from error


def registered(stream: Stream) -> RegisteredSchema:
    """The stream's schema as a registry has it."""
    return RegisteredSchema(stream.schema_text or "true", "AVRO" if stream.record is RecordFormat.AVRO else "JSON")


class Bench:
    """What the intake makes of examples, without Kafka, registry and warehouse: its own decoder and codec, and the
    table's columns as the engine describes them."""

    def __init__(self, stream: Stream, layout: TableLayout, bounds: EventTimeBounds) -> None:
        self._stream = stream
        self._layout = layout
        self._codec = codec_of(stream)
        self._decoder = Decoder(layout, bounds, self._codec)
        self._schema = registered(stream)
        self._id = OWN_SCHEMA if self._codec.own_schema else _REGISTERED
        self.reader = self._codec.reader(self._schema, layout)
        """Of records under the stream's schema, or why there is none."""

    def outcome(self, example: Example, *, offset: int = 0) -> Row | DeadLetter:
        """What becomes of an example, as the record at ``offset``.

        Raises:
            ExampleError: it cannot be written as a record.
        """
        readers: dict[SchemaId, Reader | Unreadable] = {self._id: self.reader}

        def schema_id(schema: RegisteredSchema) -> int:
            if schema == self._schema:
                return self._id
            readers[_WITHOUT] = self._codec.reader(schema, self._layout)
            return _WITHOUT

        value = value_of(example, self._stream, self._codec, schema_id)
        record = Record(self._stream.topic, 0, offset, to_milliseconds(example.appended), None, value)
        named = schema_of(record, self._codec)
        if named is not None and named not in readers:
            readers[named] = Unreadable(Reason.UNKNOWN_SCHEMA_ID, "the registry has no such schema")
        return self._decoder.decode(record, readers)

    def shown(self, row: Row) -> dict[str, Any]:
        """A row as an example has it."""
        return {
            column.name: _shown(_python(value, column.arrow_type), column.precision)
            for column, value in zip(self._layout.fields, row.values, strict=True)
        }


def json_text(value: Any) -> str:
    """A value as JSON that can be stored: half a character, which JSON can escape and UTF-8 cannot hold, is escaped."""
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", to_text(value))


def same(row: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The columns in which two rows differ."""
    return [name for name in {**row, **other} if name not in row or name not in other or row[name] != other[name]]


def _python(value: Any, kind: pa.DataType) -> Any:
    """A value as Arrow takes it as Python has it."""
    return pa.array([value], kind).to_pylist(maps_as_pydicts="strict")[0]


def _shown(value: Any, precision: int | None) -> Any:  # noqa: PLR0911  (a line a type)
    match value:
        case datetime():
            unit = {0: "seconds", 3: "milliseconds", 6: "microseconds"}[precision or 0]
            return utc_text(value, unit)
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case float():
            return Decimal(repr(value))
        case bytes() if len(value) == 16:
            return str(UUID(bytes=value))
        case list():
            return [_shown(each, 3) for each in value]
        case dict():
            return {name: _shown(each, 3) for name, each in value.items()}
    return value


def read_examples(text: str) -> list[tuple[int, Example | ExampleError]]:
    """The examples of a file with the numbers of their lines, and what is wrong with a line that is none."""
    found: list[tuple[int, Example | ExampleError]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append((number, Example.parse(line)))
            except ExampleError as error:
                found.append((number, error))
    return found


def lines_of(examples: Sequence[Example]) -> str:
    """The file's text."""
    return "".join(f"{example.line}\n" for example in examples)

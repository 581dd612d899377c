"""Records of any Avro schema, good and bad, at random; and that both ways to decode them come to the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from io import BytesIO
from random import Random
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.records.avro_codec import AvroCodec, compile_reader
from etar.records.batch import Batch
from etar.records.codec import Reader
from etar.records.decode import Decoder
from etar.records.framing import SchemaId, with_header
from etar.records.record import Headers, Record, Row, Unreadable
from etar.records.table import TableLayout
from etar.records.warehouse import rows_to_arrow

APPENDED_MS = 1_795_257_090_000
BOUNDS = EventTimeBounds(behind_ms=86_400_000, ahead_ms=300_000)

_EDGES = [
    edge + step
    for bits in (7, 8, 15, 16, 31, 32, 47, 48, 53, 55, 62, 63)
    for edge in (-1 << bits, 1 << bits)
    for step in (-1, 0)
    if -1 << 63 <= edge + step < 1 << 63
]
_CHARACTERS = ("a", "b", "0", "-", " ", "'", "\\", "\0", "é", "€", "\ud7ff", "\uffff", "😀")
_DIGITS = "0123456789abcdefABCDEF"


def value_of(schema: Any, chance: Random) -> Any:
    """A value that can be written under a schema, which refers to nothing; an instant is mostly of about
    :data:`APPENDED_MS`."""
    if isinstance(schema, list):
        return value_of(chance.choice(schema), chance)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return value_of(kind, chance)
    if isinstance(schema, dict) and str(schema.get("logicalType")).startswith("timestamp") and chance.random() < 0.9:
        times = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}[schema["logicalType"].rpartition("-")[2]]
        return (APPENDED_MS + chance.randint(-86_400_500, 300_500)) * times + times // 3
    return _PLAIN[kind](chance) if kind in _PLAIN else _BUILT[kind](schema, chance)


def _integer(chance: Random) -> int:
    return chance.choice([chance.randint(-200, 200), chance.choice(_EDGES), chance.randint(-1 << 63, (1 << 63) - 1)])


def _double(chance: Random) -> float:
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, 3.4028235e38, 3.40282357e38, 1e300, 5e-324]
    return chance.choice([chance.uniform(-1e3, 1e3), chance.choice(special), float(chance.choice(_EDGES))])


def _text(chance: Random) -> str:
    identifier = str(UUID(int=chance.getrandbits(128)))
    spoiled = "".join(each if chance.random() < 0.98 else chance.choice(_DIGITS + "g-") for each in identifier)
    short = "".join(chance.choices(_CHARACTERS, k=chance.randint(0, 6)))
    longer = identifier + chance.choice(_DIGITS)
    return chance.choice([short, short, identifier, identifier.upper(), spoiled, longer, "phone", "tv", short * 40])


_PLAIN: dict[str, Callable[[Random], Any]] = {
    "null": lambda _: None,
    "boolean": lambda chance: chance.random() < 0.5,
    "int": _integer,
    "long": _integer,
    "float": lambda chance: chance.choice([1.5, -0.0, math.inf, math.nan, 3.4028234663852886e38, chance.random()]),
    "double": _double,
    "bytes": lambda chance: chance.randbytes(chance.randint(0, 10)),
    "string": _text,
}
_BUILT: dict[str, Callable[[Any, Random], Any]] = {
    "record": lambda schema, chance: {each["name"]: value_of(each["type"], chance) for each in schema["fields"]},
    "enum": lambda schema, chance: chance.choice(schema["symbols"]),
    "fixed": lambda schema, chance: chance.randbytes(schema["size"]),
    "array": lambda schema, chance: [value_of(schema["items"], chance) for _ in range(chance.randint(0, 3))],
    "map": lambda schema, chance: {
        _text(chance): value_of(schema["values"], chance) for _ in range(chance.randint(0, 3))
    },
}


def encoded(schema: Any, datum: Mapping[str, Any]) -> bytes:
    """The body alone. Values go in as they are: logical types are taken off."""
    body = BytesIO()
    fastavro.schemaless_writer(body, _parsed(json.dumps(schema)), datum)
    return body.getvalue()


@cache
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(_plain(json.loads(schema)))


def _plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _plain(part) for name, part in schema.items() if name != "logicalType"}
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    # fastavro writes as an int only what Java has as one, and reads more.
    return "long" if schema == "int" else schema


def _spoiled(value: bytes, chance: Random) -> bytes | None:
    """A value with something done to it."""
    place = chance.randint(0, len(value))
    odd = [b"\xff" * 10, b"\x80" * 8 + b"\1", b"\x80" * 9 + b"\1", b"\xed\xa0\x80", b"\x7f", b"\3", b"\4"]
    by = chance.choice([*odd, chance.randbytes(1), chance.randbytes(3)])
    return chance.choice([
        value[:place],
        value[:place] + by + value[place + len(by) :],
        value[:place] + by + value[place + len(by) :],
        value[:place] + by + value[place:],
        value[:place] + value[place + len(by) :],
        value + by,
        chance.choice([None, b"", b"\0", value[:5], b"\0\0\0\0\0" + value[5:], b"\0\0\0\0\x63" + value[5:]]),
    ])  # fmt: skip


def batch_of(schemas: Mapping[int, Any], chance: Random, count: int = 60) -> list[Record]:
    """Records under these schemas, by their ids, many of them bad. 99 is the id of none."""
    found = []
    for offset in range(count):
        schema_id = chance.choice(sorted(schemas))
        good = with_header(schema_id, encoded(schemas[schema_id], value_of(schemas[schema_id], chance)))
        value = _spoiled(good, chance) if chance.random() < 0.5 else good
        named: Headers = [("__value_schema_id", b"\0\0\0\0\7")]
        headers = chance.choices([(), [("other", b"x")], named], [20, 1, 1])[0]
        found.append(Record("t", offset % 3, offset, APPENDED_MS, b"k", value, headers))
    return found


class Readers(dict[SchemaId, Reader | Unreadable]):
    """Of these schemas, by their ids; the registry has no others."""

    def __init__(self, schemas: Mapping[int, Any], layout: TableLayout) -> None:
        super().__init__({each: compile_reader(json.dumps(schema), layout) for each, schema in schemas.items()})

    def __missing__(self, _key: SchemaId) -> Unreadable:
        return Unreadable(Reason.UNKNOWN_SCHEMA_ID, "the registry has no such schema")


def decided(
    decoder: Decoder, layout: TableLayout, records: Sequence[Record], readers: Mapping[SchemaId, Reader | Unreadable]
) -> list[Row | DeadLetter]:
    """What each record comes to by itself; all together they come to the same."""
    outcomes = [decoder.decode(record, readers) for record in records]
    batch = Batch.of(records)
    rows, letters = decoder.decode_all(batch, AvroCodec().bodies(batch), readers)
    by_itself = [outcome for outcome in outcomes if isinstance(outcome, Row)]
    assert letters == [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]
    assert len(rows) == len(by_itself)
    if by_itself:
        assert _shown(layout, rows) == _shown(layout, by_itself)
    assert repr(list(rows)) == repr(by_itself), "as text, in which NaN is NaN"
    return outcomes


def _shown(layout: TableLayout, rows: Sequence[Row]) -> tuple[pa.Schema, str]:
    """As text, in which NaN is NaN and -0.0 is not 0.0."""
    table = rows_to_arrow(layout, rows)
    return table.schema, repr(table.to_pylist())

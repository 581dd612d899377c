"""Avro of whole columns is, to the byte, what the reference serializer makes of each event by itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import numpy as np
import pytest

from etar.rows.blocks import Block, BlockColumn, Drawn, chance_of, plain_values
from etar.streams import default_stream
from producer.avro_columns import AvroColumns
from producer.encoding import NoEventError, header_of
from streams.user_interactions.shop import EventFactory
from tests.unit.producer.drafts import MINUTE, shop

HEADER = header_of(7)
ROWS = 400
UUID_TEXT = {"type": "string", "logicalType": "uuid"}
UUID_FIXED = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
PLACE = {"type": "record", "name": "Place", "fields": [{"name": "city", "type": "string"}]}

Chance = np.random.Generator


def schema_of(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Made", "fields": list(fields), **more}


def by_itself(schema: dict[str, Any], block: Block, rows: int) -> list[bytes]:
    """What the reference makes of the same events."""
    parsed = fastavro.parse_schema(schema)
    columns = {name: plain_values(column) for name, column in block.items()}
    found = []
    for row in range(rows):
        body = io.BytesIO()
        body.write(HEADER)
        event = {name: values[row] for name, values in columns.items()}
        fastavro.schemaless_writer(body, parsed, event, strict_allow_default=True)
        found.append(body.getvalue())
    return found


def long_and_short(chance: Chance, rows: int = ROWS) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of every length, negative ones too, the least and the greatest among them."""
    made = chance.integers(-(2**63), 2**63, rows, endpoint=False) >> chance.integers(0, 64, rows)
    made[:6] = (0, -1, 1, -64, 2**63 - 1, -(2**63))
    return made


def text(chance: Chance) -> list[str]:
    """Empty, short, and longer than a byte says."""
    return ["é☃x\0"[: int(size) % 5] * int(size) for size in chance.integers(0, 300, ROWS)]


def some_null(column: np.ndarray[Any, Any], chance: Chance) -> np.ndarray[Any, Any]:
    return np.ma.masked_array(column, chance.random(len(column)) < 0.3)


def drawn(chance: Chance, *values: Any) -> Drawn:
    return Drawn(values, chance.integers(0, len(values), ROWS))


COLUMNS: dict[str, tuple[Any, Callable[[Chance], BlockColumn]]] = {
    "uuid": (UUID_TEXT, lambda chance: chance.integers(0, 256, (ROWS, 16), dtype=np.uint8)),
    "uuid, null possible": (["null", UUID_TEXT], lambda chance: chance.integers(0, 256, (ROWS, 16), dtype=np.uint8)),
    "uuid, drawn": (UUID_TEXT, lambda chance: drawn(chance, UUID(int=1), UUID(int=2**100), UUID(int=3))),
    "long": ("long", long_and_short),
    "long of one width": ("long", lambda chance: chance.integers(10**12, 2 * 10**12, ROWS)),
    "long of one byte": ("long", lambda chance: chance.integers(-64, 64, ROWS)),
    "long, some null": (["null", "long"], lambda chance: some_null(long_and_short(chance), chance)),
    "long or null, none null": (["long", "null"], long_and_short),
    "long or null, masked and none null": (
        ["null", "long"],
        lambda chance: np.ma.masked_array(long_and_short(chance)),
    ),
    "long, all null": (["null", "long"], lambda _: np.ma.masked_all(ROWS, np.int64)),
    "int, null second": (["int", "null"], lambda chance: some_null(chance.integers(-(2**31), 2**31, ROWS), chance)),
    "int of 16 bits": ("int", lambda chance: chance.integers(-(2**15), 2**15, ROWS).astype(np.int16)),
    "unsigned": ("long", lambda chance: chance.integers(0, 2**63, ROWS).astype(np.uint64)),
    "one of several": (["null", "long", "string"], lambda chance: [None, 2**40, "two"] * 133 + [-1]),
    "several, as an array": (["null", "long", "double"], long_and_short),
    "instant": (
        {"type": "long", "logicalType": "timestamp-micros"},
        lambda chance: chance.integers(-(10**9), 10**9, ROWS),
    ),
    "instant, as such": (
        {"type": "long", "logicalType": "timestamp-millis"},
        lambda _: [datetime(2026, 11, 21, tzinfo=UTC) + timedelta(milliseconds=each) for each in range(ROWS)],
    ),
    "double": ("double", lambda chance: chance.normal(size=ROWS) * 10.0 ** chance.integers(-300, 300, ROWS)),
    "double of none": ("double", lambda _: np.array([np.nan, np.inf, -np.inf, -0.0] * 100)),
    "double, some null": (["null", "double"], lambda chance: some_null(chance.normal(size=ROWS), chance)),
    "double of whole numbers": ("double", lambda chance: chance.integers(-(2**53), 2**53, ROWS)),
    "float": ("float", lambda chance: chance.normal(size=ROWS).astype(np.float32)),
    "float of doubles": (["float", "null"], lambda chance: some_null(chance.normal(size=ROWS), chance)),
    "boolean": ("boolean", lambda chance: chance.random(ROWS) < 0.5),
    "boolean, some null": (["null", "boolean"], lambda chance: some_null(chance.random(ROWS) < 0.5, chance)),
    "text": ("string", text),
    "text, drawn": (["null", "string"], lambda chance: drawn(chance, None, "", "x", "long" * 99)),
    "text, one drawn": ("string", lambda chance: drawn(chance, "ever the same")),
    "enum": ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, lambda chance: drawn(chance, "a", "b")),
    "decimal": (
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        lambda chance: drawn(chance, Decimal("-0.01"), Decimal("12.50"), Decimal("1234567.89")),
    ),
    "record": (PLACE, lambda chance: drawn(chance, {"city": "Ulm"}, {"city": "Köln"})),
    "array": ({"type": "array", "items": "long"}, lambda chance: drawn(chance, [], [1, -2, 2**60])),
    "map": ({"type": "map", "values": "string"}, lambda chance: [{"a": "b"}] * ROWS),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", COLUMNS)
def test_a_column_of_each_type_is_as_the_reference_writes_it(what: str, seed: int) -> None:
    kind, make = COLUMNS[what]
    schema = schema_of({"name": "before", "type": "string"}, {"name": "it", "type": kind})
    chance = chance_of(f"{what}/{seed}")
    block = {"before": text(chance), "it": make(chance)}
    assert AvroColumns(json.dumps(schema), HEADER).encoded(block, ROWS) == by_itself(schema, block, ROWS)


@pytest.mark.parametrize("seed", range(20))
def test_events_of_any_fields_in_any_order_are_as_the_reference_writes_them(seed: int) -> None:
    chance = chance_of(f"any/{seed}")
    names = [list(COLUMNS)[place] for place in chance.permutation(len(COLUMNS))[: 2 + seed]]
    fields = [{"name": f"field{number}", "type": COLUMNS[name][0]} for number, name in enumerate(names)]
    schema = schema_of(*fields)
    encoding = AvroColumns(json.dumps(schema), HEADER)
    for rows in (ROWS, 1):
        block = {f"field{number}": COLUMNS[name][1](chance) for number, name in enumerate(names)}
        if rows == 1:
            block = {
                name: Drawn(column.values, column.places[:1]) if isinstance(column, Drawn) else column[:1]
                for name, column in block.items()
            }
        assert encoding.encoded(block, rows) == by_itself(schema, block, rows)


@pytest.mark.parametrize("form", [bytes, np.ndarray])
def test_a_uuid_of_sixteen_bytes_is_these(form: type) -> None:
    schema = schema_of({"name": "it", "type": ["null", UUID_FIXED]})
    ids = chance_of("fixed").integers(0, 256, (ROWS, 16), dtype=np.uint8)
    as_bytes = [each.tobytes() for each in ids]
    block: Block = {"it": ids if form is np.ndarray else as_bytes}
    assert AvroColumns(json.dumps(schema), HEADER).encoded(block, ROWS) == by_itself(schema, {"it": as_bytes}, ROWS)


def test_the_events_of_the_shop_are_as_the_reference_writes_them() -> None:
    text = default_stream().schema_text or ""
    encoding = AvroColumns(text, HEADER)
    factory = EventFactory(seed=1, shop=shop(), errors=0.3, late=0.3, late_by=60_000)
    for rows in (5000, 1, 0):
        block = factory.block(MINUTE + np.arange(rows))
        assert encoding.encoded(block, rows) == by_itself(json.loads(text), block, rows)


def test_a_field_that_is_left_out_has_its_default_and_a_type_may_be_named_before_it_is_used_again() -> None:
    kind = {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}
    schema = schema_of(
        {"name": "one", "type": kind},
        {"name": "other", "type": ["null", "Kind"], "default": None},
        {"name": "size", "type": "int", "default": -7},
        {"name": "whole", "type": ["null", "shop.Made"], "default": None},
        {"name": "place", "type": PLACE},
        {"name": "there", "type": {"type": "array", "items": "shop.Place"}, "default": []},
        namespace="shop",
    )
    chance = chance_of("names")
    inner = {"one": "a", "other": "b", "place": {"city": "Ulm"}}
    block = {
        "one": drawn(chance, "a", "b"),
        "whole": drawn(chance, None, inner),
        "place": drawn(chance, {"city": "Ulm"}),
        "there": drawn(chance, [], [{"city": "Bonn"}]),
    }
    encoding = AvroColumns(json.dumps(schema), HEADER)
    assert encoding.encoded(block, ROWS) == by_itself(schema, block, ROWS)
    block["other"] = drawn(chance, None, "a")
    assert encoding.encoded(block, ROWS) == by_itself(schema, block, ROWS)


def test_other_values_under_the_same_name_are_encoded_anew() -> None:
    schema = schema_of({"name": "it", "type": "string"})
    encoding = AvroColumns(json.dumps(schema), HEADER)
    for values in (("a", "b"), ("c", "dd"), ("a", "b")):
        block = {"it": Drawn(values, np.array([0, 1, 1]))}
        assert encoding.encoded(block, 3) == by_itself(schema, block, 3)


@pytest.mark.parametrize(
    ("column", "error"),
    [
        (np.ma.masked_array([1, 2], [False, True]), TypeError),
        (np.array([1.0, np.nan]), ValueError),
        (np.array([1, 2**64 - 1], np.uint64), OverflowError),
        (["one", "two"], TypeError),
        (Drawn((1, "two"), np.array([0, 1])), TypeError),
    ],
)
def test_what_is_no_value_of_the_type_is_refused_as_the_reference_refuses_it(
    column: BlockColumn, error: type[Exception]
) -> None:
    schema = schema_of({"name": "it", "type": "long"})
    with pytest.raises(error):
        by_itself(schema, {"it": column}, 2)
    with pytest.raises(error):
        AvroColumns(json.dumps(schema), HEADER).encoded({"it": column}, 2)


def test_a_field_without_a_default_is_missed_and_one_that_there_is_not_is_named() -> None:
    encoding = AvroColumns(json.dumps(schema_of({"name": "it", "type": "long"})), HEADER)
    with pytest.raises(ValueError, match="it"):
        encoding.encoded({}, 1)
    with pytest.raises(NoEventError, match="colour: no field of the schema"):
        encoding.encoded({"it": [1], "colour": ["red"]}, 1)

"""An Avro schema as columns, and records made up for it; and columns as an Avro schema. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from functools import partial
from typing import Any
from uuid import UUID

from etar.instants import utc_text
from etar.records.avro import AvroSchema, Node, UnreadableSchemaError
from etar.records.column_types import TICKS_PER_SECOND
from etar.stream_folder.guesses import GuessError
from etar.stream_folder.proposal import LeftOut, Proposed, nullable, readable, unfit_name

INSTANTS = {"timestamp-millis": 3, "timestamp-micros": 6, "timestamp-nanos": 6}
"""Logical types of instants, with the digits after the second that their column has."""

_MADE_UP_AT = datetime(2026, 11, 21, 10, 31, 5, 250_000, tzinfo=UTC)
_PLAIN = {
    "string": "String", "boolean": "Bool", "int": "Int32", "long": "Int64", "float": "Float32", "double": "Float64",
    "enum": "LowCardinality(String)",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=100)
_DECIMAL = re.compile(r"Decimal\((?P<digits>\d+), (?P<scale>\d+)\)")


def columns_of_schema(text: str) -> tuple[list[Proposed], list[LeftOut]]:
    """A column for each field of a record that can have one.

    Raises:
        GuessError: the text is no Avro schema of a record.
    """
    schema, record = _record_of(text)
    columns: list[Proposed] = []
    left_out: list[LeftOut] = []
    taken: dict[str, str] = {}
    for path, node, optional in _leaves(schema, record):
        name = ".".join(path)
        if unfit := unfit_name(path, taken):
            left_out.append(LeftOut(name, unfit))
        elif (declared := _declared(schema, node, optional=optional, nested=len(path) > 1)) is None:
            left_out.append(LeftOut(name, f"its type has no column: {json.dumps(node.json):.80}"))
        else:
            taken[name.lower()] = name
            columns.append(Proposed(name, declared))
    return columns, left_out


def paths_of_schema(text: str) -> set[str]:
    """The names of a record's fields, those of nested ones with points.

    Raises:
        GuessError: the text is no Avro schema of a record.
    """
    schema, record = _record_of(text)
    return {".".join(path) for path, _, _ in _leaves(schema, record)}


def instants_of_schema(text: str) -> list[str]:
    """Fields at the top of a record that are instants and never null."""
    schema, record = _record_of(text)
    return [
        path[0]
        for path, node, optional in _leaves(schema, record)
        if len(path) == 1 and not optional and _only(schema, node)[1] in INSTANTS
    ]


def made_up(text: str, number: int, columns: Sequence[Proposed]) -> dict[str, Any]:
    """A record of the schema, as JSON has it. Another ``number``, another record."""
    schema, record = _record_of(text)
    known = {column.name for column in columns}
    return {name: _made_up(schema, node, name, number, known) for name, node in schema.fields(record).items()}


def schema_of(name: str, columns: Sequence[Proposed]) -> str:
    """The schema of a record that has these columns' fields."""
    root: dict[str, Any] = {}
    for column in columns:
        *above, last = column.name.split(".")
        here = root
        for part in above:
            here = here.setdefault(part, {})
        here[last] = column
    schema = _record(name, root, [])
    return readable(schema) + "\n"


def plain_fields(text: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON has them (``"2026-11-21T10:31:05Z"``, ``"12.50"``) as a writer of the schema takes them: without
    logical types. What does not fit stays as it is, for the writer to refuse.

    Raises:
        GuessError: the text is no Avro schema of a record.
    """
    schema, record = _record_of(text)
    types = schema.fields(record)
    return {name: _plain(schema, types[name], value) if name in types else value for name, value in fields.items()}


def schema_without(text: str, names: Collection[str]) -> str:
    """The same schema of a record without some of its fields, as of a producer that does not know them.

    Raises:
        GuessError: the text is no Avro schema of a record.
    """
    _, record = _record_of(text)
    return json.dumps({**record.json, "fields": [part for part in record.json["fields"] if part["name"] not in names]})


def fields_needed(text: str) -> set[str]:
    """Fields at the top of a record that have no default.

    Raises:
        GuessError: the text is no Avro schema of a record.
    """
    _, record = _record_of(text)
    return {part["name"] for part in record.json["fields"] if "default" not in part}


def _plain(schema: AvroSchema, node: Node, value: Any) -> Any:  # noqa: PLR0911  (a line a type)
    kind, logical, only = _only(schema, node)
    if only is None or value is None:
        return value
    inner = partial(_plain, schema)
    try:
        match kind, logical, value:
            case _, str() as unit, str() if unit in TICKS_PER_SECOND:
                since = datetime.fromisoformat(value) - _EPOCH
                ticks = TICKS_PER_SECOND[unit]
                return (since.days * 86_400 + since.seconds) * ticks + since.microseconds * ticks // 10**6
            case _, "date", str():
                return (date.fromisoformat(value) - _EPOCH.date()).days
            case (("bytes" | "fixed"), "decimal", str() | int() | Decimal()):
                unscaled = int(Decimal(value).scaleb(only.json.get("scale", 0), _EXACT))
                size = only.json["size"] if kind == "fixed" else unscaled.bit_length() // 8 + 1
                return unscaled.to_bytes(size, "big", signed=True)
            case "fixed", "uuid", str():
                return value
            case (("bytes" | "fixed"), _, str()):
                return value.encode("latin-1")
            case "array", _, list():
                return [inner(Node(only.json["items"], only.namespace), each) for each in value]
            case "map", _, dict():
                return {name: inner(Node(only.json["values"], only.namespace), each) for name, each in value.items()}
            case (("record" | "error"), _, dict()):
                types = schema.fields(only)
                return {name: inner(types[name], each) if name in types else each for name, each in value.items()}
    except (ValueError, TypeError, ArithmeticError):
        pass
    return value


def _record_of(text: str) -> tuple[AvroSchema, Node]:
    try:
        schema = AvroSchema(text)
        schema.shape(schema.top)
    except UnreadableSchemaError as error:
        raise GuessError(f"it is no Avro schema: {error}") from error
    record = next((branch for branch in schema.branches if schema.is_record(branch)), None)
    if record is None:
        raise GuessError("it is an Avro schema, and not of a record")
    return schema, record


def _leaves(
    schema: AvroSchema,
    record: Node,
    above: tuple[str, ...] = (),
    *,
    within: tuple[str, ...] = (),
    optional: bool = False,
) -> Iterator[tuple[tuple[str, ...], Node, bool]]:
    """Each field, those of nested records too: its names, its type, and whether it may be null. A record that holds
    itself is not gone into again."""
    within = (*within, record.json["name"])
    for name, node in schema.fields(record).items():
        types = list(schema.types(node))
        may_be_null = optional or any(_type(each) == "null" for each in types)
        others = [each for each in types if _type(each) != "null"]
        path = (*above, name)
        if len(others) == 1 and schema.is_record(others[0]) and others[0].json["name"] not in within:
            yield from _leaves(schema, others[0], path, within=within, optional=may_be_null)
        else:
            yield path, node, may_be_null


def _type(node: Node) -> str:
    kind: str = node.json["type"] if isinstance(node.json, dict) else node.json
    return kind


def _only(schema: AvroSchema, node: Node) -> tuple[str, str | None, Node] | tuple[None, None, None]:
    """The one type of a value beside null, with its logical one; Nones where there are several."""
    others = [each for each in schema.types(node) if _type(each) != "null"]
    if len(others) != 1:
        return None, None, None
    logical = others[0].json.get("logicalType") if isinstance(others[0].json, dict) else None
    return _type(others[0]), logical, others[0]


def _declared(schema: AvroSchema, node: Node, *, optional: bool, nested: bool) -> str | None:
    """The column of a field's type; None: there is none."""
    kind, logical, only = _only(schema, node)
    if kind is None or only is None or (nested and kind in ("array", "map")):
        return None
    if kind in ("array", "map"):
        part = "items" if kind == "array" else "values"
        inside = Node(only.json[part], only.namespace)
        may_be_null = any(_type(each) == "null" for each in schema.types(inside))
        inner = _declared(schema, inside, optional=may_be_null, nested=True)
        plain = inner and re.sub(r"^LowCardinality\((.*)\)$", r"\1", inner)
        whole = f"Array({plain})" if kind == "array" else f"Map(String, {plain})"
        return whole if plain else None
    declared = _scalar(kind, logical, only)
    if declared is None or not optional:
        return declared
    return nullable(declared)


def _scalar(kind: str, logical: str | None, node: Node) -> str | None:  # noqa: PLR0911  (a line a type)
    if logical in INSTANTS and kind == "long":
        return f"DateTime64({INSTANTS[logical]}, 'UTC')"
    if logical == "decimal" and kind in ("bytes", "fixed"):
        digits, scale = node.json.get("precision"), node.json.get("scale", 0)
        fits = isinstance(digits, int) and isinstance(scale, int) and 0 <= scale <= digits <= 76 and digits
        return f"Decimal({digits}, {scale})" if fits else None
    if logical == "date" and kind == "int":
        return "Date32"
    if logical in ("time-millis", "time-micros"):
        return "String"
    if logical == "uuid" and kind in ("string", "fixed"):
        return "UUID"
    if logical is not None and logical.startswith("local-"):
        return None
    return _PLAIN.get(kind)


def _made_up(schema: AvroSchema, node: Node, name: str, number: int, known: set[str]) -> Any:  # noqa: PLR0911, PLR0912  (a line a type)
    types = list(schema.types(node))
    others = [each for each in types if _type(each) != "null"]
    only = others[0] if others else None
    if only is None or (name not in known and len(others) < len(types)):
        return None
    kind, logical = _type(only), only.json.get("logicalType") if isinstance(only.json, dict) else None
    instant = _MADE_UP_AT + timedelta(seconds=number)
    match kind, logical:
        case _, str() if logical in INSTANTS:
            return utc_text(instant)
        case _, "decimal":
            # One digit is there in any precision.
            return f"{Decimal(number % 9 + 1).scaleb(-only.json.get('scale', 0)):f}"
        case _, "date":
            return instant.date().isoformat()
        case _, "uuid":
            return str(UUID(int=number + 1))
        case "record" | "error", _:
            inner = schema.fields(only)
            return {each: _made_up(schema, part, f"{name}.{each}", number, known) for each, part in inner.items()}
        case "enum", _:
            return only.json["symbols"][number % len(only.json["symbols"])]
        case "array", _:
            return []
        case "map", _:
            return {}
        case "fixed", _:
            return "\0" * only.json["size"]
        case "string", _:
            return f"{name} {number + 1}"
        case "bytes", _:
            return ""
        case "boolean", _:
            return number % 2 == 0
        case (("float" | "double"), _):
            return Decimal(number) + Decimal("0.5")
    return number + 1


def _record(name: str, fields: Mapping[str, Any], above: list[str]) -> dict[str, Any]:
    parts = []
    for field, of in fields.items():
        if isinstance(of, Proposed):
            avro = _avro_type(of.kind)
            part = (
                {"name": field, "type": ["null", avro], "default": None}
                if of.is_nullable
                else {"name": field, "type": avro}
            )
        else:
            part = {"name": field, "type": _record("_".join((name, *above, field)), of, [])}
        parts.append(part)
    return {"type": "record", "name": name, "fields": parts}


def _avro_type(kind: str) -> Any:  # noqa: PLR0911  (a line a type)
    if found := _DECIMAL.fullmatch(kind):
        digits, scale = int(found["digits"]), int(found["scale"])
        return {"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": scale}
    if found := re.fullmatch(r"Array\((?P<inner>.*)\)", kind):
        inner = found["inner"]
        if inner.startswith("Nullable("):
            return {"type": "array", "items": ["null", _avro_type(inner.removeprefix("Nullable(")[:-1])]}
        return {"type": "array", "items": _avro_type(inner)}
    if kind.startswith("DateTime64("):
        return {"type": "long", "logicalType": "timestamp-micros" if kind[11] == "6" else "timestamp-millis"}
    if kind.startswith("Date"):
        return {"type": "int", "logicalType": "date"}
    if kind == "UUID":
        return {"type": "string", "logicalType": "uuid"}
    if kind == "UInt64":
        return {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}
    if kind.startswith("UInt") or kind == "Int64":
        return "long"
    if kind.startswith("Int"):
        return "int"
    return {"Float64": "double", "Float32": "float", "Bool": "boolean"}.get(kind, "string")

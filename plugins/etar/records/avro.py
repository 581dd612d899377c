"""A writer's Avro schema: names resolved across references, and as little of it as its own records need. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import fastavro
from fastavro import _read_py as recursion_safe
from fastavro.schema import SchemaParseException

from etar.records.column_types import NOTHING_DECLARED, Declared

_PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
_NAMED = frozenset(("record", "error", "enum", "fixed"))
_RECORDS = frozenset(("record", "error"))


class UnreadableSchemaError(ValueError):
    """The text is no Avro schema that can be read with, or names what neither it nor its references define."""


@dataclass(frozen=True)
class Node:
    """A place in a schema: its JSON, and the namespace in which bare names are looked up there."""

    json: Any
    namespace: str = ""


@dataclass(frozen=True)
class Shape:
    """A schema as fastavro takes it, for values of this shape alone.

    ``recursive``: its values may nest as deep as their bytes last. ``symbols``: enum symbols that fastavro refuses
    though Java's Avro takes them (letters beyond ASCII), by the names that stand for them in what is read and written.
    """

    schema: Any
    recursive: bool
    symbols: Mapping[str, str]

    @property
    def reader(self) -> Callable[[BytesIO, Any, None], Any]:
        """fastavro's, for :attr:`schema`: the compiled one, or where values may nest the one in Python, whose depth is
        bounded by an error that can be caught."""
        reader: Callable[[BytesIO, Any, None], Any] = fastavro.schemaless_reader
        return recursion_safe.schemaless_reader if self.recursive else reader

    def read(self, body: BytesIO) -> Any:
        """The next value, plain: without logical types."""
        return self.reader(body, self.schema, None)

    def write(self, body: BytesIO, value: Any) -> None:
        """A plain value; a field of a record that is left out takes its default. Raises nearly anything."""
        fastavro.schemaless_writer(body, self.schema, value, strict_allow_default=True)


LONG = Shape("long", recursive=False, symbols={})
"""Of a number alone: of a union's branch, for one."""


class AvroSchema:
    """One schema with what it refers to. Everything that is asked of it is by name, through unions and references."""

    def __init__(self, text: str, references: Sequence[str] = ()) -> None:
        """Args:
            text, references: JSON texts; the references in any order.

        Raises:
            UnreadableSchemaError
        """
        self._definitions: dict[str, Node] = {}
        try:
            self.top = Node(json.loads(text))
            for node in (self.top, *(Node(json.loads(reference)) for reference in references)):
                self._collect(node)
            self.branches = self._branches_of_top()
        except UnreadableSchemaError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UnreadableSchemaError(f"the schema cannot be parsed: {error!r:.200}") from error

    @property
    def is_union(self) -> bool:
        return self.union(self.top) is not None

    def _branches_of_top(self) -> list[Node]:
        """What a record may be, each resolved: the branches of a union, else the one type."""
        branches = self.union(self.top)
        return [self._resolved(self.top)] if branches is None else branches

    def union(self, node: Node) -> list[Node] | None:
        """The branches of a union, each resolved; None where it is none."""
        node = self._resolved(node)
        if not isinstance(node.json, list):
            return None
        return [self._resolved(Node(part, node.namespace)) for part in node.json]

    @staticmethod
    def is_record(node: Node) -> bool:
        return isinstance(node.json, dict) and node.json.get("type") in _RECORDS

    def fields(self, record: Node) -> dict[str, Node]:
        """The types of a record's fields, in their order."""
        namespace = _namespace(record)
        return {part["name"]: Node(part["type"], namespace) for part in record.json["fields"]}

    def types(self, node: Node) -> Iterator[Node]:
        """What a value may be, through unions, nested type objects and names."""
        node = self._resolved(node)
        if isinstance(node.json, list):
            for part in node.json:
                yield from self.types(Node(part, node.namespace))
        else:
            yield node

    def kinds(self, node: Node) -> Iterator[tuple[str, str | None]]:
        """The Avro types of :meth:`types`, each with its logical one."""
        for found in self.types(node):
            logical = found.json.get("logicalType") if isinstance(found.json, dict) else None
            yield type_of(found), logical if isinstance(logical, str) else None

    def logical_type(self, *nodes: Node) -> str | None:
        """The logical type of a value at one of these, as :meth:`kinds` finds it; several joined by "or"."""
        return " or ".join(sorted({logical for node in nodes for _, logical in self.kinds(node) if logical})) or None

    def shape(self, node: Node, *, only: Collection[str] | None = None, defaults: bool = False) -> Shape:
        """Of the values at ``node``.

        Args:
            only: of a record: the fields whose values matter. Text in the others is read as bytes, whatever they are.
            defaults: keep fields' defaults, which writing needs and reading does not.

        Raises:
            UnreadableSchemaError: a name in it is defined nowhere, or fastavro cannot take it.
        """
        emitted = _Emitted(self, defaults)
        try:
            plain = emitted.type(node, text=True, only=only)
            parsed = fastavro.parse_schema(plain)
        except UnreadableSchemaError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SchemaParseException) as error:
            raise UnreadableSchemaError(f"the schema cannot be parsed: {error!r:.200}") from error
        return Shape(parsed, emitted.recursive, emitted.symbols)

    def definition(self, name: str, namespace: str) -> tuple[str, Node]:
        """What a name means in a namespace, with its full name."""
        for full in (_full_name(name, namespace), name):
            if full in self._definitions:
                return full, self._definitions[full]
        raise UnreadableSchemaError(f"the type {name} is defined neither in the schema nor in what it refers to")

    def number(self, full_name: str) -> int:
        """Of a definition: the same in every shape of this schema."""
        return list(self._definitions).index(full_name)

    def _resolved(self, node: Node) -> Node:
        """The type itself, where a name or a type object around it stands."""
        seen: set[str] = set()
        while True:
            if isinstance(node.json, str) and node.json not in _PRIMITIVES:
                full, node = self.definition(node.json, node.namespace)
                if full in seen:
                    raise UnreadableSchemaError(f"the type {full} is defined by itself")
                seen.add(full)
            elif isinstance(node.json, dict) and (
                isinstance(node.json["type"], dict | list) or node.json["type"] not in _PRIMITIVES | _NAMED | _BUILT
            ):
                node = Node(node.json["type"], node.namespace)
            else:
                return node

    def _collect(self, node: Node) -> None:
        """Every definition within, under its full name."""
        part = node.json
        if isinstance(part, list):
            for each in part:
                self._collect(Node(each, node.namespace))
        elif not isinstance(part, str):
            kind = part["type"]
            if isinstance(kind, str) and kind in _NAMED:
                name = _full_name(part["name"], part.get("namespace", node.namespace))
                if name in self._definitions and self._definitions[name].json != part:
                    raise UnreadableSchemaError(f"the type {name} is defined twice, and not alike")
                self._definitions[name] = node
            for each in self._within(node):
                self._collect(each)

    @staticmethod
    def _within(node: Node) -> Iterator[Node]:
        part = node.json
        match part["type"]:
            case "record" | "error":
                namespace = _namespace(node)
                yield from (Node(each["type"], namespace) for each in part["fields"])
            case "array":
                yield Node(part["items"], node.namespace)
            case "map":
                yield Node(part["values"], node.namespace)
            case dict() | list() as inner:
                yield Node(inner, node.namespace)


_BUILT = frozenset(("array", "map"))


class AvroDeclared(Declared):
    """What a schema says of the values at one place in it."""

    def __init__(self, schema: AvroSchema, *nodes: Node) -> None:
        """``nodes``: the values are of any of these."""
        self._schema = schema
        self._nodes = nodes
        self._types = [found for node in nodes for found in schema.types(node)]

    @property
    def logical_type(self) -> str | None:
        return self._schema.logical_type(*self._nodes)

    @property
    def fixed(self) -> bool:
        return any(type_of(each) == "fixed" for each in self._types)

    @property
    def scale(self) -> int | None:
        """None also where the values may be of two scales: no value says which."""
        found = [each.json for each in self._types if type_of(each) in ("bytes", "fixed")]
        scales = {part.get("scale", 0) if isinstance(part, dict) and _is_decimal(part) else None for part in found}
        only = scales.pop() if len(scales) == 1 else None
        return only if type(only) is int and 0 <= only <= _LARGEST_SCALE else None

    @property
    def size(self) -> int | None:
        """How many bytes the values are, where they are bytes of a fixed number, else None."""
        sizes = {each.json["size"] for each in self._types if type_of(each) == "fixed"}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def items(self) -> Declared:
        inner = [
            Node(each.json["items" if type_of(each) == "array" else "values"], each.namespace)
            for each in self._types
            if type_of(each) in _BUILT
        ]
        return AvroDeclared(self._schema, *inner) if inner else NOTHING_DECLARED

    def field(self, name: str) -> Declared:
        fields = [self._schema.fields(each) for each in self._types if self._schema.is_record(each)]
        inner = [found[name] for found in fields if name in found]
        return AvroDeclared(self._schema, *inner) if inner else NOTHING_DECLARED


_LARGEST_SCALE = 400
"""More digits after the point than any column has; a decimal of more is read as bytes that say nothing."""


def type_of(node: Node) -> str:
    """Avro's name for the type of a node that is resolved."""
    kind: str = node.json["type"] if isinstance(node.json, dict) else node.json
    return kind


def _is_decimal(part: Mapping[str, Any]) -> bool:
    return part.get("logicalType") == "decimal"


def renamed(value: Any, symbols: Mapping[str, str]) -> Any:
    """``value`` with the enum symbols in it replaced."""
    if not symbols:
        return value
    match value:
        case str():
            return symbols.get(value, value)
        case list():
            return [renamed(each, symbols) for each in value]
        case dict():
            return {name: renamed(each, symbols) for name, each in value.items()}
    return value


@dataclass
class _Emitted:
    """Turns a schema into one that fastavro takes: each type once, under a name of ours, and nothing that is only for
    people, for other readers, or for the values of other languages."""

    schema: AvroSchema
    defaults: bool
    recursive: bool = False
    symbols: dict[str, str] = field(default_factory=dict)
    _names: dict[tuple[str, bool], str] = field(default_factory=dict)
    _open: set[tuple[str, bool]] = field(default_factory=set)

    def type(self, node: Node, *, text: bool, only: Collection[str] | None = None) -> Any:
        """``text``: False where text is read as bytes."""
        part = node.json
        inner = partial(self.type, text=text)
        if isinstance(part, list):
            return [inner(Node(each, node.namespace)) for each in part]
        if part == "string" and not text:
            return "bytes"
        if isinstance(part, str):
            return (
                part if part in _PRIMITIVES else self._named(*self.schema.definition(part, node.namespace), text, only)
            )
        match part["type"]:
            case "record" | "error" | "enum" | "fixed":
                full = _full_name(part["name"], part.get("namespace", node.namespace))
                return self._named(full, node, text, only)
            case "array" | "map" as kind:
                of = "items" if kind == "array" else "values"
                return {"type": kind, of: inner(Node(part[of], node.namespace))}
            case kind:
                return inner(Node(kind, node.namespace), only=only)

    def _named(self, full: str, node: Node, text: bool, only: Collection[str] | None) -> Any:
        key = (full, text)
        if key in self._names:
            self.recursive |= key in self._open
            return self._names[key]
        name = self._names[key] = f"{'text' if text else 'bytes'}_{self.schema.number(full)}"
        part = node.json
        if part["type"] == "fixed":
            return {"type": "fixed", "name": name, "size": part["size"]}
        if part["type"] == "enum":
            return {"type": "enum", "name": name, "symbols": self._symbols(full, part["symbols"])}
        self._open.add(key)
        namespace = _namespace(node)
        fields = []
        for each in part["fields"]:
            matters = text and (only is None or each["name"] in only)
            emitted = {"name": each["name"], "type": self.type(Node(each["type"], namespace), text=matters)}
            if self.defaults and "default" in each:
                emitted["default"] = each["default"]
            fields.append(emitted)
        self._open.discard(key)
        return {"type": "record", "name": name, "fields": fields}

    def _symbols(self, full: str, symbols: Sequence[str]) -> list[str]:
        if all(symbol.isascii() and symbol.isidentifier() for symbol in symbols):
            return list(symbols)
        ours = [f"symbol_{self.schema.number(full)}_{number}" for number in range(len(symbols))]
        self.symbols.update(zip(ours, symbols, strict=True))
        return ours


def _namespace(definition: Node) -> str:
    """In which the names within a definition are looked up."""
    name: str = definition.json["name"]
    if "." in name:
        return name.rpartition(".")[0]
    namespace: str = definition.json.get("namespace", definition.namespace)
    return namespace or ""


def _full_name(name: str, namespace: str | None) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"

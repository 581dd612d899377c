"""The fields of an Avro schema. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from etar.rows.values import Reader, one_of, read_bytes, read_text, read_uuid
from producer.field_readers import (
    ANY_BYTES,
    INT,
    Field,
    of_several,
    read_boolean,
    read_days,
    read_decimal,
    read_fixed,
    read_float,
    read_list,
    read_map,
    read_nothing,
    read_number_instant,
    read_record,
    read_time_of_day,
    read_uuid_bytes,
    read_whole,
)

_TICKS = {"millis": 1000, "micros": 10**6, "nanos": 10**9}


class AvroTypes:
    """Types of one schema; those with a name are met before they are referred to."""

    def __init__(self) -> None:
        self._named: dict[str, Field] = {}

    def fields(self, record: Mapping[str, Any], space: str = "") -> list[Field]:
        space = _space_of(record, space)
        return [
            self.field(field["name"], field["type"], space)._replace(name=field["name"], optional="default" in field)
            for field in record["fields"]
        ]

    def field(self, name: str, kind: Any, space: str = "") -> Field:
        if isinstance(kind, list):
            kinds = [self.field(name, each, space) for each in kind if each != "null"]
            return of_several(name, kinds, nullable="null" in kind)
        if isinstance(kind, str):
            return self._named.get(_full(kind, space)) or self._named.get(kind) or self._plain(name, {"type": kind})
        made = self._complex(name, kind, space)
        if "name" in kind:
            self._named[_full(kind["name"], _space_of(kind, space))] = made
        return made

    def _complex(self, name: str, kind: Mapping[str, Any], space: str) -> Field:
        match kind["type"]:
            case "record":
                fields: list[Field] = []
                made = Field(name, partial(read_record, fields=fields))
                self._named[_full(kind["name"], _space_of(kind, space))] = made  # it may be within itself
                fields += self.fields(kind, space)
                return made
            case "array":
                return Field(name, partial(read_list, item=self.field(name, kind["items"], space)))
            case "map":
                return Field(name, partial(read_map, item=self.field(name, kind["values"], space)))
            case "enum":
                return Field(name, one_of(tuple(kind["symbols"])))
            case dict() | list() as inner:
                return self.field(name, inner, space)
        return self._plain(name, kind)

    def _plain(self, name: str, kind: Mapping[str, Any]) -> Field:  # noqa: PLR0911  a table
        plain, logical = kind["type"], str(kind.get("logicalType"))
        unit = logical.rpartition("-")[2]
        match plain, logical:
            case "string", "uuid":
                return Field(name, read_uuid, binary=16, uuid=True)
            case "fixed", "uuid":
                return Field(name, read_uuid_bytes, binary=16, uuid=True)
            case (("bytes" | "fixed"), "decimal"):
                return Field(name, partial(read_decimal, digits=kind["precision"], scale=kind.get("scale", 0)))
            case "int", "date":
                return Field(name, read_days)
            case (("int" | "long"), ("time-millis" | "time-micros")):
                return Field(name, partial(read_time_of_day, ticks=_TICKS[unit]))
            case "long", _ if "timestamp" in logical and unit in _TICKS:
                return Field(name, partial(read_number_instant, ticks=_TICKS[unit]))
            case "fixed", _:
                return Field(name, partial(read_fixed, size=kind["size"]), binary=ANY_BYTES)
            case "bytes", _:
                return Field(name, read_bytes, binary=ANY_BYTES)
        return Field(name, _PLAIN_AVRO[plain]) if plain in _PLAIN_AVRO else Field(name, read_nothing, nullable=True)


_PLAIN_AVRO: Mapping[str, Reader] = {
    "string": read_text,
    "int": partial(read_whole, bounds=INT, bits=32),
    "long": read_whole,
    "float": partial(read_float, largest=3.4028235e38),
    "double": read_float,
    "boolean": read_boolean,
}


def _space_of(named: Mapping[str, Any], around: str) -> str:
    name = str(named.get("name", ""))
    return name.rpartition(".")[0] if "." in name else str(named.get("namespace", around))


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"

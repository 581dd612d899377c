"""The fields of a JSON Schema. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from etar.rows.values import Reader, one_of, read_text, refusal
from producer.field_readers import (
    Field,
    of_several,
    read_any,
    read_boolean,
    read_list,
    read_map,
    read_number,
    read_record,
    read_text_date,
    read_text_instant,
    read_text_uuid,
    read_whole,
)


class JsonTypes:
    """Types of one schema, of which parts may be referred to."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._met: dict[str, Field] = {}

    def fields(self, schema: Mapping[str, Any]) -> list[Field]:
        required = schema.get("required", ())
        return [
            self.field(name, kind)._replace(name=name, optional=name not in required)
            for name, kind in schema.get("properties", {}).items()
        ]

    def field(self, name: str, kind: Any) -> Field:
        if not isinstance(kind, dict):
            return Field(name, read_any, nullable=True)
        if (reference := kind.get("$ref")) is not None:
            return self._referred(name, reference)
        if (choices := kind.get("anyOf") or kind.get("oneOf")) is not None:
            others = [each for each in choices if each.get("type") != "null"]
            return of_several(name, [self.field(name, each) for each in others], nullable=len(others) < len(choices))
        if "const" in kind or "enum" in kind:
            return self._one_of(name, kind.get("enum", [kind.get("const")]))
        types = types_of(kind)
        kinds = [self._plain(name, each, kind) for each in types if each != "null"]
        if not types:
            return Field(name, read_any, nullable=True)
        return of_several(name, kinds, nullable="null" in types)

    def _referred(self, name: str, reference: str) -> Field:
        if reference not in self._met:
            found: Any = self._root
            for part in reference.removeprefix("#").strip("/").split("/"):
                found = found.get(part, {}) if part else found
            self._met[reference] = Field(name, partial(self._read_met, reference=reference))  # it may be within itself
            self._met[reference] = self.field(name, found)
        return self._met[reference]

    def _read_met(self, name: str, value: object, *, reference: str) -> Any:
        return self._met[reference].read(name, value)

    def _one_of(self, name: str, allowed: Sequence[Any]) -> Field:
        texts = tuple(each for each in allowed if isinstance(each, str))
        others = {json.dumps(each): each for each in allowed if each is not None and not isinstance(each, str)}
        read_text_of = one_of(texts)

        def read(field: str, value: object) -> Any:
            spelled = value.strip() if isinstance(value, str) else json.dumps(value, default=str)
            if spelled in others:
                return others[spelled]
            if not others:
                return read_text_of(field, value)
            if isinstance(value, str) and value.strip() in texts:
                return value.strip()
            raise refusal(field, value, f"one of {', '.join([*texts, *others])}")

        return Field(name, read, nullable=None in allowed)

    def _plain(self, name: str, plain: str, kind: Mapping[str, Any]) -> Field:
        form = str(kind.get("format"))
        if plain == "array":
            return Field(name, partial(read_list, item=self.field(name, kind.get("items", True))))
        if plain == "object":
            return self._object(name, kind)
        if plain == "string" and form == "uuid":
            return Field(name, read_text_uuid, binary=16, uuid=True)
        return Field(name, _TEXT_FORMS[form] if plain == "string" and form in _TEXT_FORMS else _PLAIN_JSON[plain])

    def _object(self, name: str, kind: Mapping[str, Any]) -> Field:
        more = kind.get("additionalProperties", True)
        if "properties" not in kind and isinstance(more, dict):
            return Field(name, partial(read_map, item=self.field(name, more)))
        return Field(name, partial(read_record, fields=self.fields(kind), open_=more is not False))


_TEXT_FORMS: Mapping[str, Reader] = {"date-time": read_text_instant, "date": read_text_date}
_PLAIN_JSON: Mapping[str, Reader] = {
    "string": read_text,
    "integer": read_whole,
    "number": read_number,
    "boolean": read_boolean,
}


def types_of(kind: Any) -> list[str]:
    found = kind.get("type", []) if isinstance(kind, dict) else []
    return [found] if isinstance(found, str) else list(found)

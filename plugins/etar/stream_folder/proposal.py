"""What a new stream is to be: its columns with the reasons for them, what tells its events apart, when they were."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etar.records.table import METADATA
from etar.streams import RecordFormat, TimeForm

EVENT_MINUTE = "event_minute"
"""The column that the table makes of the event's time."""

RESERVED = METADATA.names | {EVENT_MINUTE}
"""Columns that etar adds to each row."""

_OF_THE_ENGINE = frozenset(("_row_exists", "_block_number", "_block_offset"))
"""Columns that the engine adds by itself, and lets no table have."""

_LINE = 100
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,120}")


@dataclass(frozen=True)
class Proposed:
    """A field of the events, and the column for it.

    ``name``: points lead into nested records (``device.os``). ``declared``: the column's type as SQL has it. ``why``:
    a choice that a person may want otherwise, in words; empty where there was none.
    """

    name: str
    declared: str
    why: str = ""

    @property
    def is_nullable(self) -> bool:
        return "Nullable(" in self.declared.removeprefix("LowCardinality(")[:9]

    @property
    def kind(self) -> str:
        """The type without LowCardinality and Nullable."""
        found = re.fullmatch(r"(?:LowCardinality\()?(?:Nullable\()?(?P<kind>.*?)\)*", self.declared)
        inner = found["kind"] if found else self.declared
        return inner + ")" * (inner.count("(") - inner.count(")"))


@dataclass(frozen=True)
class LeftOut:
    """A field that gets no column, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Proposal:
    """A whole stream, from which its folder is written.

    ``schema_text``: what is registered, or held to. ``records``: some of the sample's, as JSON has them. ``topic``:
    None where it has the stream's name.
    """

    name: str
    title: str
    about: str
    format: RecordFormat
    schema_text: str
    topic: str | None
    identity: tuple[str, ...]
    time: str
    time_form: TimeForm
    columns: tuple[Proposed, ...]
    left_out: tuple[LeftOut, ...]
    records: tuple[Mapping[str, Any], ...]

    def column(self, name: str) -> Proposed:
        return next(column for column in self.columns if column.name == name)


def nullable(declared: str) -> str:
    """The type that takes NULL as well. Arrays and maps stay: they are empty instead."""
    if declared.startswith(("Array(", "Map(")) or "Nullable(" in declared:
        return declared
    if declared.startswith("LowCardinality("):
        return f"LowCardinality(Nullable({declared.removeprefix('LowCardinality(')[:-1]}))"
    return f"Nullable({declared})"


def readable(value: Any, indent: int = 0) -> str:
    """JSON for people: what fits into a line stands in one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= _LINE or not isinstance(value, dict | list) or not value:
        return line
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        parts = (
            f"{json.dumps(name, ensure_ascii=False)}: {readable(each, indent + 2)}" for name, each in value.items()
        )
        start, end = "{", "}"
    else:
        parts = (readable(each, indent + 2) for each in value)
        start, end = "[", "]"
    inner = f",\n{pad}".join(parts)
    return f"{start}\n{pad}{inner}\n{' ' * indent}{end}"


def unfit_name(path: tuple[str, ...], taken: Mapping[str, str]) -> str | None:
    """Why a field cannot have a column of its name; None where it can.

    Args:
        path: the field's name, after those of the records that it is nested in.
        taken: the columns there are already, by their names in small letters.
    """
    name = ".".join(path)
    if not all(map(_IDENTIFIER.fullmatch, path)):
        return "its name is not made of letters, digits and _ (or is longer than 120)"
    if name in RESERVED or name.lower() in RESERVED:
        return "etar adds a column of this name to each row"
    if name.lower() in _OF_THE_ENGINE:
        return "ClickHouse has a column of this name of its own"
    if (other := taken.get(name.lower())) is not None:
        return f"Spark does not tell {name} from {other}"
    return None

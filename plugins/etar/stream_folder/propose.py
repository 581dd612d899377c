"""From a sample to the whole of a stream: what is asked of a person, what is guessed, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from etar.stream_folder import avro_fields
from etar.stream_folder.guesses import (
    NO_COLUMN,
    Field,
    GuessError,
    TimeGuess,
    columns_of,
    fields_of,
    ids_in,
    require_ids,
    time_named,
    times_in,
)
from etar.stream_folder.instants import as_text
from etar.stream_folder.proposal import LeftOut, Proposal, Proposed, readable
from etar.stream_folder.sample import Sample
from etar.streams import RecordFormat, TimeForm

NO_ID = "none"
"""The answer that every record is an event of its own."""


class Ask(Protocol):
    """Puts a question to a person, with the answer that is offered and others that are likely."""

    def __call__(self, question: str, /, *, offered: str, others: Sequence[str]) -> str: ...


@dataclass(frozen=True)
class Wishes:
    """What a person said beforehand; None where nothing was. ``columns``: types by field."""

    identity: tuple[str, ...] | None = None
    time: str | None = None
    title: str | None = None
    format: RecordFormat | None = None
    topic: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def propose(name: str, sample: Sample, wishes: Wishes, ask: Ask) -> Proposal:
    """The stream that a sample and a person's answers make.

    Raises:
        GuessError: none can be made of them; the message says what to do.
    """
    if sample.schema_text is not None:
        return _of_schema(name, sample, sample.schema_text, wishes, ask)
    record_format = wishes.format or sample.format
    fields = fields_of(sample.records)
    time = _time(fields, wishes.time, ask)
    identity = _identity(wishes.identity, ids_in(fields, but=time.name), ask)
    require_ids(fields, identity)
    if time.name in identity:
        raise GuessError(f"{time.name} is both --id and --time; an event's time does not tell it from another")
    columns, left_out = columns_of(fields, time=time, identity=identity, chosen=wishes.columns)
    if record_format is RecordFormat.AVRO:
        columns = [_in_avro(column) for column in columns]
        schema_text, form = avro_fields.schema_of(_record_name(name), columns), TimeForm.LOGICAL
        records: tuple[Mapping[str, Any], ...] = tuple(_only(record, columns, time) for record in sample.records)
    else:
        schema_text, form = _json_schema(name, fields, columns, left_out), time.form
        records = sample.records
    return Proposal(
        name=name,
        title=wishes.title or _title(name),
        about="",
        format=record_format,
        schema_text=schema_text,
        topic=wishes.topic or sample.topic,
        identity=identity,
        time=time.name,
        time_form=form,
        columns=tuple(columns),
        left_out=tuple(left_out),
        records=records,
    )


def _of_schema(name: str, sample: Sample, text: str, wishes: Wishes, ask: Ask) -> Proposal:
    """Of events that have an Avro schema already: it says the types, and is kept as it is."""
    if wishes.format not in (None, RecordFormat.AVRO):
        raise GuessError(f"--format {wishes.format}: the sample is of Avro, whose schema is kept as it is")
    columns, left_out = avro_fields.columns_of_schema(text)
    by_name = {column.name: column for column in columns}
    times = [each for each in avro_fields.instants_of_schema(text) if each in by_name]
    if wishes.time is not None and wishes.time not in times:
        raise GuessError(
            f"--time {wishes.time}: is no field at the top of the schema that is an instant (logical type "
            f"timestamp-millis or timestamp-micros) and never null; there are {', '.join(times) or 'none'}"
        )
    if not times:
        raise GuessError(
            "no field at the top of the schema says when an event happened: give one the logical type "
            "timestamp-millis, not null"
        )
    best = sorted(times, key=lambda each: not re.search(r"time|_at$|At$|ts", each))
    time = wishes.time or _answer(ask, "Which field says when an event happened?", best)
    if time not in times:
        raise GuessError(f"{time} is no such field; there are {', '.join(times)}")
    plain = [each.name for each in columns if "." not in each.name and not each.is_nullable and each.name != time]
    ids = [each for each in plain if re.search(r"(?:^|_)(?:id|uuid|key)$|Id$|ID$", each) and _may_be_id(by_name[each])]
    identity = _identity(wishes.identity, sorted(ids, key=lambda each: by_name[each].kind != "UUID"), ask)
    for each in identity:
        if each not in plain or not _may_be_id(by_name[each]):
            raise GuessError(f"--id {each}: is no field at the top of the schema that is text or a number, never null")
    for each, declared in wishes.columns.items():
        if each not in by_name:
            raise GuessError(f"--column {each}: there is no such column; there are {', '.join(by_name)}")
        by_name[each] = replace(by_name[each], declared=declared)
    dropped = {each for each, declared in wishes.columns.items() if declared == NO_COLUMN}
    kept = tuple(column for column in by_name.values() if column.name not in dropped)
    left_out += [LeftOut(each, "you want none") for each in dropped]
    records = sample.records or tuple(avro_fields.made_up(text, number, kept) for number in range(3))
    return Proposal(
        name=name,
        title=wishes.title or _title(name),
        about="",
        format=RecordFormat.AVRO,
        schema_text=text if text.endswith("\n") else f"{text}\n",
        topic=wishes.topic or sample.topic,
        identity=identity,
        time=time,
        time_form=TimeForm.LOGICAL,
        columns=kept,
        left_out=tuple(left_out),
        records=records,
    )


def _may_be_id(column: Proposed) -> bool:
    return column.kind in ("UUID", "String") or column.kind.startswith(("Int", "UInt"))


def _time(fields: Mapping[str, Field], wish: str | None, ask: Ask) -> TimeGuess:
    if wish is not None:
        return time_named(fields, wish)
    times = times_in(fields)
    if not times:
        raise GuessError(
            "no field of the sample says when an event happened, like 2026-11-21T10:31:00.123Z or as seconds or "
            f"milliseconds since 1970; it has {', '.join(fields) or 'no fields'}. Name one with --time"
        )
    answer = _answer(ask, "Which field says when an event happened?", [each.name for each in times])
    return next((each for each in times if each.name == answer), None) or time_named(fields, answer)


def _identity(wish: tuple[str, ...] | None, likely: Sequence[str], ask: Ask) -> tuple[str, ...]:
    if wish is not None:
        return tuple(dict.fromkeys(each for each in wish if each != NO_ID))
    question = f"Which field tells one event from another (several with commas; {NO_ID}: each record is its own)?"
    answer = _answer(ask, question, [*likely, NO_ID])
    return tuple(dict.fromkeys(each.strip() for each in answer.split(",") if each.strip() not in ("", NO_ID)))


def _answer(ask: Ask, question: str, likely: Sequence[str]) -> str:
    return ask(question, offered=likely[0], others=likely[1:]).strip()


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _record_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _in_avro(column: Proposed) -> Proposed:
    """Avro has no number of 64 bits without a sign."""
    return replace(column, declared=column.declared.replace("UInt64", "Decimal(20, 0)"))


def _only(record: Mapping[str, Any], columns: Sequence[Proposed], time: TimeGuess) -> dict[str, Any]:
    """A record with the fields that have a column, its time as text: what a schema made of the columns has."""
    made: dict[str, Any] = {}
    for column in columns:
        *above, last = column.name.split(".")
        found: Any = record
        for part in above:
            found = found.get(part) if isinstance(found, dict) else None
        value = found.get(last) if isinstance(found, Mapping) else None
        here = made
        for part in above:
            here = here.setdefault(part, {})
        here[last] = as_text(value, time.form) if column.name == time.name else value
    return made


def _json_schema(
    name: str, fields: Mapping[str, Field], columns: Sequence[Proposed], left_out: Sequence[LeftOut]
) -> str:
    """The JSON Schema of records that have these fields; others may be there."""
    root: dict[str, Any] = {}
    reasons = {each.name: each.why for each in left_out}
    known = {column.name: column for column in columns}
    for each in fields.values():
        here = root
        for depth, part in enumerate(each.path):
            if depth == len(each.path) - 1:
                here.setdefault(part, known.get(each.name) or reasons.get(each.name, ""))
            else:
                below = here.setdefault(part, {})
                if not isinstance(below, dict):
                    break
                here = below
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": _record_name(name),
        **_object(root, fields, ()),
    }
    return readable(schema) + "\n"


def _object(tree: Mapping[str, Any], fields: Mapping[str, Field], above: tuple[str, ...]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, of in tree.items():
        path = (*above, name)
        if isinstance(of, dict):
            inner = _object(of, fields, path)
            if "required" in inner:
                required.append(name)
            else:
                inner["type"] = ["object", "null"]
            properties[name] = inner
        elif isinstance(of, Proposed):
            properties[name] = _property(of, fields[of.name])
            if not of.is_nullable and not of.declared.startswith("Array("):
                required.append(name)
        else:
            properties[name] = {"description": f"No column: {of}."}
    schema: dict[str, Any] = {"type": "object"}
    if required:
        schema["required"] = required
    return schema | {"properties": properties}


def _property(column: Proposed, of: Field) -> dict[str, Any]:
    kinds = _json_kinds(of.values)
    schema: dict[str, Any] = {}
    if kinds == ["array"]:
        entries = [entry for value in of.values for entry in value]
        inner = _json_kinds(entries)
        schema = {"type": ["array", "null"], "items": {"type": inner[0] if len(inner) == 1 else inner}}
    else:
        if column.kind.startswith(("Decimal(", "Float")) and "integer" in kinds:
            kinds = sorted({"number" if kind == "integer" else kind for kind in kinds})
        if column.is_nullable:
            kinds = [*kinds, "null"]
        schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    return schema


_JSON_KINDS: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object"}


def _json_kinds(values: Sequence[Any]) -> list[str]:
    kinds = {"null" if value is None else _JSON_KINDS.get(type(value), "number") for value in values}
    if "number" in kinds:
        kinds.discard("integer")
    return sorted(kinds)

"""Every schema that was ever written with, against every change of it: what is registered, and which rows come out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import uuid4

import fastavro
import httpx
import pytest

from etar.dead_letters import Reason
from etar.settings import RegistrySettings
from etar.streams import default_stream
from producer.wire import SchemaRefusedError, open_encoding
from tests.integration.connect.conftest import now_ms
from tests.integration.connect.desk import Desk
from tests.integration.schema.evolutions import ACCEPTED, NEWEST, REFUSED, VERSIONS, Schema, add, alter, changed
from tests.unit.records.events import event

OLD = [json.loads(text) for text in VERSIONS.values()]


def register(registry: RegistrySettings, subject: str, schema: Schema) -> httpx.Response:
    return httpx.post(f"{registry.url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)}, timeout=30)


def register_history(registry: RegistrySettings, subject: str) -> list[int]:
    return [int(register(registry, subject, schema).raise_for_status().json()["id"]) for schema in OLD]


def registered(desk: Desk, registry: RegistrySettings, schema: Schema) -> int:
    return int(register(registry, desk.subject, schema).raise_for_status().json()["id"])


def in_its_unit(wrote: Mapping[str, Any]) -> dict[str, Any]:
    """``wrote``, with an ``event_time`` (given as units a millisecond) of now."""
    units = wrote.get("event_time", 1)
    return {**wrote, "event_time": now_ms() * units}


def stored_or_reason(desk: Desk, offset: int, names: list[str]) -> dict[str, Any] | Reason:
    if offset in (letters := desk.letters()):
        return Reason(letters[offset][0])
    query = f"SELECT {', '.join(names) or '1'} FROM {desk.table} FINAL WHERE _offset = {offset}"
    (row,) = desk.client.query(query).result_rows
    return dict(zip(names, row, strict=False))


def test_the_newest_version_here_is_the_producers() -> None:
    assert list(VERSIONS.values())[-1] == default_stream().schema_text, (
        "the schema was changed: put a copy into versions/ under the next number, and leave the older ones"
    )


@pytest.mark.parametrize("name", ACCEPTED)
def test_old_and_new_writers_side_by_side(name: str, desk: Desk, registry: RegistrySettings) -> None:
    evolution = ACCEPTED[name]
    identifiers = register_history(registry, desk.subject)
    newer = registered(desk, registry, evolution.schema)
    new_event = in_its_unit(evolution.wrote)

    for offset, (identifier, schema) in enumerate(zip(identifiers, OLD, strict=True)):
        desk.intake.take_in(desk.records(identifier, 1, first=offset, schema=schema))
    new = len(OLD)
    desk.intake.take_in(desk.records(newer, 1, first=new, schema=evolution.schema, **new_event))
    desk.intake.take_in(desk.records(identifiers[-1], 1, first=new + 1, schema=NEWEST))

    expected = evolution.stored
    names = [] if isinstance(expected, Reason) else list(expected)
    assert stored_or_reason(desk, new, names) == expected
    old = [offset for offset in range(new + 2) if offset != new]
    assert [offset for offset in desk.column("_offset") if offset != new] == old, "an old writer's events are rows"


@pytest.mark.parametrize("name", [name for name, evolution in ACCEPTED.items() if evolution.column])
def test_a_new_column_is_null_for_old_writers_and_filled_for_new_ones(
    name: str, desk: Desk, registry: RegistrySettings
) -> None:
    evolution = ACCEPTED[name]
    assert evolution.column
    identifiers = register_history(registry, desk.subject)
    newer = registered(desk, registry, evolution.schema)
    desk.alter(f"ADD COLUMN {evolution.column}")

    for offset, (identifier, schema) in enumerate(zip(identifiers, OLD, strict=True)):
        desk.intake.take_in(desk.records(identifier, 1, first=offset, schema=schema))
    desk.intake.take_in(desk.records(newer, 1, first=len(OLD), schema=evolution.schema, **in_its_unit(evolution.wrote)))

    assert desk.column(evolution.column.partition(" ")[0]) == [None] * len(OLD) + [evolution.then]
    assert not desk.letters()


def test_a_number_that_became_wider_reads_the_same_from_every_writer(desk: Desk, registry: RegistrySettings) -> None:
    narrow = changed(add(name="quantity", type=["null", "int"], default=None))
    wide = changed(alter("quantity", type=["null", "long"]), narrow)
    register_history(registry, desk.subject)
    identifiers = [registered(desk, registry, schema) for schema in (narrow, wide)]
    desk.alter("ADD COLUMN quantity Nullable(Int64)")

    for offset, (identifier, schema) in enumerate(zip(identifiers, (narrow, wide), strict=True)):
        desk.intake.take_in(desk.records(identifier, 1, first=offset, schema=schema, quantity=5))
    desk.intake.take_in(desk.records(identifiers[1], 1, first=2, schema=wide, quantity=2**40))

    assert desk.column("quantity") == [5, 5, 2**40]
    assert registered(desk, registry, narrow) == identifiers[0], "an old producer that starts again goes on as before"


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_reader_of_an_accepted_schema_reads_every_old_writers_events(version: str, name: str) -> None:
    writer, reader = json.loads(VERSIONS[version]), ACCEPTED[name].schema
    body = BytesIO()
    written = event(event_time=1_000)
    fastavro.schemaless_writer(body, fastavro.parse_schema(writer), written)
    body.seek(0)

    read = fastavro.schemaless_reader(body, fastavro.parse_schema(writer), fastavro.parse_schema(reader))

    assert isinstance(read, dict)
    assert set(read) == {field["name"] for field in reader["fields"]}
    untouched = {"event_id", "user_id", "session_id", "event_type", "status", "country"}
    assert {name: str(read[name]) for name in untouched} == {name: written[name] for name in untouched}


@pytest.mark.parametrize("name", REFUSED)
def test_an_incompatible_schema_is_refused_at_registration_with_what_and_why(
    name: str, registry: RegistrySettings
) -> None:
    topic = f"evolving_{uuid4().hex[:12]}"
    register_history(registry, f"{topic}-value")
    stream = replace(default_stream(), schema_text=json.dumps(REFUSED[name].schema))

    with pytest.raises(SchemaRefusedError) as refused:
        open_encoding(registry, stream, topic)

    said = str(refused.value)
    assert f"{topic}-value" in said
    assert REFUSED[name].because in said
    assert "streams/user_interactions/schema.avsc" in said
    assert "docs/schema-evolution.md" in said


def test_what_is_refused_leaves_the_subject_as_it_was(registry: RegistrySettings) -> None:
    subject = f"evolving_{uuid4().hex[:12]}-value"
    register_history(registry, subject)
    for refused in REFUSED.values():
        assert register(registry, subject, refused.schema).status_code == 409
    versions = httpx.get(f"{registry.url}/subjects/{subject}/versions", timeout=30).raise_for_status().json()
    assert len(versions) == len(VERSIONS)


def test_a_column_that_takes_no_null_makes_dead_letters_of_old_writers(desk: Desk, registry: RegistrySettings) -> None:
    """Why the new column has to be Nullable."""
    (*_, newest) = register_history(registry, desk.subject)
    desk.alter("ADD COLUMN referrer String")

    desk.intake.take_in(desk.records(newest, 1))

    assert desk.letters()[0] == (
        Reason.MISSING_OR_WRONG_FIELD.value,
        "referrer: the schema has no such field, and the column takes no null",
    )


def test_a_column_with_a_default_is_never_filled_from_events(desk: Desk, registry: RegistrySettings) -> None:
    """Why the new column has no DEFAULT."""
    register_history(registry, desk.subject)
    evolution = ACCEPTED["an optional field is new"]
    newer = registered(desk, registry, evolution.schema)
    desk.alter("ADD COLUMN referrer Nullable(String) DEFAULT 'the default'")

    desk.intake.take_in(desk.records(newer, 1, schema=evolution.schema, referrer="a friend"))

    assert desk.column("referrer") == ["the default"]

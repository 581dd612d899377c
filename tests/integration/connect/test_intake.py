"""The way of a batch into real tables: which layout it is decoded for, and what becomes of rows that are refused."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from etar.clients import WarehouseUnavailableError
from etar.dead_letters import DeadLetter, Reason
from etar.records.intake import REFUSED_TOGETHER, TOLD_APART, Decoded
from etar.records.warehouse import InsertRefusedError
from etar.settings import RegistrySettings, WarehouseSettings
from tests.integration.connect.desk import CountingRegistry, Desk, open_desk
from tests.integration.schemas import register
from tests.unit.records.events import SCHEMA

REFERRER = {"name": "referrer", "type": ["null", "string"], "default": None}
WITH_REFERRER = {**SCHEMA, "fields": [*SCHEMA["fields"], REFERRER]}


@pytest.fixture
def desk(registry: RegistrySettings, warehouse: WarehouseSettings) -> Iterator[Desk]:
    with open_desk(registry, warehouse) as desk:
        yield desk


def refused(stored: Decoded) -> dict[int, DeadLetter]:
    return {letter.offset: letter for letter in stored.letters if letter.reason is Reason.INSERT_REFUSED}


def test_a_column_added_to_the_table_is_filled_from_the_first_record_of_a_new_schema(desk: Desk) -> None:
    desk.intake.take_in(desk.records(desk.register(), 2))
    desk.alter("ADD COLUMN referrer Nullable(String)")
    newer = desk.register(json.dumps(WITH_REFERRER))

    desk.intake.take_in(desk.records(newer, 2, first=2, schema=WITH_REFERRER, referrer="r"))

    assert desk.column("referrer") == [None, None, "r", "r"]


@pytest.mark.parametrize(("seconds", "stored"), [(0.0, None), (29.9, None), (30.0, "r"), (31.0, "r")])
def test_a_column_added_later_than_the_schema_is_filled_once_the_layout_is_read_again(
    desk: Desk, seconds: float, stored: str | None
) -> None:
    newer = desk.register(json.dumps(WITH_REFERRER))

    desk.clock[0] = 100.0
    desk.intake.take_in(desk.records(newer, 1, schema=WITH_REFERRER, referrer="r"))
    desk.alter("ADD COLUMN referrer Nullable(String)")
    desk.clock[0] += seconds
    desk.intake.take_in(desk.records(newer, 1, first=1, schema=WITH_REFERRER, referrer="r"))

    assert desk.column("referrer") == [None, stored]


def test_a_schema_is_read_with_what_it_refers_to_through_others(desk: Desk, registry: RegistrySettings) -> None:
    kind: dict[str, Any] = {"type": "enum", "name": f"{desk.table}.Kind", "symbols": ["phone", "tablet"]}
    box: dict[str, Any] = {
        "type": "record",
        "name": f"{desk.table}.Box",
        "fields": [{"name": "kind", "type": kind["name"]}],
    }
    last = {"name": "box", "type": box["name"]}
    register(registry, f"{desk.table}-kind", json.dumps(kind))
    register(registry, f"{desk.table}-box", json.dumps(box), [(kind["name"], f"{desk.table}-kind")])
    text = json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], last]})
    schema_id = register(registry, desk.subject, text, [(box["name"], f"{desk.table}-box")])
    whole = {
        **SCHEMA,
        "fields": [*SCHEMA["fields"], {**last, "type": {**box, "fields": [{"name": "k", "type": kind}]}}],
    }

    stored = desk.intake.take_in(desk.records(schema_id, 3, schema=whole, box={"k": "tablet"}))

    assert (len(stored.rows), stored.letters) == (3, [])
    latest = desk.registry.latest(desk.subject)
    assert latest is not None
    assert (latest[0], len(latest[1].references), latest[1].missing) == (schema_id, 2, ())


def test_a_schema_named_in_a_header_is_read_or_said_to_be_unknown(desk: Desk) -> None:
    """The registry of these tests knows no GUIDs: that is an answer, and nothing to wait for."""
    schema_id = desk.register()
    bare = [each._replace(value=(each.value or b"")[5:]) for each in desk.records(schema_id, 2)]
    guid = UUID("5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11")
    headers = [("apicurio.value.contentId", schema_id.to_bytes(8, "big")), ("__value_schema_id", b"\1" + guid.bytes)]

    desk.intake.take_in([each._replace(headers=[header]) for each, header in zip(bare, headers, strict=True)])

    assert desk.column("_offset") == [0]
    said = f"schema GUID {guid} in the record's header __value_schema_id: the registry has no such schema"
    assert desk.letters() == {1: ("unknown_schema_id", said)}


def test_a_column_that_no_event_can_fill_stops_neither_who_runs_nor_who_starts(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    known = desk.register()
    desk.intake.take_in(desk.records(known, 1))
    desk.alter("ADD COLUMN hosts Array(IPv4)")
    for offset in (1, 2):
        desk.clock[0] += 30
        desk.intake.take_in(desk.records(known, 1, first=offset))
    assert caplog.text.count("column 'hosts' has the type Array(IPv4)") == 1, "told once, not at every look"

    desk.another().take_in(desk.records(known, 1, first=3))

    assert desk.column("(_offset, hosts)") == [(offset, []) for offset in range(4)]
    assert caplog.text.count("column 'hosts' has the type Array(IPv4)") == 2


def test_a_column_that_is_dropped_between_two_readings_of_the_layout_costs_nothing(desk: Desk) -> None:
    known = desk.register()
    desk.intake.take_in(desk.records(known, 2))
    desk.alter("DROP COLUMN error_code")
    desk.intake.take_in(desk.records(known, 2, first=2))

    assert desk.column("_offset") == [0, 1, 2, 3]
    assert not desk.letters()


def test_a_table_that_lost_what_every_stream_needs_is_waited_for(desk: Desk) -> None:
    known = desk.register()
    desk.intake.take_in(desk.records(known, 1))
    desk.alter("RENAME COLUMN _timestamp TO _appended")

    with pytest.raises(WarehouseUnavailableError, match="No such column _timestamp"):
        desk.intake.take_in(desk.records(known, 1, first=1))

    desk.alter("RENAME COLUMN _appended TO _timestamp")
    desk.intake.take_in(desk.records(known, 1, first=1))
    assert desk.column("_offset") == [0, 1]


def test_a_dead_letters_table_that_lost_a_column_is_waited_for(desk: Desk) -> None:
    desk.client.command("ALTER TABLE dead_letters RENAME COLUMN detail TO details")
    try:
        with pytest.raises(WarehouseUnavailableError, match="No such column detail"):
            desk.intake.take_in(desk.records(999_999_999, 1))
    finally:
        desk.client.command("ALTER TABLE dead_letters RENAME COLUMN details TO detail")


def test_what_takes_too_long_at_once_goes_in_by_halves(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a backlog over a day of minutes does, on a busy machine: a part for each, and no batch would ever end."""
    desk.alter("ADD CONSTRAINT slow CHECK sleepEachRow(0.02) = 0")
    monkeypatch.setattr(desk.warehouse, "_timeout", 2)
    stored = desk.intake.take_in(desk.records(desk.register(), 100))
    assert desk.warehouse.inserts > 1
    assert len(stored.rows) == 100
    assert set(desk.column("_offset")) == set(range(100))


def test_few_refused_rows_are_told_from_all_the_others(desk: Desk) -> None:
    desk.alter("ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < 1000000")
    known = desk.register()
    records = desk.records(known, 20_000)
    places = sorted({0, 19_999} | set(random.Random(5).sample(range(20_000), 2)))
    for place in places:
        records[place] = desk.records(known, 1, first=place, amount=5_000_000)[0]

    stored = desk.intake.take_in(records)

    assert sorted(refused(stored)) == sorted(desk.letters()) == places
    assert all("`affordable`" in letter.detail and "together" not in letter.detail for letter in stored.letters)
    assert len(desk.column("_offset")) == len(stored.rows) == 20_000 - len(places)


def test_a_small_batch_is_told_apart_however_many_are_refused(desk: Desk) -> None:
    desk.alter("ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < 1000000")
    known = desk.register()
    dear = set(random.Random(7).sample(range(TOLD_APART), 40))
    records = [
        desk.records(known, 1, first=place, amount=5_000_000 if place in dear else 5)[0] for place in range(TOLD_APART)
    ]

    desk.intake.take_in(records)

    assert set(desk.letters()) == dear
    assert set(desk.column("_offset")) == set(range(TOLD_APART)) - dear


def test_twenty_thousand_refused_rows_in_a_row_take_few_inserts_and_hide_no_good_one(desk: Desk) -> None:
    desk.alter("ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < 1000000")
    known = desk.register()
    good = [*range(5_000), *range(25_000, 30_000)]
    records = [
        *desk.records(known, 5_000),
        *desk.records(known, 20_000, first=5_000, amount=5_000_000),
        *desk.records(known, 5_000, first=25_000),
    ]

    stored = desk.intake.take_in(records)

    assert desk.warehouse.inserts < 150
    letters = desk.letters()
    assert letters.keys() == refused(stored).keys() > set(range(5_000, 25_000))
    assert set(desk.column("_offset")) == set(range(30_000)) - letters.keys()
    with_others = sorted(letters.keys() & set(good))
    assert len(with_others) < 2_000, "good rows beside the refused ones"
    assert all(letters[offset][1].startswith(REFUSED_TOGETHER) for offset in with_others)

    # What the auditor does with them: in batches small enough, each is told from the others.
    rescued = [row for row in desk.another().decode(records).rows if row.record.offset in with_others]
    for start in range(0, len(rescued), TOLD_APART):
        assert not desk.intake.store(Decoded(rescued[start : start + TOLD_APART])).letters
    assert set(good) <= set(desk.column("_offset"))


def test_a_dead_letter_that_is_refused_is_an_error_and_not_forgotten(desk: Desk) -> None:
    desk.client.command(f"ALTER TABLE dead_letters ADD CONSTRAINT none_of_{desk.table} CHECK _topic != '{desk.table}'")
    try:
        with pytest.raises(InsertRefusedError, match=f"none_of_{desk.table}"):
            desk.intake.take_in([desk.record(0, b"junk")])
    finally:
        desk.client.command(f"ALTER TABLE dead_letters DROP CONSTRAINT none_of_{desk.table}")


def test_ids_that_nobody_registered_are_not_all_asked_for(desk: Desk) -> None:
    known = desk.register()
    chance = random.Random(13)
    values = [b"\0" + chance.randrange(2**30, 2**31).to_bytes(4, "big") + b"body" for _ in range(2_000)]
    records = [*(desk.record(offset, value) for offset, value in enumerate(values))]
    records += desk.records(known, 5, first=2_000)

    desk.intake.take_in(records)

    assert known in desk.registry.asked
    assert len(desk.registry.asked) < 60
    assert {reason for reason, _ in desk.letters().values()} == {Reason.UNKNOWN_SCHEMA_ID.value}
    assert len(desk.letters()) == 2_000
    assert desk.column("_offset") == [2_000, 2_001, 2_002, 2_003, 2_004]


def test_a_schema_just_registered_is_found_among_ids_that_nobody_registered(desk: Desk) -> None:
    desk.register()
    just_registered = desk.register(json.dumps(WITH_REFERRER))
    # Each is named by more records than the good one, and smaller numbers are not to be had.
    junk = [b"\0\0\0\0\0", *(b"\0" + (2**30 + number).to_bytes(4, "big") for number in range(200))] * 2
    records = [desk.record(offset, value) for offset, value in enumerate(junk)]
    records += desk.records(just_registered, 1, first=len(junk), schema=WITH_REFERRER, referrer="r")

    desk.intake.take_in(records)

    assert desk.column("_offset") == [len(junk)]
    assert desk.letters().keys() == set(range(len(junk)))


def test_a_subject_has_the_ids_of_its_newest_versions(desk: Desk) -> None:
    assert desk.registry.ids_of(desk.subject, newest=50) == []
    ids = [desk.register(), desk.register(json.dumps(WITH_REFERRER))]
    assert [desk.registry.ids_of(desk.subject, newest=newest) for newest in (1, 2, 50)] == [ids[1:], ids, ids]


def test_an_id_that_was_unknown_is_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    known = desk.register()
    with monkeypatch.context() as before_it_was_registered:
        before_it_was_registered.setattr(CountingRegistry, "schema", lambda _self, _id: None)
        assert desk.intake.take_in(desk.records(known, 1)).letters
    assert desk.intake.take_in(desk.records(known, 1)).rows

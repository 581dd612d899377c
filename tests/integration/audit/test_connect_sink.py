"""A sink that misbehaves as the official connector does: the auditor puts it right, and the list is right all along.

The connector itself cannot be had here; :mod:`tests.integration.audit.connect_double` says what stands in for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import dead_letters as command
from etar.dead_letter_office.office import Office, open_office
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letters import Reason
from etar.dead_letters.letters import LetterId, Selection, State, UnknownLetterError
from etar.minute import MINUTE
from etar.records.record import Record
from etar.settings import get_settings
from tests.integration.audit.conftest import PARTITIONS, Place, World, malformed, milliseconds
from tests.integration.audit.connect_double import Worker
from tests.integration.audit.test_landing import with_field
from tests.unit.records.events import event

Etar = Callable[..., Result]


def office(world: World, said: list[str] | None = None) -> AbstractContextManager[Office]:
    return open_office(world.stream, command="a test", say=(said if said is not None else []).append)


def unfiled(world: World, **chosen: object) -> dict[Place, Reason]:
    with office(world) as found:
        return {
            (summary.id.partition, summary.id.offset): summary.reason
            for summary, _ in found.find(Selection(states=frozenset({State.UNFILED}), **chosen))  # type: ignore[arg-type]
        }


@pytest.fixture
def etar(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Etar:
    monkeypatch.setattr(command, "stream_named", lambda _: world.stream)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["etar", "dead-letters", *arguments])
        return CliRunner().invoke(command.app, [*arguments, "--dir", str(tmp_path / "no-stack")])

    return run


def misbehave(world: World, worker: Worker) -> None:
    """A put with one misfit, a put in an outage, and one that goes well; malformed records in each."""
    misfit = with_field(world, "amount", "double", 12.5)
    world.send([*world.good(30), *malformed(world), misfit, *world.good(5, first=30)], partition=0)
    world.send(world.good(20, first=40), partition=2)
    worker.run()
    world.send([*world.good(40, first=100), *malformed(world)], partition=1)
    worker.run(warehouse_away=True)
    world.send([*world.good(90, first=200), *malformed(world) * PARTITIONS])
    worker.run()


def test_whatever_connect_gives_up_every_good_record_is_a_row_and_each_bad_one_a_letter(
    world: World,
    worker: Worker,
    etar: Etar,
) -> None:
    misbehave(world, worker)
    rows, letters = world.expected()
    # Bytes behind the record's end: a row to the connector, and nothing in the table tells.
    seen_through = {place for place, reason in letters.items() if reason == "trailing_bytes"}
    given_up = {(record.partition, record.offset) for record in worker.given_up}
    vanished = letters.keys() - given_up - seen_through
    before = set(world.rows())
    assert given_up & set(rows) > {(0, 0), (1, 0), (2, 0)}, "good records among those given up"
    assert not world.letters()
    assert len(vanished) > 10, "tombstones, empty values, and rows that the landing table left out"
    assert unfiled(world).keys() == given_up - before

    result = world.audit()

    in_table = seen_through & before
    assert set(world.rows()) == set(rows) | in_table
    assert world.letters() == {place: reason for place, reason in letters.items() if place not in in_table}
    assert len(in_table) == PARTITIONS, "one in each partition of the last run; those given up are letters"
    assert result.records == len(rows) + len(letters) == sum(row[3] - row[2] for row in world.closed())
    assert world.audit().repaired == 0
    listed = [line.split() for line in etar("list", "--limit", "0").stdout.splitlines()]
    assert {tuple(map(int, place.split(":"))): reason for place, _, reason, *_ in listed} == world.letters()
    assert {line[3] for line in listed} == {"open"}
    assert not unfiled(world)


def test_what_is_not_filed_yet_is_shown_with_what_connect_said_and_not_touched(
    world: World,
    worker: Worker,
    etar: Etar,
    tmp_path: Path,
) -> None:
    world.send([*world.good(2), b"junk"], partition=0)
    worker.run(warehouse_away=True)

    lines = etar("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["0:2", "0:0", "0:1"]
    assert [line.split()[2:4] for line in lines] == [["not_avro", "unfiled"], *[["insert_refused", "unfiled"]] * 2]
    assert "Kafka Connect gave it up (value_converter, DataException): Failed to deserialize" in lines[0]
    assert "a good record by itself; Kafka Connect gave it up (task_put, ConnectException): Connection" in lines[1]
    assert not etar("list", "--state", "open").stdout
    assert len(etar("list", "--state", "unfiled").stdout.splitlines()) == 3
    assert [line.split()[0] for line in etar("list", "--reason", "not_avro").stdout.splitlines()] == ["0:2"]
    assert [line.split()[0] for line in etar("list", "0:1").stdout.splitlines()] == ["0:1"]
    counts = json.loads(etar("list", "--summary", "--json").stdout)
    assert counts["insert_refused"] == {"unfiled": 2, "open": 0, "replayed": 0, "discarded": 0}
    shown = json.loads(etar("show", "0:2", "--json").stdout)
    assert (shown["state"], shown["value"], shown["headers"]) == ("unfiled", b"junk".hex(), [])
    assert json.loads(etar("show", "0:0", "--json").stdout)["form"] == "Avro"
    file = tmp_path / "letters.jsonl"
    assert etar("export", str(file)).exit_code == 0
    assert {json.loads(line)["state"] for line in file.read_text().splitlines()} == {"unfiled"}
    assert len(file.read_text().splitlines()) == 3

    for arguments in (
        ["replay", "0:0"],
        ["fix", "0:2", "--patch", "[]"],
        ["discard", "0:2", "--reason-text", "x"],
    ):
        answer = etar(*arguments, "--apply")
        assert answer.exit_code == 1, answer.output
        if arguments[0] != "fix":
            assert "is not filed yet: the auditor decides within a minute or two" in answer.stdout
    assert etar("replay", "--all", "--apply").stdout.strip() == "no such dead letters"
    with office(world) as them:
        fixed = patch_repair(
            json.dumps([{"op": "add", "path": "", "value": event(event_time=milliseconds(world.minute.start))}])
        )
        outcomes = list(them.fix(Selection(ids=(LetterId(0, 2),)), fixed, schema_id=None, apply=True))
        assert [(outcome.done, outcome.what[:16]) for outcome in outcomes] == [(False, "is not filed yet")]
        with pytest.raises(UnknownLetterError, match="0:3"):
            them.show(LetterId(0, 3))

    world.audit()
    assert [line.split()[2:4] for line in etar("list").stdout.splitlines()] == [["not_avro", "open"]]
    assert etar("discard", "0:2", "--reason-text", "x", "--apply").exit_code == 0


def test_only_what_is_in_no_other_place_is_not_filed_yet(world: World, worker: Worker) -> None:
    """Rows, letters, what was given up twice, other streams' records, and records of minutes that are closed."""
    world.send([*world.good(3), b"junk"], partition=0)
    world.send(world.good(1, first=3), at=world.minute.next.start, partition=0)
    records = world.records()
    worker.run()
    worker.give_up(records, "TASK_PUT", "java.lang.RuntimeException", "twice, and a row by then")
    assert unfiled(world) == {(0, 3): Reason.NOT_AVRO}
    stranger = Record("another_stream", 0, 7, records[0].appended_ms, None, b"theirs")
    worker.give_up([stranger], "TASK_PUT", "java.lang.RuntimeException", "another's")
    assert unfiled(world).keys() == {(0, 3)}

    world.audit()
    # As the table's TTL leaves it: what was closed stays closed, in the last minute before the mark as well.
    world.warehouse_client.command(f"TRUNCATE TABLE {world.stream.table}")
    assert not unfiled(world)

    world.send([b"next"], at=world.minute.next.start + MINUTE, partition=0)
    worker.run()
    assert unfiled(world) == {(0, 5): Reason.NOT_AVRO}
    times = {"first": world.minute.next.start + MINUTE, "end": world.minute.next.start + 2 * MINUTE}
    assert unfiled(world, **times).keys() == {(0, 5)}
    assert not unfiled(world, first=times["end"])
    assert not unfiled(world, end=times["first"])


def test_records_that_do_not_say_where_they_came_from_are_counted(world: World, worker: Worker) -> None:
    world.send([b"junk"], partition=2)
    worker.run()
    worker._producer.produce(world.stream.dead_letter_topic, value=b"no headers")
    worker._producer.produce(world.stream.dead_letter_topic, value=b"x", headers=[("__connect.errors.topic", b"t")])
    assert worker._producer.flush(30) == 0
    said: list[str] = []
    with office(world, said) as them:
        assert [str(summary.id) for summary, _ in them.find(Selection())] == ["2:0"]
    assert ["2 records of" in text and "context.headers.enable" in text for text in said] == [True]


def test_without_the_topic_nothing_is_missed_and_nothing_said(world: World) -> None:
    world.send([b"junk", *world.good(1)], partition=0)
    world.sink()
    said: list[str] = []
    with office(world, said) as them:
        assert [state for _, state in them.find(Selection())] == [State.OPEN]
    assert not said


def test_with_kafka_away_what_is_filed_is_still_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.send([b"junk"], partition=0)
    world.sink()
    monkeypatch.setenv("ETAR_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    get_settings.cache_clear()
    said: list[str] = []
    with office(world, said) as them:
        assert [str(summary.id) for summary, _ in them.find(Selection())] == ["0:0"]
    assert ["what Kafka Connect gave up and is not filed yet is left out: Kafka did" in text for text in said] == [True]

"""An audit that is killed before or after each of its outside writes: the next one ends with the same account.

Beside the check ``Audit`` of ``tests/scenarios``, whose audits are killed from outside, at no chosen line: here it is
each write in turn.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from etar.dead_letters import Reason
from etar.records.intake import Decoded
from etar.records.record import Record
from tests.forked import forked
from tests.integration.audit.conftest import Misbehaviour, World, malformed, milliseconds
from tests.integration.audit.hiding_registry import HidingRegistry
from tests.integration.audit.killed_audit import audit_until_killed
from tests.integration.schemas import register
from tests.unit.records.events import SCHEMA_TEXT, encode, event

WRITES = (
    "Marks.note",
    "Warehouse.insert_rows",
    "Warehouse.insert_dead_letters",
    "Marks.note_gone_letters",
    "Holdings.remove_letters",
    "Holdings.remove_rows",
    "Marks.close",
)


KillAudit = Callable[[World, str, str], None]


@pytest.fixture
def kill_audit(tmp_path: Path) -> KillAudit:
    """A pass that kills itself there, two minutes after the world's minute."""

    def kill_audit(world: World, write: str, when: str) -> None:
        now, log = world.minute.end + timedelta(minutes=2), tmp_path / "audit.log"
        audit = forked(audit_until_killed, world.stream, now, write, when, log=log)
        audit.join(60)
        assert audit.exitcode == -signal.SIGKILL, log.read_text()[-3000:]

    return kill_audit


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_write_and_run_again(world: World, kill_audit: KillAudit, write: str, when: str) -> None:
    chance = random.Random(9)
    values = [*world.good(400), *(malformed(world) * 6)]
    chance.shuffle(values)
    world.send(values)
    world.sink(Misbehaviour(chance), batch=41)

    kill_audit(world, write, when)
    if (write, when) != ("Marks.close", "after"):
        assert not world.closed()

    world.audit()
    world.audit()
    assert world.exact()
    at_minute = [row for row in world.closed() if row[1] == str(world.minute)]
    assert sum(row[4] for row in at_minute) == 400
    assert sum(row[5] for row in at_minute) == 66
    assert world.repairs()
    assert not world.noted_twice()


@pytest.mark.parametrize("write", ["Warehouse.insert_rows", "Marks.note_gone_letters", "Holdings.remove_letters"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_letters_of_closed_minutes_are_decoded_again(
    world: World, hiding: HidingRegistry, kill_audit: KillAudit, write: str, when: str
) -> None:
    schema = SCHEMA_TEXT.replace("{", f'{{"doc": "{world.stream.name}",', 1)
    coming = register(world.registry, f"{world.stream.name}-now-value", schema)
    hiding.hidden.add(coming)
    at = milliseconds(world.minute.start)
    world.send([encode(event(number, event_time=at), schema_id=coming) for number in range(30)] + world.good(30))
    world.sink()
    assert world.audit().dead_letters == 30
    hiding.hidden.clear()
    assert register(world.registry, f"{world.stream.name}-later-value", schema) == coming

    kill_audit(world, write, when)
    world.audit()

    assert world.exact()
    assert [row[4:] for row in world.closed() if row[1] == str(world.minute)] == [(20, 0, 0, 0)] * 3
    assert not world.noted_twice()
    history = world.sql(
        'SELECT "partition", "offset" FROM dead_letter_changes WHERE topic = %s AND action = %s',
        *(world.stream.topic, "rescued"),
    )
    assert len(set(history)) == len(history) == 30


def test_killed_between_the_right_reason_and_the_removal_a_row_is_noted_as_removed_once(
    world: World, kill_audit: KillAudit
) -> None:
    def misfiled_and_a_row(decoded: Decoded) -> Decoded:
        rows = list(decoded.rows)
        spoiled = Decoded(rows)
        for letter in decoded.letters:
            at = milliseconds(letter.appended)
            record = Record(letter.topic, letter.partition, letter.offset, at, letter.key, letter.value)
            spoiled.letters.append(record.dead(Reason.OUT_OF_RANGE, "?"))
            rows.append(decoded.rows[0]._replace(record=record))
        return spoiled

    world.send([*world.good(30), b"junk", b"junk", b"junk"], partition=0)
    world.sink(misfiled_and_a_row)

    kill_audit(world, "Warehouse.insert_dead_letters", "after")
    assert set(world.letters().values()) == {"not_avro"}
    world.audit()

    assert world.exact()
    assert world.repairs() == {"refiled": 3, "row_removed": 3}

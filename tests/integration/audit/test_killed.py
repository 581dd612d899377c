"""An audit that is killed before or after each of its outside writes: the next one ends with the same account."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from tests.integration.audit.conftest import Misbehaviour, World, malformed
from tests.unit.records.events import REPOSITORY

WRITES = (
    "Marks.note",
    "Warehouse.insert_rows",
    "Warehouse.insert_dead_letters",
    "Marks.note_gone_letters",
    "Holdings.remove_letters",
    "Holdings.remove_rows",
    "Marks.close",
)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_write_and_run_again(world: World, write: str, when: str) -> None:
    chance = random.Random(9)
    values = [*world.good(400), *(malformed(world) * 6)]
    chance.shuffle(values)
    world.send(values)
    world.sink(Misbehaviour(chance), batch=41)
    now = world.minute.end + timedelta(minutes=2)

    program = [sys.executable, "-m", "tests.integration.audit.killed_audit", world.stream.name, now.isoformat()]
    killed = subprocess.run([*program, write, when], cwd=REPOSITORY, env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-3000:]
    if (write, when) != ("Marks.close", "after"):
        assert not world.closed()

    world.audit()
    world.audit()
    assert world.exact()
    at_minute = [row for row in world.closed() if row[1] == str(world.minute)]
    assert sum(row[4] for row in at_minute) == 400
    assert sum(row[5] for row in at_minute) == 66
    assert world.repairs()

"""Closed minutes that are looked at again: what was known of them stays known."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta

import pytest

from cli.repair import audit_again
from etar.audit.auditor import LostRecordsError
from etar.audit.reopening import closed_up_to, reopen
from etar.audit.run import run_audit
from etar.clients import report_store_connection
from etar.minute import MINUTE
from etar.records.intake import Decoded
from tests.integration.audit.conftest import World, milliseconds


def drop_the_second(decoded: Decoded) -> Decoded:
    return Decoded([row for row in decoded.rows if row.record.offset != 1], decoded.letters)


def open_again(world: World, suspect_from: Mapping[int, int]) -> None:
    with closing(report_store_connection(world.store)) as connection:
        reopen(connection, world.stream, suspect_from)


def test_an_audit_goes_on_to_the_end_whatever_is_lost(world: World) -> None:
    """Over two hours: one pass closes an hour of arrivals at most."""
    begun = world.minute.start - timedelta(hours=2, minutes=10)
    world.send(world.good(1, event_time=milliseconds(begun)), at=begun, partition=0)
    world.sink()
    run_audit(world.stream, now=lambda: begun + 2 * MINUTE)
    world.send(world.good(2, first=1, event_time=milliseconds(begun)), at=begun + 2 * MINUTE, partition=0)
    world.send(world.good(2, first=3), partition=1)
    world.sink(drop_the_second)
    world.forget({0: 2})

    said: list[str] = []
    audit_again({0: 1}, said.append, stream=world.stream, now=lambda: world.minute.end + 2 * MINUTE)

    assert "1 records" in said[-1]
    assert "are lost" in said[-1]
    with closing(report_store_connection(world.store)) as connection:
        assert set(closed_up_to(connection, world.stream).values()) == {world.minute.next}
    assert world.repairs() == {"lost": 1, "stored": 1}


def test_what_kafka_no_longer_holds_is_not_looked_at_again(world: World) -> None:
    """Rows that left the table for their age would be taken for lost."""
    earlier = [world.minute.start - back * MINUTE for back in (3, 2)]
    for first, at in enumerate(earlier):
        world.send(world.good(2, first=2 * first, event_time=milliseconds(at)), at=at, partition=0)
    world.send(world.good(2, first=4), partition=0)
    world.sink()
    world.audit()
    before = world.closed()
    world.forget({0: 3})  # in the midst of the second minute
    for gone in (0, 4):
        row = f"_partition = 0 AND _offset = {gone}"
        world.warehouse_client.command(
            f"ALTER TABLE {world.stream.table} DELETE WHERE {row} SETTINGS mutations_sync = 2"
        )

    said: list[str] = []
    audit_again({0: 0}, said.append, stream=world.stream, now=lambda: world.minute.end + 2 * MINUTE)

    assert world.closed() == before
    assert world.repairs() == {"stored": 1}
    assert (0, 4) in world.rows()
    assert (0, 0) not in world.rows()
    assert "lost" not in " ".join(said)


def test_a_loss_that_a_person_has_taken_note_of_stays_noted(world: World) -> None:
    world.send(world.good(3), at=world.minute.previous.start)
    world.sink()
    world.audit(minutes=-0.5)
    world.send(world.good(9, first=3))
    world.sink(drop_the_second)
    world.forget({1: 2})
    with pytest.raises(LostRecordsError, match=r"1 records .*\(partition 1: 1\)"):
        world.audit()
    world.audit(accept_lost=True)
    before, noted = world.closed(), world.repairs()

    for _ in range(2):
        open_again(world, {0: 1, 1: 1})
        assert world.closed() != before
        world.audit()
        assert (world.closed(), world.repairs()) == (before, noted)

    # A loss that was not known then is told, and it alone.
    world.forget({2: 2})
    row = "_partition = 2 AND _offset = 1"
    world.warehouse_client.command(f"ALTER TABLE {world.stream.table} DELETE WHERE {row} SETTINGS mutations_sync = 2")
    open_again(world, {1: 1, 2: 1})
    with pytest.raises(LostRecordsError, match=r"1 records .*\(partition 2: 1\)"):
        world.audit()

"""`etar verify` over all places, after a sink that misbehaves as the official connector does."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

from etar.audit.run import run_audit
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import milliseconds
from tests.integration.audit.connect_double import Worker


def test_verify_is_exact_after_the_audit(accounted: AccountedWorld) -> None:
    world = accounted
    with closing(Worker(world.stream, world.kafka, world.registry, world.warehouse)) as worker:
        values = world.good_of(2, 60)
        world.send([*values[:30], b"junk", None, b"", values[0][:-3]])
        worker.run(warehouse_away=True)
        tomorrow = milliseconds(world.now + timedelta(days=1))
        world.send([*values[30:], *values[:6], *world.good(1, event_time=tomorrow)])
        worker.run()
        world.report(3, 2, 1, 0)
        off = world.verify()
        assert sum(partition.missing for partition in off.partitions) == 30 + 4 + 1

        run_audit(world.stream, now=lambda: world.later)
        world.report(3, 2, 1, 0)

        exact = world.verify()
        assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
        totals = exact.totals
        assert (totals.records, totals.events, totals.duplicates, totals.bad) == (71, 60, 6, 5)

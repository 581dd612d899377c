"""`etar verify` over all places, after a sink that misbehaves as the official connector does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka.admin import AdminClient

from etar.audit import run_audit
from etar.minute import MINUTE
from etar.settings import RegistrySettings
from stack.waiting import wait_until
from tests.integration.audit.conftest import milliseconds
from tests.integration.audit.connect_double import Worker
from tests.integration.connect.conftest import new_lane  # noqa: F401  (a fixture)
from tests.integration.test_accounting import (
    World,
    minute_with,
    settings_of_stack,  # noqa: F401  (a fixture)
    world,  # noqa: F401  (a fixture)
)


# Two of the waits are for a group's session to end and for a minute with room in it.
@pytest.mark.timeout(900)
def test_verify_is_exact_after_the_audit(
    world: World,  # noqa: F811
    registry: RegistrySettings,
) -> None:
    lane = world.lane
    world.sink.end()
    # As a static member it is one until its session ends, and nobody else's commits are taken.
    admin = AdminClient({"bootstrap.servers": lane.kafka.bootstrap_servers})
    group = world.stream.sink_group
    wait_until(
        lambda: not admin.describe_consumer_groups([group])[group].result(30).members,
        timeout=60,
        what=f"{group} to be empty",
    )
    # Anew: the world's was chosen before that wait.
    world.this_minute = minute_with(40)
    worker = Worker(world.stream, lane.kafka, registry, lane.warehouse)
    try:
        at = milliseconds(world.minute(2).start + timedelta(seconds=30))
        values = lane.good(60, event_time=at)
        lane.produce([*values[:30], b"junk", None, b"", values[0][:-3]])
        worker.run(warehouse_away=True)
        lane.produce([*values[30:], *values[:6], lane.good(1, event_time=at + 86_400_000)[0]])
        worker.run()
        world.run_pipeline(3, 2, 1, 0)
        off = world.verify()
        assert sum(partition.missing for partition in off.partitions) == 30 + 4 + 1

        run_audit(world.stream, now=lambda: datetime.now(UTC) + 3 * MINUTE)
        world.run_pipeline(3, 2, 1, 0)

        exact = world.verify()
        assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
        totals = exact.totals
        assert (totals.records, totals.events, totals.duplicates, totals.bad) == (71, 60, 6, 5)
    finally:
        worker.close()

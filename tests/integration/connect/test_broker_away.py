"""A broker that dies between a batch's last row in the table and its commit: the native sink on a Kafka of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import MemberDescription

from etar.settings import KafkaSettings, WarehouseSettings
from stack.parts import Stack
from stack.waiting import wait_until
from tests.chaos.faults import Kind
from tests.chaos.links import running_links
from tests.conftest import running_part
from tests.integration.connect.conftest import Lane
from tests.integration.topics import admin_of
from tests.ports import free_ports


# The group's coordinator keeps a member without a sign of life for 10 s: within them the commit is made after all;
# beyond them, or by a sink that was stopped while it waited, the records are read, stored and committed once more.
@pytest.mark.parametrize("back", ["within the session", "beyond the session", "after the sink was stopped"])
def test_a_broker_that_is_away_when_a_batch_is_stored_is_waited_for_and_all_is_committed(
    new_lane: Callable[..., Lane],
    own_stack: Stack,
    warehouse: WarehouseSettings,
    tmp_path: Path,
    back: str,
) -> None:
    through, control = free_ports(2)
    with running_links({"warehouse": (through, warehouse.port)}, control, tmp_path) as links:
        with running_part("kafka", own_stack) as pid:
            lane = new_lane(broker=own_stack.settings.of(KafkaSettings))
            sink = lane.sink(
                ETAR_WAREHOUSE_PORT=str(through), ETAR_KAFKA_BOOTSTRAP_SERVERS=lane.kafka.bootstrap_servers
            )
            lane.produce(lane.good(60))
            sink.start()
            lane.settle(sink)
            with links.disturbed("warehouse", Kind.CUT):
                lane.produce(lane.good(600, first=60))
                wait_until(lambda: sink.said("waiting for the warehouse"), timeout=60, what="the sink to hold a batch")
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: lane.rows("count()") > [(60,)], timeout=60, what="the batch to be stored")
        if back == "beyond the session":
            sink.send(signal.SIGSTOP)  # in the middle of its commit, or after it was told that it failed
        elif back == "after the sink was stopped":
            wait_until(
                lambda: sink.said("waiting for the Kafka broker"), timeout=60, what="the sink to tell of its wait"
            )
            assert sink.end() == 0, "whether or not Kafka's client has given the commit up"
            sink.start()
        with running_part("kafka", own_stack):
            if back == "beyond the session":
                wait_until(lambda: not members(lane), timeout=60, what="the group to give the sink up")
                sink.send(signal.SIGCONT)
            # No record comes after the outage: what is committed is what the sink held, or read once more.
            lane.settle(sink)
            lane.assert_every_offset_is_in_one_place()
            assert lane.rows("count()") == [(660,)]
            if back != "after the sink was stopped":
                assert sink.said("the Kafka broker is back") or not sink.said("waiting for the Kafka broker")
            assert sink.end() == 0


def members(lane: Lane) -> list[MemberDescription]:
    with admin_of(lane.kafka) as admin:
        return admin.describe_consumer_groups([lane.group])[lane.group].result(30).members

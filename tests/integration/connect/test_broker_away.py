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
# beyond them the records are read, stored and committed once more.
@pytest.mark.parametrize("beyond_the_session", [False, True])
def test_a_broker_that_is_away_when_a_batch_is_stored_is_waited_for_and_all_is_committed(
    new_lane: Callable[..., Lane],
    own_stack: Stack,
    warehouse: WarehouseSettings,
    tmp_path: Path,
    *,
    beyond_the_session: bool,
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
        if beyond_the_session:
            # In the middle of its commit, or after it was told that it failed: Kafka's client (librdkafka 2.16) says so
            # after 10 s if it had noticed that the broker is gone before it was asked, else not within three minutes.
            sink.send(signal.SIGSTOP)
        with running_part("kafka", own_stack):
            if beyond_the_session:
                wait_until(lambda: not members(lane), timeout=60, what="the group to give the sink up")
                sink.send(signal.SIGCONT)
            # No record comes after the outage: what is committed is what the sink held, or read once more.
            lane.settle(sink)
            lane.assert_every_offset_is_in_one_place()
            assert lane.rows("count()") == [(660,)]
            assert sink.said("the Kafka broker is back") or not sink.said("waiting for the Kafka broker")
            assert sink.end() == 0


def members(lane: Lane) -> list[MemberDescription]:
    with admin_of(lane.kafka) as admin:
        return admin.describe_consumer_groups([lane.group])[lane.group].result(30).members

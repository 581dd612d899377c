"""Several native sinks of one group: they share the partitions, and a dead one's are taken over by the others."""

from __future__ import annotations

import re
import signal

import pytest

from stack.waiting import wait_until
from tests.integration.connect.conftest import PARTITIONS, Lane, SinkProcess

# Above all that is waited for: the parts, three sinks three times over, their records.
pytestmark = pytest.mark.timeout(900)


def share(sink: SinkProcess) -> list[int]:
    """The partitions that a sink reads, as it said last."""
    said = re.findall(r"reading partitions \[(.*)\]", sink.log.read_text())
    return [int(partition) for partition in said[-1].split(",") if partition] if said else []


def is_shared_by(*sinks: SinkProcess) -> bool:
    shares = [share(sink) for sink in sinks]
    return all(shares) and sorted(p for share in shares for p in share) == list(range(PARTITIONS))


def test_sinks_share_the_partitions_and_take_over_a_dead_ones(lane: Lane) -> None:
    first, second, third = sinks = [lane.sink(instance=name) for name in ("0", "1", "2")]
    for sink in sinks:
        sink.start()
    wait_until(lambda: is_shared_by(*sinks), timeout=90, what="three sinks to share the partitions")

    lane.produce(lane.good(3_000))
    second.end(signal.SIGKILL)
    lane.produce(lane.good(3_000, first=3_000))
    wait_until(lambda: is_shared_by(first, third), timeout=90, what="two sinks to have the third one's share")
    lane.settle(first)
    lane.assert_every_offset_is_in_one_place()

    second.start()
    wait_until(lambda: is_shared_by(*sinks), timeout=90, what="the sink that came back to have a share")
    lane.produce(lane.good(600, first=6_000))
    lane.settle(second)
    lane.assert_every_offset_is_in_one_place()
    assert lane.rows("count(), uniqExact(event_id)") == [(6_600, 6_600)]

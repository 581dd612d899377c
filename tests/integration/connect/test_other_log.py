"""A topic that is not, or not any more, what the sink's commits are of: named, and nothing taken for something else."""

from __future__ import annotations

import signal

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.integration.connect.conftest import PARTITIONS, Lane, SinkProcess
from tests.integration.topics import admin_of, make_anew


def ended(sink: SinkProcess) -> int:
    assert sink.process is not None
    return sink.process.wait(60)


@pytest.mark.parametrize("while_it_runs", [False, True])
def test_a_topic_made_anew_is_named_and_the_rows_of_the_old_one_stay(lane: Lane, *, while_it_runs: bool) -> None:
    lane.produce(lane.good(6))
    sink = lane.sink()
    sink.start()
    lane.settle(sink)
    stored = set(lane.rows("_partition, _offset, event_id"))
    if not while_it_runs:
        assert sink.end() == 0
    make_anew(lane.kafka, lane.topic, PARTITIONS)
    # As many offsets as the sink has committed, and more: it would go on in the middle, and nobody would know.
    lane.produce(lane.good(12, first=100))
    if not while_it_runs:
        sink.start()
    assert ended(sink) == 1
    assert sink.said("was made anew")
    now = set(lane.rows("_partition, _offset, event_id"))
    assert len(stored) == 6
    # A sink that runs looks every ten seconds: what it took before lies beyond the offsets that were committed.
    assert stored <= now if while_it_runs else stored == now


def test_commits_past_the_end_are_named(lane: Lane) -> None:
    lane.produce(lane.good(6))
    commit(lane, dict.fromkeys(range(PARTITIONS), 3))
    sink = lane.sink()
    sink.start()
    assert ended(sink) == 1
    assert sink.said(" ends at 1, and the sink had come to 3")


def test_what_kafka_dropped_unread_is_told_of_and_the_rest_is_read(lane: Lane) -> None:
    lane.produce(lane.good(60))
    commit(lane, {0: 2})
    with admin_of(lane.kafka) as admin:
        gone = [TopicPartition(lane.topic, partition, 5) for partition in (0, 1)]
        for deleted in admin.delete_records(gone).values():
            deleted.result(30)
    sink = lane.sink()
    sink.start()
    lane.settle(sink)
    assert lane.rows("count()") == [(50,)]
    assert sink.said("dropped the offsets 2 to 4 of partition 0")
    assert not sink.said("of partition 1,"), "which had no commit: nobody had begun to read it"
    assert sink.end(signal.SIGTERM) == 0


def commit(lane: Lane, offsets: dict[int, int]) -> None:
    group = Consumer({"bootstrap.servers": lane.kafka.bootstrap_servers, "group.id": lane.group})
    places = [TopicPartition(lane.topic, partition, offset) for partition, offset in offsets.items()]
    group.commit(offsets=places, asynchronous=False)
    group.close()

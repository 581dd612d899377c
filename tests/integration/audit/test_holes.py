"""Records that something takes out of Kafka's log before the sink has them: lost, and never taken for markers. And a
topic that was made anew, whose offsets are those of other records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from confluent_kafka import Producer

from etar import accounting
from etar.accounting import UnverifiableRangeError
from etar.audit.auditor import LostRecordsError, RewoundTopicError
from etar.audit.log import Explained, PartitionLogs
from etar.settings import RetentionSettings, get_settings
from etar.stream_state import AUDIT_BEHIND, StreamState, stream_state
from stack.waiting import wait_until
from tests.integration.audit.conftest import PARTITIONS, World, milliseconds
from tests.integration.topics import delete_topics, make_topic

COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}


def state_of(world: World, *, at: datetime | None = None) -> StreamState:
    return stream_state(
        world.stream,
        kafka=world.kafka,
        store=world.store,
        retention=get_settings(RetentionSettings),
        now=lambda: at or world.minute.end,
    )


def test_what_compaction_took_is_lost(new_world: Callable[..., World], caplog: pytest.LogCaptureFixture) -> None:
    world = new_world(**COMPACTED)
    # One key in each partition. A record more than a second younger begins a segment, and the last is never compacted:
    # one record is left of all that came before it.
    for number, each in enumerate((20, 9, 1)):
        at = world.minute.start + timedelta(seconds=10 + 5 * number)
        world.send(world.good(PARTITIONS * each, first=100 * number), at=at)
    left = 2 * PARTITIONS
    wait_until(lambda: len(world.records()) == left, timeout=120, what="Kafka to compact the topic", interval=0.5)
    world.sink()

    for _ in range(2):
        with pytest.raises(LostRecordsError, match=rf"^{90 - left} records of .* are lost"):
            world.audit()
    assert sum(row[4] for row in world.closed()) == left  # rows
    assert {row[6] for row in world.closed()} == {0}  # without a record
    assert sum(row[7] for row in world.closed()) == 90 - left > 0  # lost
    assert world.audit(accept_lost=True).repaired == 0
    assert any("cleanup.policy=compact" in record.message for record in caplog.records)
    assert any("cleanup.policy=compact" in fault for fault in state_of(world).faults)


def test_the_log_tells_markers_and_what_was_taken_back_from_holes(world: World) -> None:
    producer = Producer({"bootstrap.servers": world.kafka.bootstrap_servers, "transactional.id": world.stream.topic})
    producer.init_transactions(30)
    for finish in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        for value in world.good(2):
            producer.produce(world.stream.topic, value=value, partition=1, timestamp=milliseconds(world.minute.start))
        producer.flush(30)
        finish(30)
    world.send(world.good(1), partition=1)
    # 0 and 1 committed, 2 its marker, 3 and 4 aborted, 5 its marker, 6 outside of any transaction.
    with PartitionLogs(world.stream.topic, world.kafka) as logs:
        explained = logs.explain(1, [2, 3, 4, 5])
        assert explained == Explained(markers=frozenset({2, 5}), taken_back=frozenset({3, 4}))
        assert logs.explain(1, [5]).markers == {5}
        assert logs.explain(1, []).offsets == frozenset()


def test_a_topic_made_anew_is_named_and_the_letters_of_the_old_one_stay(world: World) -> None:
    world.send([*world.good(9), b"not Avro"], partition=0)
    world.sink()
    world.audit()
    letters = world.letters()
    assert list(letters) == [(0, 9)]

    delete_topics(world.kafka, [world.stream.topic])
    make_topic(world.kafka, world.stream.topic, PARTITIONS, **{"message.timestamp.type": "CreateTime"})
    world.committed.clear()
    # As many, and more: offset 9 is a good record now, and a row.
    world.send(world.good(20, first=100), partition=0, at=world.minute.end + timedelta(seconds=30))
    world.sink()
    with pytest.raises(RewoundTopicError, match="is not the one that was audited"):
        world.audit(minutes=3)
    assert world.letters() == letters
    with pytest.raises(UnverifiableRangeError, match="is not the one that was audited"):
        accounting.verify(world.minute, world.minute.next, stream=world.stream)
    assert any("is not the one that was audited" in fault for fault in state_of(world).faults)


def test_the_state_of_a_stream_says_how_far_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.send(world.good(3), partition=1)
    before = state_of(world)
    (fault,) = before.faults
    assert "message.timestamp.type=CreateTime" in fault  # as a World's topic has it
    assert (before.behind, before.audited_through, before.warnings) == (3, None, ())
    late = state_of(world, at=world.minute.end + timedelta(minutes=10))
    (warning,) = late.warnings
    assert "partition 1 at 0 of 3, since " in warning
    assert "nobody reads it" in warning
    world.audit(minutes=10)
    assert any(warning in record.message for record in caplog.records)
    world.sink()
    world.audit(minutes=0.5)
    after = state_of(world, at=world.minute.end + AUDIT_BEHIND)
    assert (after.behind, after.audited_through, after.warnings) == (0, world.minute.end, ())
    (warning,) = state_of(world, at=world.minute.end + AUDIT_BEHIND + timedelta(seconds=1)).warnings
    assert "the audit has come to" in warning

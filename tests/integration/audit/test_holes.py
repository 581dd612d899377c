"""Records that something takes out of Kafka's log before the sink has them: lost, and never taken for markers. And a
topic that was made anew, whose offsets are those of other records."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from etar.audit.auditor import LostRecordsError, RewoundTopicError
from etar.begin_anew import Ended, NewLog, SinkAtWorkError, open_new_log
from etar.dead_letter_office.office import Outcome, open_office
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letters.letters import LetterId, Selection, State
from etar.kafka.log import Explained, PartitionLogs
from etar.kafka.offsets import TopicOffsets
from etar.records.warehouse import Warehouse
from etar.settings import RetentionSettings, get_settings
from etar.stream_state import AUDIT_BEHIND, StreamState, stream_state
from etar.verify import account
from etar.verify.account import UnverifiableRangeError
from stack.waiting import wait_until
from tests.integration.audit.conftest import PARTITIONS, World, milliseconds
from tests.integration.topics import make_anew
from tests.unit.records.events import event

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
    assert any("cleanup.policy=compact" in message for message in caplog.messages)
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
    world.wait_for_markers(partition=1, end=6)
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

    make_anew(world.kafka, world.stream.topic, PARTITIONS, **{"message.timestamp.type": "CreateTime"})
    world.committed.clear()
    # As many, and more: offset 9 is a good record now, and a row.
    world.send(world.good(20, first=100), partition=0, at=world.minute.end + timedelta(seconds=30))
    world.sink()
    with pytest.raises(RewoundTopicError, match="is not the one that was audited"):
        world.audit(minutes=3)
    assert world.letters() == letters
    with pytest.raises(UnverifiableRangeError, match="is not the one that was audited"):
        account.verify(world.minute, world.minute.next, stream=world.stream)
    assert any("is not the one that was audited" in fault for fault in state_of(world).faults)


class KilledError(Exception):
    """In place of a kill -9."""


def begin_anew_killed_everywhere(world: World, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Killed once after each touch of the outside, and run again each time, to its end."""
    killed_at: set[tuple[str, ...]] = set()

    def killed_after(name: str, step: Callable[..., None]) -> Callable[..., None]:
        def run(itself: object, *arguments: str, **named: str) -> None:
            step(itself, *arguments, **named)
            if (touch := (name, *arguments)) not in killed_at:
                killed_at.add(touch)
                raise KilledError

        return run

    for owner, name in (
        (NewLog, "_run"),
        (NewLog, "_withdraw_replays"),
        (NewLog, "_name_books"),
        (NewLog, "_reset_commits"),
        (Warehouse, "note_topic"),
    ):
        monkeypatch.setattr(owner, name, killed_after(name, getattr(owner, name)))
    while True:
        try:
            with open_new_log(world.stream, command="a test") as new_log:
                ended = new_log.ended()
                assert ended is not None
                assert ended.log == f"{world.stream.topic}@1"
                new_log.begin(ended, print)
        except KilledError:
            with pytest.raises(RewoundTopicError):
                world.audit(minutes=3)
        else:
            assert {name for name, *_ in killed_at} >= {"_run", "_name_books", "_reset_commits", "note_topic"}
            return ended


def test_letters_of_a_log_that_has_ended_stay_and_are_replayed_wherever_beginning_anew_was_killed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, before = world.stream, LetterId(0, 9)
    world.send([*world.good(9), b"not Avro"], partition=0)
    world.sink()
    world.audit()
    with open_office(stream, command="a test", say=print) as office:
        assert all(each.done for each in office.discard(Selection(ids=(before,)), "no use", undo=False, apply=True))
    closed = world.closed()
    make_anew(world.kafka, stream.topic, PARTITIONS, **{"message.timestamp.type": "CreateTime"})
    world.committed.clear()
    world.send(world.good(20, first=100), partition=0, at=world.minute.end + timedelta(seconds=30))

    ended = begin_anew_killed_everywhere(world, monkeypatch)

    stored = f"SELECT _topic, _partition, _offset FROM {{}} FINAL WHERE startsWith(_topic, '{stream.topic}') ORDER BY 3"
    assert world.query(stored.format(stream.table)) == [(ended.log, 0, offset) for offset in range(9)]
    assert world.query(stored.format("dead_letters")) == [(ended.log, *before)]
    assert world.query(f"SELECT count() FROM system.tables WHERE startsWith(name, '{stream.table}_')") == [(0,)]
    assert (world.closed(), world.closed(ended.log)) == ([], closed)
    world.sink()
    assert world.audit(minutes=3).rows == 20

    with open_office(stream, command="a test", say=print) as office:
        assert list(office.find(Selection())) == []
        assert office.former_logs() == {ended.log: 1}
    with open_office(stream, command="a test", say=print, log=ended.log) as office:
        only, opened = Selection(ids=(before,)), Selection(states=frozenset({State.OPEN}))
        assert [state for _, state in office.find(only)] == [State.DISCARDED]
        assert all(each.done for each in office.discard(only, "it was", undo=True, apply=True))
        assert [letter.id for letter, _ in office.find(opened)] == [before]
        fields = event(500, event_time=milliseconds(world.minute.start))
        repair = patch_repair(json.dumps([{"op": "add", "path": "", "value": fields}]))
        assert list(office.replay(only, repair=repair, apply=True)) == [Outcome(before, True, "replayed as 0:20")]
        assert list(office.find(opened)) == []
    replays = 'SELECT "partition", "offset", of_offset FROM replayed_records WHERE topic = %s'
    assert world.sql(replays, stream.topic) == [(0, 20, 9)]


def test_a_topic_is_not_begun_anew_while_a_sink_reads_it(world: World) -> None:
    world.send(world.good(9), partition=0)
    world.sink()
    world.audit()
    with open_new_log(world.stream, command="a test") as new_log:
        assert new_log.ended() is None, "there is nothing to do"
    make_anew(world.kafka, world.stream.topic, PARTITIONS, **{"message.timestamp.type": "CreateTime"})
    rows = world.rows()
    consumer = Consumer({"bootstrap.servers": world.kafka.bootstrap_servers, "group.id": world.stream.sink_group})
    consumer.subscribe([world.stream.topic])
    try:
        wait_until(lambda: consumer.poll(0.1) is None and consumer.assignment(), timeout=30, what="an assignment")
        with open_new_log(world.stream, command="a test") as new_log:
            ended = new_log.ended()
            assert ended is not None
            with pytest.raises(SinkAtWorkError, match="stop it first"):
                new_log.begin(ended, print, sink_seconds=0)
            with pytest.raises(SinkAtWorkError, match="stop it first"):
                new_log._reset_commits()  # as where it comes back meanwhile
    finally:
        consumer.close()
    assert world.query(f"SELECT DISTINCT _topic FROM {world.stream.table}") == [(world.stream.topic,)]
    assert (world.rows(), world.sql("SELECT log FROM former_logs WHERE stream = %s", world.stream.name)) == (rows, [])


def test_a_kafka_that_has_lost_what_it_had_taken_is_begun_anew_under_the_same_id(world: World) -> None:
    world.send(world.good(6))
    world.sink()
    sink = Consumer({"bootstrap.servers": world.kafka.bootstrap_servers, "group.id": world.stream.sink_group})
    sink.commit(offsets=[TopicPartition(world.stream.topic, 1, 5)], asynchronous=False)
    sink.close()
    with open_new_log(world.stream, command="a test") as new_log:
        ended = new_log.ended()
        assert ended is not None
        assert (ended.topic_id, ended.rows) == (ended.found, 6)
        assert ended.why == ("the sink has committed 5 of partition 1, which ends at 2",)
        new_log.begin(ended, print)
        assert new_log.ended() is None
    with TopicOffsets.connect(world.stream.topic, settings=world.kafka) as offsets:
        assert set(offsets.committed(world.stream.sink_group).values()) == {0}
    world.committed.clear()
    world.sink()
    assert world.audit().rows == 6
    assert world.query(f"SELECT count(), uniqExact(event_id) FROM {world.stream.table} FINAL") == [(12, 6)]


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
    assert any(warning in message for message in caplog.messages)
    world.sink()
    world.audit(minutes=0.5)
    after = state_of(world, at=world.minute.end + AUDIT_BEHIND)
    assert (after.behind, after.audited_through, after.warnings) == (0, world.minute.end, ())
    (warning,) = state_of(world, at=world.minute.end + AUDIT_BEHIND + timedelta(seconds=1)).warnings
    assert "the audit has come to" in warning

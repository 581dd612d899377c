"""The account against real parts: exact when all is well, and right about each thing that can be wrong."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition

from cli.repair import audit_again
from etar.audit.auditor import LostRecordsError
from etar.audit.run import run_audit
from etar.begin_anew import open_new_log
from etar.clients import object_store_client
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.minute import MINUTE, MinuteWindow
from etar.offsets import Span
from etar.pipeline.affected import affected
from etar.pipeline.facts import read_facts
from etar.report import PublishedReport
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    PipelineSettings,
    ReconcileSettings,
    ReportStoreSettings,
    get_settings,
)
from etar.streams import Stream
from etar.verify import account
from etar.verify.account import ProducerAccount, UnverifiableRangeError
from etar.verify.books import Books
from etar.verify.compare import Verification
from etar.verify.facts import PlaceUnavailableError, StoredObject
from etar.verify.objects import parquet_objects
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import PARTITIONS, milliseconds
from tests.integration.connect.conftest import (
    Lane,
    client_of,
    new_lane,  # noqa: F401  (a fixture)
)
from tests.integration.topics import admin_of, give_partitions, make_anew


@dataclass
class Traffic:
    """500 events, 20 of them twice, a bad record and a null one, all reported."""

    world: AccountedWorld
    started: datetime
    ended: datetime


@pytest.fixture
def traffic(accounted: AccountedWorld) -> Traffic:
    values = accounted.take_in(300, back=2)
    accounted.take_in(200, back=1, first=300)
    accounted.send([*values[:20], b"junk", None])
    accounted.sink()
    accounted.report(3, 2, 1, 0)
    return Traffic(accounted, accounted.minute.start, accounted.now)


def test_the_account_is_exact(traffic: Traffic) -> None:
    exact = traffic.world.verify()
    assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
    rows = [(m.received, m.duplicates, m.unique, m.parquet_rows, m.report_rows, m.report_events) for m in exact.minutes]
    assert rows == [
        (0, 0, 0, None, 0, 0),
        (320, 20, 300, 320, 320, 300),
        (200, 0, 200, 200, 200, 200),
        (0, 0, 0, None, 0, 0),
    ]
    assert [minute.state for minute in exact.minutes] == ["reported"] * 4
    assert sum(minute.dead_letters for minute in exact.minutes) == 2
    assert sum(p.end_offset - p.first_offset for p in exact.partitions) == 522
    assert sum(p.in_dead_letters for p in exact.partitions) == 2
    totals = exact.totals
    assert (totals.records, totals.events, totals.duplicates, totals.bad) == (522, 500, 20, 2)
    assert (totals.acknowledged, totals.too_late, totals.closed, totals.difference) == (None, 0, 0, 0)


def test_the_account_is_exact_with_a_sink_process_and_the_brokers_clock(
    new_accounted: Callable[..., AccountedWorld], tmp_path: Path
) -> None:
    world = new_accounted(**{"message.timestamp.type": "LogAppendTime"})
    world.minute = MinuteWindow.containing(datetime.now(UTC))
    lane = Lane(world.stream.topic, world.kafka, world.warehouse, world.schema_id, tmp_path, world.stream.table)
    sink = lane.sink()
    sink.start()
    try:
        values = world.good_of(2, 300)
        world.send([*values, *world.good_of(1, 200, first=300), *values[:20], b"junk", None])
        lane.settle(sink)
        assert sink.end() == 0
    finally:
        if sink.running:
            sink.end(signal.SIGKILL)
    end = MinuteWindow.containing(datetime.now(UTC)).next
    world.run_pipeline(*MinuteWindow.between(world.earlier(3), end))

    exact = account.verify(world.earlier(3), end, stream=world.stream, now=lambda: end.end + 2 * MINUTE)

    assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
    assert [(m.received, m.unique, m.report_events) for m in exact.minutes if m.received] == [
        (320, 300, 300),
        (200, 200, 200),
    ]
    totals = exact.totals
    assert (totals.records, totals.events, totals.duplicates, totals.bad) == (522, 500, 20, 2)


def test_a_topic_made_anew_is_gone_on_with_and_nothing_of_the_old_one_changes(
    accounted: AccountedWorld, tmp_path: Path
) -> None:
    world, stream = accounted, accounted.stream
    lane = Lane(stream.topic, world.kafka, world.warehouse, world.schema_id, tmp_path, stream.table)
    sink = lane.sink()

    def take_in(*values: bytes) -> None:
        world.send(values, partition=0)
        sink.start()
        lane.settle(sink)
        assert sink.end() == 0
        run_audit(stream, now=lambda: world.later)

    def to_report_again() -> dict[MinuteWindow, str]:
        first = world.earlier(3)
        with closing(client_of(world.warehouse)) as client:
            facts = read_facts(first, world.minute.next, stream=stream, connection=world.books, warehouse=client)
        policy = ReconcileSettings(allowance_seconds=0)
        found = affected(facts, now=world.later, pipeline=get_settings(PipelineSettings), policy=policy)
        return {each.window: each.cause for each in found}

    take_in(*world.good_of(2, 9), b"junk")
    world.report(3, 2, 1, 0)
    assert (world.verify().ok, to_report_again()) == (True, {})
    with open_new_log(stream, command="a test") as new_log:
        assert new_log.ended() is None, "there is nothing to do"
    make_anew(world.kafka, stream.topic, PARTITIONS, **{"message.timestamp.type": "CreateTime"})
    world.send(world.good_of(1, 20, first=100), partition=0)
    sink.start()
    assert sink.process is not None
    assert sink.process.wait(60) == 1
    assert sink.said("was made anew")

    with open_new_log(stream, command="a test") as new_log:
        ended = new_log.ended()
        assert ended is not None
        assert (ended.log, ended.rows, ended.letters, ended.minutes) == (f"{stream.topic}@1", 9, 1, 3)
        new_log.begin(ended, print)
        assert new_log.ended() is None

    assert to_report_again() == {}, "what is reported already is still what the table holds"
    take_in()
    assert lane.rows("_offset") == [(offset,) for offset in range(20)]
    assert [row[2:7] for row in world.closed() if row[4]] == [(0, 20, 20, 0, 0)]
    assert to_report_again() == {world.earlier(1): "late"}
    world.report(1)
    exact = world.verify()
    assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
    assert [(m.received, m.report_events, m.revision, m.dead_letters) for m in exact.minutes] == [
        (0, 0, 1, 0),
        (9, 9, 1, 0),
        (20, 20, 2, 0),
        (0, 0, 1, 1),
    ]
    assert exact.totals.records == 20


def test_partitions_that_a_topic_is_given_while_all_runs_are_taken_in_audited_and_counted(
    accounted: AccountedWorld, tmp_path: Path
) -> None:
    world, stream = accounted, accounted.stream
    lane = Lane(stream.topic, world.kafka, world.warehouse, world.schema_id, tmp_path, stream.table)
    sink = lane.sink()
    world.send(world.good_of(2, 30))
    sink.start()
    try:
        lane.settle(sink)
        run_audit(stream, now=lambda: world.later)
        give_partitions(world.kafka, stream.topic, PARTITIONS + 2)
        for partition in (1, PARTITIONS, PARTITIONS + 1):
            world.send([*world.good_of(1, 10, first=100 * partition), b"junk"], partition=partition)
        lane.settle(sink)
        assert sink.end() == 0
    finally:
        if sink.running:
            sink.end(signal.SIGKILL)
    run_audit(stream, now=lambda: world.later + MINUTE)
    world.report(3, 2, 1, 0)

    lane.assert_every_offset_is_in_one_place()
    counted = Counter({row[0]: 0 for row in world.closed()})
    for partition, _, first, end, *_ in world.closed():
        counted[partition] += end - first
    assert counted == {0: 10, 1: 21, 2: 10, PARTITIONS: 11, PARTITIONS + 1: 11}
    exact = world.verify()
    assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
    assert [(m.received, m.report_events) for m in exact.minutes] == [(0, 0), (30, 30), (30, 30), (0, 0)]
    assert (exact.totals.records, exact.totals.bad) == (63, 3)


def test_a_producers_account_is_compared_with_what_kafka_took(traffic: Traffic) -> None:
    world = traffic.world
    claimed = {p.partition: p.end_offset - p.first_offset for p in world.verify().partitions}
    told = ProducerAccount(world.stream.topic, traffic.started, traffic.ended + timedelta(seconds=1), claimed)
    agreed = world.verify(producer_account=told)
    assert agreed.ok
    totals = agreed.totals
    assert (totals.acknowledged, totals.events, totals.duplicates, totals.bad) == (522, 500, 20, 2)
    # One record more than Kafka took; then one less, and in doubt about it.
    claimed[1] += 1
    assert world.verify(producer_account=told).difference == 1
    claimed[1] -= 2
    assert world.verify(producer_account=told).difference == 1
    assert world.verify(producer_account=replace(told, in_doubt=1)).ok


def test_an_account_from_before_what_kafka_holds_cannot_be_compared(traffic: Traffic) -> None:
    world = traffic.world
    claimed = {p.partition: p.end_offset - p.first_offset for p in world.verify().partitions}
    told = ProducerAccount(world.stream.topic, traffic.started, traffic.ended + timedelta(seconds=1), claimed)
    world.forget({2: 1})
    with pytest.raises(UnverifiableRangeError, match=r"partition 2 begins at offset 1.*Without the account"):
        world.verify(producer_account=told)
    assert world.verify().ok


def test_a_sink_that_stands_still_is_named_though_all_that_is_settled_is_exact(traffic: Traffic) -> None:
    world = traffic.world
    world.send(world.good_of(0, 7, first=800))

    def later(minutes: int) -> Verification:
        now = world.now + minutes * MINUTE
        return account.verify(world.earlier(3), stream=world.stream, now=lambda: now)

    assert later(3).totals.note is None
    assert later(10).ok
    assert "the sink has still to take 7 records" in (later(10).totals.note or "")


def test_a_minute_that_is_revised_while_it_is_compared_is_no_difference(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = traffic.world
    read = account._reports

    def after_a_revision(stream: Stream, windows: list[MinuteWindow]) -> dict[MinuteWindow, PublishedReport]:
        world.take_in(5, back=2, first=900)
        world.report(2)
        return read(stream, windows)

    monkeypatch.setattr(account, "_reports", after_a_revision)
    revised = world.verify().minutes[1]
    assert (revised.difference, revised.revision) == (0, 2), revised.note


def test_an_account_is_only_exact_when_every_minute_of_its_events_is_reported(traffic: Traffic) -> None:
    world = traffic.world
    claimed = {p.partition: p.end_offset - p.first_offset for p in world.verify().partitions}
    told = ProducerAccount(world.stream.topic, traffic.started, traffic.ended + timedelta(seconds=1), claimed)
    world.take_in(6, back=5, first=900)  # before the range
    told = replace(
        told,
        ended_at=world.now + timedelta(seconds=1),
        acknowledged={p.partition: p.end_offset - p.first_offset for p in world.verify().partitions},
    )
    unreported = world.verify(producer_account=told)
    assert (unreported.totals.difference, unreported.difference) == (6, 6)
    assert "6 events are not in the reports" in (unreported.totals.note or "")
    world.report(5)
    assert world.verify(producer_account=told).ok


def test_late_rows_are_a_difference_once_their_report_is_due(traffic: Traffic) -> None:
    world = traffic.world
    world.take_in(6, back=1, first=900)
    late = world.verify()
    # Table against Parquet, table against report, events against the report's; and the ledger, which is as old.
    assert late.difference == 6 * 3 + 1
    assert "6 rows came after the minute was reported" in (late.minutes[2].note or "")
    assert (late.minutes_off, late.totals.difference) == ([world.earlier(1)], 6)
    # Someone who looks just after they came sees them coming.
    soon = world.verify(now=lambda: world.minute.end + timedelta(seconds=3))
    assert (soon.ok, soon.minutes[2].pending) == (True, 6)
    world.report(1)
    assert world.verify().ok
    assert world.verify().minutes[2].revision == 2


def test_rows_that_the_table_lost_are_named_and_put_back_by_the_auditor(traffic: Traffic) -> None:
    world = traffic.world
    run_audit(world.stream, now=lambda: world.later)  # closed: the repair has to open it again
    lost = "_partition = 1 AND _offset IN (10, 11, 20)"  # two neighbours and a lone one
    world.warehouse_client.command(f"ALTER TABLE {world.stream.table} DELETE WHERE {lost} SETTINGS mutations_sync = 2")

    gone = world.verify()
    assert (gone.partitions[1].missing, gone.partitions[1].missing_ranges) == (3, ((10, 11), (20, 20)))
    assert gone.difference == 3 + sum(minute.difference for minute in gone.minutes)
    assert (gone.minutes[1].difference, gone.minutes[1].lost_rows) == (3 * 3 + 1 + 3, 3)
    # From the first record of the minute on: the reports say which are its records.
    assert gone.suspect_from.keys() == set(range(PARTITIONS))
    assert gone.minutes_off == []
    assert gone.repair == (
        f"etar verify --stream {world.stream.name} --repair --from {world.earlier(3)} --to {world.minute.next}"
    )

    said: list[str] = []
    audit_again(gone.suspect_from, said.append, stream=world.stream, now=lambda: world.later)
    assert "3 stored" in said[0]
    assert world.verify().ok


def test_minutes_before_the_deployment_are_compared_if_they_have_rows(
    accounted: AccountedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ordinary first use: a stack of this minute is sent events of today."""
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", accounted.minute.start.isoformat())
    get_settings.cache_clear()

    def verify() -> Verification:
        return account.verify(stream=accounted.stream, now=lambda: accounted.minute.end + 2 * MINUTE)

    accounted.take_in(5, back=120)
    accounted.take_in(5, back=3, first=5)
    unreported = verify()
    expected = [(str(accounted.earlier(120)), 5), (str(accounted.earlier(3)), 5), (str(accounted.minute), 0)]
    assert [(minute.minute, minute.received) for minute in unreported.minutes] == expected
    assert unreported.minutes_off == [accounted.earlier(120), accounted.earlier(3), accounted.minute]
    accounted.report(120, 3, 0)
    reported = verify()
    assert [(minute.minute, minute.received) for minute in reported.minutes] == expected
    assert reported.difference == 0


def test_rows_that_were_lost_long_after_they_were_audited_are_not_taken_for_expired(traffic: Traffic) -> None:
    """Whether or not the minute is reported from what is left of it."""
    world = traffic.world
    later = lambda: world.now + timedelta(hours=3)  # noqa: E731
    run_audit(world.stream, now=lambda: world.later)
    assert world.verify(now=later).ok
    lost = "_partition = 1 AND _offset IN (10, 11, 20)"
    world.warehouse_client.command(f"ALTER TABLE {world.stream.table} DELETE WHERE {lost} SETTINGS mutations_sync = 2")

    gone = world.verify(now=later)
    assert (gone.minutes[1].lost_rows, gone.minutes_off) == (3, [])
    world.report(2)
    gone = world.verify(now=later)
    assert (gone.minutes[1].report_rows, gone.minutes[1].lost_rows, gone.difference) == (317, 3, 3)
    assert [minute.difference for minute in gone.minutes] == [0, 3, 0, 0]
    assert "3 rows that its report counted are not in the table any more" in (gone.minutes[1].note or "")
    # What left the table for its age, and what did not, cannot be told by offsets.
    assert (gone.partitions[1].closed, gone.partitions[1].difference) == (3, 0)

    audit_again(gone.suspect_from, lambda _: None, stream=world.stream, now=lambda: world.later)
    back = world.verify(now=later)
    assert (back.minutes[1].lost_rows, back.minutes_off) == (0, [world.earlier(2)])
    world.report(2)
    assert world.verify(now=later).ok


def test_a_dead_letter_that_was_lost_after_it_was_audited_is_missing(traffic: Traffic) -> None:
    world = traffic.world
    later = lambda: world.now + timedelta(hours=3)  # noqa: E731
    run_audit(world.stream, now=lambda: world.later)
    (partition, offset), _ = sorted(world.letters())
    here = f"_topic = '{world.stream.topic}' AND _partition = {partition} AND _offset = {offset}"
    world.warehouse_client.command(f"DELETE FROM dead_letters WHERE {here}")
    world.report(0)  # the ledger counts the dead letters that there are

    gone = world.verify(now=later)
    assert (gone.difference, gone.partitions[partition].missing) == (1, 1)
    ((first, last),) = gone.partitions[partition].missing_ranges
    assert first <= offset <= last
    assert gone.repair is not None
    # After 30 days it would have left for its age.
    after = world.minute.next.start + timedelta(days=30)
    with Books(get_settings(ReportStoreSettings), world.stream) as books:
        for letters_from, kept in ((world.minute, 1), (MinuteWindow.containing(after), 0)):
            closed = books.closed(world.earlier(3), world.minute.next, letters_from=letters_from)
            assert sum(each.dead_letters for each in closed[partition]) == kept

    audit_again(gone.suspect_from, lambda _: None, stream=world.stream, now=lambda: world.later)
    world.report(0)
    assert world.verify(now=later).ok


def test_a_row_that_the_auditor_took_out_is_not_missed(traffic: Traffic) -> None:
    """A sink made a row of a bad record, and the minute was reported with it."""
    world = traffic.world
    (partition, offset), _ = sorted(world.letters())
    columns = "event_id, user_id, session_id, event_type, status, event_time, device, country, _topic, _timestamp"
    world.warehouse_client.command(
        f"INSERT INTO {world.stream.table} ({columns}, _partition, _offset) SELECT {columns}, {partition}, {offset} "
        f"FROM {world.stream.table} WHERE _partition = {partition} AND {world.earlier(2).predicate} LIMIT 1",
        parameters=world.earlier(2).parameters,
    )
    world.report(2)
    assert world.verify().minutes[1].report_rows == 321

    assert run_audit(world.stream, now=lambda: world.later).repairs == {"row_removed": 1}
    taken_out = world.verify()
    assert (taken_out.minutes[1].lost_rows, taken_out.minutes_off) == (0, [world.earlier(2)])
    world.report(2)
    assert world.verify().ok


def test_a_record_in_both_places_is_decided_by_the_auditor(traffic: Traffic) -> None:
    world = traffic.world
    record = f"_topic = '{world.stream.topic}' AND _partition = 0 AND _offset = 5"
    columns = "_topic, _partition, _offset, _timestamp"
    world.warehouse_client.command(
        f"INSERT INTO dead_letters ({columns}, reason) SELECT {columns}, 'truncated' FROM {world.stream.table} "
        f"WHERE {record}"
    )
    both = world.verify()
    assert (both.partitions[0].difference, both.partitions[0].in_both_sample) == (1, (5,))
    # The minute that took it in has one dead letter more than the ledger says.
    assert both.difference == 2
    assert both.suspect_from == {0: 5}

    audit_again(both.suspect_from, lambda _: None, stream=world.stream, now=lambda: world.later)
    assert world.verify().ok


def test_a_parquet_object_that_went_away_is_missed(traffic: Traffic) -> None:
    world = traffic.world
    key = world.stream.extract_key(world.earlier(2))
    object_store_client(world.objects).delete_object(Bucket=world.objects.bucket, Key=key)
    missing = world.verify().minutes[1]
    assert missing.difference == 320 + 1
    assert "the ledger says object size" in (missing.note or "")


def test_a_ledger_that_says_otherwise_is_a_difference(traffic: Traffic) -> None:
    world = traffic.world
    world.books.execute(
        "UPDATE minutes SET unique_events = 299, duplicates = 21 WHERE stream = %s AND minute = %s",
        (world.stream.name, world.earlier(2).start),
    )
    said = world.verify()
    assert (said.difference, said.minutes_off) == (1, [world.earlier(2)])
    assert "the ledger says unique events 299, found 300" in (said.minutes[1].note or "")


def test_dead_letters_are_told_apart_by_what_became_of_them(traffic: Traffic) -> None:
    world = traffic.world
    letters = sorted(world.letters())
    too_late = milliseconds(world.now - timedelta(hours=25))
    world.send(world.good(3, first=800, event_time=too_late), partition=2)
    # A good record that stands for the first letter; the other one is given up.
    world.send(world.good_of(1, 1, first=700), partition=letters[0][0])
    world.sink()
    with TopicOffsets.connect(world.stream.topic, settings=world.kafka) as offsets:
        replay = offsets.end()[letters[0][0]] - 1
    topic, by = world.stream.topic, "a test"
    for (partition, offset), state in zip(letters, ("replayed", "discarded"), strict=True):
        world.books.execute(
            'INSERT INTO dead_letter_changes (topic, "partition", "offset", action, state, changed_by, command) '
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (topic, partition, offset, state, state, by, by),
        )
    world.books.execute(
        "INSERT INTO dead_letter_replays (replay_id, topic, sent_to, of_partition, of_offset, search_from, "
        "sent_offset, sent_at) VALUES (gen_random_uuid(), %s, %s, %s, %s, 0, %s, now())",
        (topic, topic, *letters[0], replay),
    )
    world.report(1, 0)

    verification = world.verify()
    assert verification.ok, verification.model_dump_json(indent=1)
    totals = verification.totals
    assert (totals.too_late, totals.bad, totals.discarded, totals.replayed, totals.replays) == (3, 0, 1, 1, 1)
    claimed = {p.partition: p.end_offset - p.first_offset for p in verification.partitions}
    claimed[letters[0][0]] -= 1  # the replay was not the producer's
    told = ProducerAccount(topic, traffic.started, world.now + timedelta(seconds=1), claimed)
    agreed = world.verify(producer_account=told)
    assert agreed.ok
    assert agreed.totals.acknowledged == 522 + 3


def test_a_replay_that_was_interrupted_is_not_another_producers(traffic: Traffic) -> None:
    world = traffic.world
    claimed = {p.partition: p.end_offset - p.first_offset for p in world.verify().partitions}
    (partition, offset), _ = sorted(world.letters())
    begin = (
        "INSERT INTO dead_letter_replays (replay_id, topic, sent_to, of_partition, of_offset, search_from) "
        "VALUES (gen_random_uuid(), %s, %s, %s, %s, %s)"
    )
    world.books.execute(begin, (world.stream.topic, world.stream.topic, partition, offset, claimed[partition]))
    world.send(world.good_of(1, 1, first=700), partition=partition)
    world.sink()
    world.report(1)
    told = ProducerAccount(world.stream.topic, traffic.started, world.now + timedelta(seconds=1), claimed)

    in_doubt = world.verify(producer_account=told)
    assert in_doubt.difference == 1
    assert f"etar dead-letters replay {partition}:{offset} --apply" in (in_doubt.partitions[partition].note or "")
    span = Span(0, claimed[partition])
    with Books(get_settings(ReportStoreSettings), world.stream) as books:
        assert books.unsettled_replays(partition, span) == []  # it was begun when all these were there
        assert books.unsettled_replays(partition, Span(0, span.end + 1)) == [(partition, offset)]
    world.books.execute(
        "UPDATE dead_letter_replays SET sent_offset = %s, sent_at = now() WHERE topic = %s",
        (claimed[partition], world.stream.topic),
    )
    assert world.verify(producer_account=told).ok


def test_what_the_auditor_has_closed_may_leave_the_table(traffic: Traffic) -> None:
    """Five events of almost a day ago arrive; two and a half hours later their minute has left the table."""
    world = traffic.world
    aged = world.now - timedelta(hours=23, minutes=50)
    world.send(world.good(5, first=900, event_time=milliseconds(aged)), partition=2)
    world.sink()
    later = lambda: world.now + timedelta(hours=2, minutes=30)  # noqa: E731

    unaudited = world.verify(now=later)
    assert unaudited.partitions[2].missing == 5
    assert unaudited.partitions[2].unaudited == unaudited.partitions[2].end_offset
    assert "not audited yet" in (unaudited.partitions[2].note or "")

    run_audit(world.stream, now=lambda: world.later)
    closed = world.verify(now=later)
    assert closed.ok, closed.model_dump_json(indent=1)
    assert [p.closed for p in closed.partitions] == [0, 0, 5]
    assert (closed.totals.closed, closed.totals.records, closed.totals.events) == (5, 527, 500)


def test_a_minute_without_a_report_is_a_gap_even_when_it_is_empty(accounted: AccountedWorld) -> None:
    accounted.report(3, 2, 0)
    verification = accounted.verify()
    assert [minute.difference for minute in verification.minutes] == [0, 0, 1, 0]


def test_a_sink_that_is_behind_has_no_settled_minute_to_compare(accounted: AccountedWorld) -> None:
    accounted.send(accounted.good(10))
    with pytest.raises(UnverifiableRangeError, match="is not settled yet"):
        accounted.verify()
    accounted.sink()
    assert not accounted.verify().partitions[0].difference


def test_a_place_that_is_away_is_named(accounted: AccountedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value, place in (
        ("ETAR_API_URL", "http://127.0.0.1:9", "the report API at"),
        ("ETAR_S3_ENDPOINT_URL", "http://127.0.0.1:9", "the object store does not give"),
        ("ETAR_WAREHOUSE_PORT", "9", "the warehouse at"),
        ("ETAR_REPORT_STORE_PORT", "9", "the report store at"),
    ):
        with monkeypatch.context() as patched:
            patched.setenv(variable, value)
            get_settings.cache_clear()
            with pytest.raises(PlaceUnavailableError, match=place):
                accounted.verify()
    get_settings.cache_clear()


def test_a_footer_of_any_size_is_read_by_its_end(object_store: ObjectStoreSettings) -> None:
    stream = Stream("footers")
    windows = [MinuteWindow.parse(f"2026-11-21T10:3{digit}Z") for digit in range(3)]
    client = object_store_client(object_store)
    for window, groups in zip(windows[:2], (1, 2_000), strict=True):
        file = BytesIO()
        table = pa.table({f"column_{number}": range(groups) for number in range(4)})
        pq.write_table(table, file, row_group_size=1)
        client.put_object(Bucket=object_store.bucket, Key=stream.extract_key(window), Body=file.getvalue())
    heads = [client.head_object(Bucket=object_store.bucket, Key=stream.extract_key(window)) for window in windows[:2]]
    assert heads[1]["ContentLength"] > 128 * 1024

    assert parquet_objects(object_store, stream, windows) == {
        window: StoredObject(rows, head["ContentLength"], head["ETag"].strip('"'))
        for window, rows, head in zip(windows, (1, 2_000), heads, strict=False)
    }
    client.put_object(Bucket=object_store.bucket, Key=stream.extract_key(windows[2]), Body=b"PAR1 no, not at all")
    with pytest.raises(PlaceUnavailableError, match="is not whole Parquet"):
        parquet_objects(object_store, stream, windows)


def test_offsets_held_at_an_instant_are_exact_to_the_millisecond(new_lane: Callable[..., Lane]) -> None:  # noqa: F811
    lane = new_lane()
    for number in range(3):
        lane.produce(lane.good(1, first=number), partition=2)
        time.sleep(0.02)  # the broker's clock must move on between two records
    appended = _append_times(lane, partition=2, count=3)
    with TopicOffsets.connect(lane.topic, settings=lane.kafka) as offsets:
        assert offsets.held_at(appended[0])[2] == 0
        assert offsets.held_at(appended[0] + timedelta(microseconds=1))[2] == 1
        assert offsets.held_at(appended[1] - timedelta(milliseconds=1))[2] == 1
        assert offsets.held_at(appended[1])[2] == 1
        assert offsets.held_at(appended[1] + timedelta(milliseconds=1))[2] == 2
        assert (
            offsets.held_at(appended[2] + timedelta(hours=1)) == offsets.end() == {0: 0, 1: 0, 2: 3, 3: 0, 4: 0, 5: 0}
        )
        with pytest.raises(ValueError, match="no time zone"):
            offsets.held_at(datetime(2026, 11, 21))  # noqa: DTZ001


def test_a_group_that_never_committed_stands_at_the_low_watermark(new_lane: Callable[..., Lane]) -> None:  # noqa: F811
    lane = new_lane()
    lane.produce(lane.good(5), partition=1)
    with admin_of(lane.kafka) as admin:
        for future in admin.delete_records([TopicPartition(lane.topic, 1, 2)]).values():
            future.result(30)
    with TopicOffsets.connect(lane.topic, settings=lane.kafka) as offsets:
        assert offsets.low()[1] == 2
        assert offsets.committed("nobody") == {0: 0, 1: 2, 2: 0, 3: 0, 4: 0, 5: 0}


def test_a_topic_that_does_not_exist_is_named(kafka: KafkaSettings) -> None:
    with (
        TopicOffsets.connect("no_such_topic", settings=kafka) as offsets,
        pytest.raises(UnknownTopicError, match="Kafka has no topic 'no_such_topic'"),
    ):
        offsets.end()


def test_a_kafka_that_is_away_is_told_in_time() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    started = time.monotonic()
    with (
        TopicOffsets.connect("t", settings=settings, timeout=1) as offsets,
        pytest.raises(KafkaUnavailableError, match="did not answer about topic 't' within 1 s"),
    ):
        offsets.end()
    assert time.monotonic() - started < 5


def _append_times(lane: Lane, *, partition: int, count: int) -> list[datetime]:
    consumer = Consumer({"bootstrap.servers": lane.kafka.bootstrap_servers, "group.id": f"look-{lane.topic}"})
    consumer.assign([TopicPartition(lane.topic, partition, 0)])
    messages = consumer.consume(count, timeout=30)
    consumer.close()
    return [datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC) for message in messages]


def test_what_kafka_lost_at_the_beginning_of_a_minute_is_lost_and_not_missing(accounted: AccountedWorld) -> None:
    accounted.send(accounted.good(3 * PARTITIONS), at=accounted.earlier(1).start + timedelta(seconds=30))
    accounted.sink()
    accounted.audit(minutes=-1 + 0.5)
    accounted.send(accounted.good(4 * PARTITIONS, first=100))
    accounted.forget(dict.fromkeys(range(PARTITIONS), 5))
    accounted.sink()
    with pytest.raises(LostRecordsError, match=rf"^{2 * PARTITIONS} records "):
        accounted.audit()
    parts = accounted.verify().partitions
    assert [(part.first_offset, part.lost, part.missing) for part in parts] == [(0, 2, 0)] * PARTITIONS
    of_one_minute = account.verify(
        accounted.minute, accounted.minute.next, stream=accounted.stream, now=lambda: accounted.later
    )
    assert [(part.first_offset, part.lost, part.missing) for part in of_one_minute.partitions] == [
        (3, 2, 0)
    ] * PARTITIONS

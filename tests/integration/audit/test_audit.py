"""The auditor against real parts: whatever a sink did, the account ends exact, and what is closed stays closed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from etar.audit.auditor import Bounds, LostRecordsError, NotRepairedError, RewoundTopicError
from etar.audit.holdings import Holdings
from etar.audit.marks import AuditBusyError, Marks
from etar.audit.pieces import Piece
from etar.audit.placement import Repair
from etar.audit.run import run_audit
from etar.clients import report_store_connection
from etar.dead_letters import Reason
from etar.dead_letters.journal import Author, Journal
from etar.dead_letters.letters import LetterId
from etar.minute import MINUTE, MinuteWindow
from etar.offsets import Span
from etar.records.framing import IN_HEADER
from etar.records.intake import Decoded
from etar.verify.facts import ClosedOffsets
from etar.verify.table import Table
from tests.integration.audit.conftest import PARTITIONS, Misbehaviour, World, malformed, milliseconds
from tests.integration.audit.hiding_registry import HidingRegistry
from tests.integration.schemas import register
from tests.unit.records.events import SCHEMA, SCHEMA_TEXT, encode, event

SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)


def as_letters(decoded: Decoded, reason: Reason, detail: str = "misfiled") -> Decoded:
    return Decoded([], decoded.letters + [row.record.dead(reason, detail) for row in decoded.rows])


def take_affordable_only(world: World) -> None:
    """Have the table refuse an amount of 1000 and more."""
    world.warehouse_client.command(
        f"ALTER TABLE {world.stream.table} ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < 1000"
    )


def test_a_good_sink_is_left_alone_and_its_minute_closed(world: World) -> None:
    world.send([*world.good(300), *malformed(world)])
    world.sink()
    before = (world.rows(), world.letters())

    result = world.audit()

    assert world.exact()
    assert (world.rows(), world.letters()) == before
    assert result.repaired == 0
    assert (result.records, result.rows, result.dead_letters) == (311, 300, 11)
    assert not world.repairs()


@pytest.mark.parametrize(("seed", "bounds"), [(4, Bounds()), (6, Bounds(piece_offsets=300, offsets_at_once=700))])
def test_whatever_a_sink_does_at_random_the_account_ends_exact(world: World, seed: int, bounds: Bounds) -> None:
    chance = random.Random(seed)
    values = [*world.good(3_000), *(malformed(world) * 15)]
    chance.shuffle(values)
    world.send(values)
    misbehaviour = Misbehaviour(chance)
    world.sink(misbehaviour, batch=97)
    assert all(misbehaviour.did.values()), misbehaviour.did
    assert not world.exact(), "the control: without the audit the account is off"

    result = world.audit(bounds=bounds)

    assert world.exact()
    assert (result.records, result.rows, result.dead_letters) == (len(values), 3_000, 165)
    assert sum(row[3] - row[2] for row in world.closed() if row[1] == str(world.minute)) == len(values)
    done = {Repair.STORED, Repair.FILED, Repair.RESCUED, Repair.REFILED, Repair.LETTER_REMOVED, Repair.ROW_REMOVED}
    assert world.repairs().keys() == done == result.repairs.keys()
    again = world.audit()
    assert (again.minutes, again.repaired) == (0, 0)


def test_minutes_of_arrival_are_closed_half_open_and_one_after_the_other(world: World) -> None:
    start, end = world.minute.start, world.minute.end
    for at in (start - MILLISECOND, start, start + 30 * SECOND, end - MILLISECOND, end, end + 2 * MINUTE):
        world.send(world.good(1), at=at, partition=1)
    world.sink()

    world.audit(minutes=3.5)

    minutes = [str(MinuteWindow(start + number * MINUTE)) for number in range(-1, 4)]
    ranges = [(0, 1), (1, 4), (4, 5), (5, 5), (5, 6)]
    assert world.closed() == [
        *[(0, minute, 0, 0, 0, 0, 0, 0) for minute in minutes],
        *[(1, minute, *span, span[1] - span[0], 0, 0, 0) for minute, span in zip(minutes, ranges, strict=True)],
        *[(2, minute, 0, 0, 0, 0, 0, 0) for minute in minutes],
    ]


def test_a_minute_is_left_alone_until_it_is_over_and_the_sink_past_it(world: World) -> None:
    world.send(world.good(3), at=world.minute.start)
    world.sink()
    grace = 2 / 60
    assert world.audit(minutes=grace - 0.001).minutes == 0
    world.send(world.good(1, first=3), at=world.minute.end - MILLISECOND, partition=1)
    assert world.audit(minutes=grace).minutes == 1
    assert {row[0] for row in world.closed()} == {0, 2}
    world.sink()
    assert world.audit(minutes=grace).records == 2
    assert {row[0] for row in world.closed()} == {0, 1, 2}


def test_an_empty_topic_has_nothing_to_close(world: World) -> None:
    assert world.audit().minutes == 0
    assert not world.closed()


def test_one_pass_takes_on_so_many_minutes_and_the_next_goes_on(world: World) -> None:
    for number in range(5):
        world.send(world.good(1, first=number), at=world.minute.start + number * MINUTE, partition=0)
    world.sink()
    passes = [world.audit(minutes=10, bounds=Bounds(minutes=2)).minutes for _ in range(3)]
    assert passes == [2, 2, 2]
    assert [(row[2], row[3]) for row in world.closed() if row[0] == 0] == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 5),
    ]


def test_rows_and_letters_that_left_after_the_closing_are_not_taken_for_lost(world: World) -> None:
    world.send([*world.good(30), *malformed(world)])
    world.sink()
    world.audit()
    closed = world.closed()
    world.warehouse_client.command(f"TRUNCATE TABLE {world.stream.table}")
    world.forget(world.offsets())

    assert world.audit(minutes=3).repaired == 0
    assert set(closed) < set(world.closed())
    assert not world.rows()


def test_a_record_of_a_minute_that_has_left_the_table_is_counted_and_not_stored(world: World) -> None:
    """The first minute that is kept, the one before it (at its start and at its end), and one long before."""
    kept = MinuteWindow.containing(datetime.now(UTC) - timedelta(hours=26)).next.next
    world.minute = MinuteWindow(kept.start - 60 * MINUTE)
    world.send(world.good(3))
    world.minute = kept
    for number, at in enumerate([kept.previous.start, kept.start - MILLISECOND, kept.start, kept.end - MILLISECOND], 1):
        world.send(world.good(3, first=number * 3, event_time=milliseconds(at)))
    world.sink(lambda _: Decoded())

    now = kept.start + timedelta(hours=26) - MILLISECOND
    result = run_audit(world.stream, bounds=Bounds(minutes=100), now=lambda: now)

    assert result.repairs == {Repair.STORED: 6, Repair.EXPIRED: 9}
    assert (result.records, result.rows) == (15, 15)
    assert len(world.rows()) == 6


def test_lost_records_are_named_until_a_person_has_taken_note(world: World) -> None:
    world.send(world.good(3), at=world.minute.previous.start)
    world.sink()
    world.audit(minutes=-0.5)
    world.send(world.good(27, first=3))
    world.sink(lambda decoded: Decoded([row for row in decoded.rows if row.record.offset not in {2, 3, 5}]))
    world.forget({1: 5})
    told = r"2 records .* are lost: .*\(partition 1: 2-3\)"

    with pytest.raises(LostRecordsError, match=told):
        world.audit()
    # Everything else was done.
    assert world.repairs() == {"lost": 2, "stored": 7}
    at_minute = [row[4:] for row in world.closed() if row[1] == str(world.minute)]
    assert at_minute == [(9, 0, 0, 0), (7, 0, 0, 2), (9, 0, 0, 0)]
    with pytest.raises(LostRecordsError, match=told):
        world.audit()
    assert world.audit(accept_lost=True).repaired == 0
    assert world.audit(minutes=3).repaired == 0
    assert sum(row[7] for row in world.closed()) == 2


def test_offsets_without_a_record_are_told_from_missing_ones(world: World) -> None:
    configuration = {"bootstrap.servers": world.kafka.bootstrap_servers, "transactional.id": world.stream.topic}
    producer = Producer(configuration)
    producer.init_transactions(30)
    when = milliseconds(world.minute.start)
    for number, finish in enumerate([producer.commit_transaction, producer.abort_transaction] * 2):
        producer.begin_transaction()
        for value in world.good(3, first=number * 3):
            producer.produce(world.stream.topic, value=value, partition=0, timestamp=when)
        producer.flush(30)
        finish(30)
    world.wait_for_markers(partition=0, end=16)
    world.sink(lambda decoded: Decoded(decoded.rows[::2]))

    # Markers carry the broker's own time: these offsets arrive over several minutes, up to now.
    result = world.audit(minutes=10)

    # Two committed transactions of three records; four markers, and six records that were taken back.
    assert world.rows() == [(0, 0), (0, 1), (0, 2), (0, 8), (0, 9), (0, 10)]
    assert (result.records, result.rows, result.no_record) == (16, 6, 10)
    assert world.audit(minutes=11).repaired == 0


@pytest.mark.parametrize(("minutes", "rescued"), [(100, True), (120, False)])
def test_a_letter_becomes_a_row_only_while_a_report_is_sure_to_count_it(
    world: World, minutes: int, rescued: bool
) -> None:
    """The table keeps its minute for 126 minutes from now, and a report may take ten."""
    world.send(world.good(3, event_time=milliseconds(world.minute.start - timedelta(minutes=24 * 60 - 6))))
    world.sink(lambda decoded: Decoded([], [row.record.dead(Reason.INSERT_REFUSED, "?") for row in decoded.rows]))
    world.audit(minutes=minutes)
    assert (len(world.rows()), len(world.letters())) == ((3, 0) if rescued else (0, 3))


def test_letters_under_a_schema_that_was_registered_since_are_rescued_below_the_mark(
    world: World, hiding: HidingRegistry
) -> None:
    schema = SCHEMA_TEXT.replace("{", f'{{"doc": "{world.stream.name}",', 1)
    coming = register(world.registry, f"{world.stream.name}-later-value", schema)
    hiding.hidden.add(coming)
    at = milliseconds(world.minute.start)
    world.send([encode(event(number, event_time=at), schema_id=coming) for number in range(30)] + world.good(30))
    world.sink()
    assert world.audit().dead_letters == 30
    assert world.audit().repaired == 0
    assert set(world.letters().values()) == {"unknown_schema_id"}

    hiding.hidden.clear()
    result = world.audit()

    assert result.repairs == {Repair.RESCUED: 30}
    assert not world.letters()
    assert world.exact()
    assert [row[4:] for row in world.closed() if row[1] == str(world.minute)] == [(20, 0, 0, 0)] * PARTITIONS
    history = world.sql(
        "SELECT action, changed_by, detail FROM dead_letter_changes WHERE topic = %s", world.stream.topic
    )
    assert history == [("rescued", "etar audit", {"reason": "unknown_schema_id"})] * 30


def test_letters_that_an_older_etar_could_not_read_are_rescued_below_the_mark(world: World) -> None:
    world.send(world.good(30))
    records = world.records()
    world.sink()
    world.audit()
    world.warehouse_client.command(f"TRUNCATE TABLE {world.stream.table}")
    unread = [record.dead(Reason.UNSUPPORTED_SCHEMA, "schema id 7: a 'schema' it cannot parse") for record in records]
    in_header = f"schema GUID 5{IN_HEADER}x: the registry has no such schema"
    unread[:3] = [record.dead(Reason.UNKNOWN_SCHEMA_ID, in_header) for record in records[:3]]
    with world.intake() as intake:
        intake.store(Decoded([], unread))

    assert world.audit().repairs == {Repair.RESCUED: 30}
    assert not world.letters()
    assert world.exact()


def test_letters_under_the_subjects_own_schema_are_found_among_thousands_of_unknown_ids(
    world: World, hiding: HidingRegistry
) -> None:
    at = milliseconds(world.minute.start)
    junk = [b"\0" + (2**30 + number).to_bytes(4, "big") + b"junk" for number in range(2_000)]
    fields = [*SCHEMA["fields"], {"name": world.stream.name, "type": ["null", "string"], "default": None}]
    schema = {**SCHEMA, "fields": fields}
    # The same schema has the same id under every subject.
    coming = register(world.registry, f"{world.stream.name}-elsewhere-value", json.dumps(schema))
    hiding.hidden.add(coming)
    written = encode({**event(event_time=at), world.stream.name: "x"}, schema=schema, schema_id=coming)
    world.send([*junk, written], partition=0)
    world.sink()
    assert world.audit().dead_letters == 2_001

    hiding.hidden.clear()
    assert register(world.registry, f"{world.stream.topic}-value", json.dumps(schema)) == coming
    assert world.audit().repairs == {Repair.RESCUED: 1}
    assert world.rows() == [(0, 2_000)]


def test_rows_refused_together_are_told_apart_in_bounded_steps(world: World) -> None:
    take_affordable_only(world)
    values = world.good(130, amount=1) + world.good(20, first=130, amount=5_000)
    random.Random(2).shuffle(values)
    world.send(values, partition=0)
    world.sink(
        lambda decoded: as_letters(decoded, Reason.INSERT_REFUSED, "refused together with 149 others: affordable")
    )
    bounds = Bounds(refused_letters=60, refused_letters_each=0)

    assert world.audit(bounds=bounds).open == 1
    assert world.audit(bounds=bounds).open == 1
    assert world.audit(bounds=bounds).open == 0
    assert len(world.rows()) == 130
    assert set(world.letters().values()) == {"insert_refused"}
    assert [row[4:] for row in world.closed() if row[:2] == (0, str(world.minute))] == [(130, 20, 0, 0)]


def test_rows_that_the_audit_itself_stores_are_told_apart_as_well(world: World) -> None:
    """A sink that gave up a whole batch for some of its rows, and left it in no place."""
    take_affordable_only(world)
    values = world.good(225, amount=1) + world.good(75, first=225, amount=5_000)
    random.Random(3).shuffle(values)
    world.send(values, partition=0)
    world.sink(lambda _: Decoded([], []))
    bounds = Bounds(refused_letters=40, refused_letters_each=60)

    assert world.audit(bounds=bounds).open == 1, "good rows are among those that were refused together"
    passes = 1
    while world.audit(bounds=bounds).open:
        passes += 1
        assert passes < 10
    assert len(world.rows()) == 225
    assert set(world.letters().values()) == {"insert_refused"}
    assert [row[4:] for row in world.closed() if row[:2] == (0, str(world.minute))] == [(225, 75, 0, 0)]


def test_pieces_on_both_sides_of_four_billion_offsets_are_counted(world: World) -> None:
    border = 2**32
    pieces = [Piece(0, world.minute, Span(first, first + 10)) for first in (0, border - 10, border, border + 10)]
    world.warehouse_client.command(
        "INSERT INTO dead_letters (_topic, _partition, _offset, _timestamp, reason, detail) "
        "SELECT {topic:String}, 0, arrayJoin({offsets:Array(Int64)}), {at:DateTime64(3, 'UTC')}, 'not_avro', ''",
        parameters={
            "topic": world.stream.topic,
            "offsets": [border - 11, border - 10, border - 1, border, border + 9, border + 10],
            "at": world.minute.start,
        },
    )
    with Holdings(world.warehouse, world.stream) as holdings:
        counts = holdings.counts(pieces)
    assert [counts[piece].letters for piece in pieces] == [0, 2, 2, 1]

    closed = [ClosedOffsets(Span(first, first + 10), 2, 0, 0) for first in (border - 10, border, border + 10)]
    with Table(world.warehouse, world.stream, oldest=world.minute) as table:
        coverage = table.coverage(0, Span(border - 10, border + 20), closed=closed, young_from=border + 20)
    assert (coverage.in_dead_letters, coverage.closed, coverage.missing) == (5, 24, 1)
    assert coverage.missing_spans == ((border + 10, border + 20),)


def test_an_offset_is_noted_once_for_a_repair_whatever_runs_it_was_in(world: World) -> None:
    with closing(report_store_connection(world.store)) as connection:
        marks = Marks(connection, world.stream)
        marks.note(0, Repair.ROW_REMOVED, dict.fromkeys((2, 3, 4, 8), "truncated"))
        marks.note(0, Repair.ROW_REMOVED, dict.fromkeys((1, 2, 4, 5, 7, 8, 9), "not_avro"))
        marks.note(0, Repair.ROW_REMOVED, {3: "truncated", 4: "not_avro"})
        marks.note(0, Repair.STORED, {3: ""})
        marks.note(1, Repair.ROW_REMOVED, {3: "truncated"})

    runs = 'SELECT "partition", first_offset, end_offset, reason FROM audit_repairs WHERE stream = %s AND repair = %s'
    removed = world.sql(f"{runs} ORDER BY 1, 2", world.stream.name, Repair.ROW_REMOVED.value)
    assert removed == [
        (0, 1, 2, "not_avro"),
        (0, 2, 5, "truncated"),
        (0, 5, 6, "not_avro"),
        (0, 7, 8, "not_avro"),
        (0, 8, 9, "truncated"),
        (0, 9, 10, "not_avro"),
        (1, 3, 4, "truncated"),
    ]
    assert world.repairs() == {"row_removed": 9, "stored": 1}


def test_a_letter_that_a_person_has_dealt_with_is_left_as_it_is(world: World) -> None:
    world.send(world.good(3), partition=0)
    world.sink(lambda decoded: as_letters(decoded, Reason.NOT_AVRO))
    with closing(report_store_connection(world.store)) as connection:
        Journal(connection, world.stream.topic).discarded([LetterId(0, 1)], Author("test", "test"), "not wanted")

    world.audit()

    assert world.rows() == [(0, 0), (0, 2)]
    assert world.letters() == {(0, 1): "not_avro"}


def test_a_second_audit_waits_for_the_first_or_says_so(world: World) -> None:
    world.send(world.good(200))
    world.sink(lambda decoded: Decoded(decoded.rows[::2]))
    with (
        closing(report_store_connection(world.store)) as connection,
        Marks(connection, world.stream).held(1),
        pytest.raises(AuditBusyError, match=r"at work for 0\.2 s"),
    ):
        world.audit(wait_seconds=0.2)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: world.audit(), range(3)))
    assert sorted(result.records for result in results) == [0, 0, 200]
    assert sorted(result.repaired for result in results) == [0, 0, 100]
    assert world.exact()


def test_a_topic_that_was_made_anew_is_not_audited_as_the_old_one(world: World) -> None:
    world.send(world.good(30))
    world.sink()
    world.audit()
    world.sql(
        'UPDATE audited_offsets SET end_offset = 20, "rows" = 10 WHERE stream = %s AND "partition" = 2 AND minute = %s',
        *(world.stream.name, world.minute.next.start),
    )
    with pytest.raises(RewoundTopicError, match=r"partition 2 .* up to offset 20, and Kafka's end is 10"):
        world.audit(minutes=5)


def test_twenty_thousand_poison_records_at_once(world: World) -> None:
    poison = [b"junk %d" % number for number in range(20_000)]
    world.send([*world.good(1_000), *poison])
    world.sink(lambda decoded: Decoded(decoded.rows, decoded.letters[::3]))
    result = world.audit()
    assert (result.rows, result.dead_letters) == (1_000, 20_000)
    assert world.exact()
    assert world.audit(minutes=3).repaired == 0


def test_rows_still_being_removed_leave_the_minute_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def row_of_the_junk(decoded: Decoded) -> Decoded:
        (letter,), (row, *_) = decoded.letters, decoded.rows
        place = row.record._replace(partition=letter.partition, offset=letter.offset)
        return Decoded([*decoded.rows, row._replace(record=place)], decoded.letters)

    world.send([*world.good(30), b"junk"])
    world.sink(row_of_the_junk)
    with monkeypatch.context() as patch:
        patch.setattr(Holdings, "remove_rows", lambda *_: None)
        with pytest.raises(NotRepairedError, match="partitions 0 are not where they should be"):
            world.audit()
    assert not [row for row in world.closed() if row[:2] == (0, str(world.minute))]
    world.audit()
    assert world.exact()


@pytest.mark.parametrize("reason", [Reason.NOT_AVRO, Reason.UNKNOWN_SCHEMA_ID])
def test_a_whole_batch_misfiled_over_several_minutes(new_world: Callable[..., World], reason: Reason) -> None:
    world = new_world()
    for number in range(3):
        world.send(world.good(50, first=number * 50), at=world.minute.start + number * MINUTE)
    world.sink(lambda decoded: as_letters(decoded, reason))
    assert world.audit(minutes=5).repairs == {Repair.RESCUED: 150}
    assert world.exact()
    assert not world.letters()

"""One pass of the audit over a topic and places in memory: what is put right, what is closed, and what is raised."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from etar.audit.auditor import Bounds, LostRecordsError, NotRepairedError, RewoundTopicError
from etar.audit.marks import Closed
from etar.audit.placement import Repair
from etar.dead_letters import Reason
from etar.dead_letters.letters import LetterId
from etar.instants import to_milliseconds
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.records.intake import REFUSED_TOGETHER, TOLD_APART
from tests.unit.audit.world import BAD, MINUTE, POLICY, REFUSED_AMOUNT, UNKNOWN_SCHEMA_ID, World, good
from tests.unit.records import events

SECOND = timedelta(seconds=1)
LEAVES = MINUTE.start + POLICY.retention
"""When the table drops the minute."""


def minutes_closed(world: World) -> list[tuple[int, MinuteWindow]]:
    return sorted(world.books.closed, key=lambda each: (each[1].start, each[0]))


def closed(world: World, partition: int = 0) -> Closed:
    return world.books.closed[partition, MINUTE]


def test_a_minute_that_is_exact_is_closed_and_nothing_is_done() -> None:
    world = World()
    world.topic.append(0, good(0), good(1), BAD)
    world.sink(0, 1)
    world.misfile(2, reason=Reason.NOT_AVRO)
    result = world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=2, dead_letters=1, no_record=0, lost=0)
    assert (result.minutes, result.records, result.rows, result.dead_letters, result.open) == (1, 3, 2, 1, 0)
    assert (result.repairs, result.repaired, world.log) == ({}, 0, [])
    assert str(result) == (
        "closed 1 minutes: 3 records = 2 rows + 1 dead letters + 0 without a record; nothing to repair"
    )


def test_what_is_in_no_place_is_noted_and_then_brought_where_it_belongs() -> None:
    world = World()
    world.topic.append(0, good(0), BAD, good(2))
    world.sink(0)
    result = world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=2, dead_letters=1, no_record=0, lost=0)
    assert world.books.noted == {(0, Repair.STORED): {2: ""}, (0, Repair.FILED): {1: "not_avro"}}
    assert world.log == ["stored 0:2 noted", "filed 0:1 noted", "row 0:2 stored", "letter 0:1 filed"]
    assert result.repairs == {Repair.STORED: 1, Repair.FILED: 1}
    assert (result.repaired, str(result).partition("; ")[2]) == (2, "1 filed, 1 stored")


def test_letters_that_were_too_late_are_told_apart() -> None:
    world = World()
    old = to_milliseconds(MINUTE.start - POLICY.horizon)
    world.topic.append(0, good(0), BAD, good(2, event_time=old), good(3, event_time=old), good(4))
    world.sink(0)
    world.misfile(1, reason=Reason.NOT_AVRO)
    world.misfile(2, reason=Reason.TOO_LATE)
    world.misfile(3, reason=Reason.TRUNCATED)
    world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 5), rows=2, dead_letters=3, no_record=0, lost=0, too_late=2)


def test_a_row_that_the_table_refuses_is_noted_as_a_letter() -> None:
    world = World()
    world.topic.append(0, good(0, amount=REFUSED_AMOUNT), good(1))
    world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 2), rows=1, dead_letters=1, no_record=0, lost=0)
    assert world.books.noted[0, Repair.FILED] == {0: "insert_refused"}


def test_a_minute_is_closed_from_when_it_is_over_for_the_grace() -> None:
    world = World()
    world.topic.append(0, good(0))
    world.sink(0)
    over = MINUTE.end + POLICY.grace
    assert world.audit(over - timedelta(milliseconds=1)).minutes == 0
    assert world.audit(over).minutes == 1
    assert world.audit(over).minutes == 0
    assert world.audit(over + 60 * SECOND).minutes == 1


def test_what_the_sink_has_not_committed_stays_open_and_holds_up_no_other_partition() -> None:
    world = World(partitions=2)
    for partition in (0, 1):
        world.topic.append(partition, good(0), good(1))
        world.topic.append(partition, good(2), at=MINUTE.end)
    world.topic.commits = {0: 1, 1: 2}
    result = world.audit(MINUTE.next.end + POLICY.grace)
    assert minutes_closed(world) == [(1, MINUTE)]
    assert (result.open, world.books.noted) == (0, {(1, Repair.STORED): {0: "", 1: ""}})
    world.topic.commits = {}
    world.audit(MINUTE.next.end + POLICY.grace)
    assert minutes_closed(world) == [(0, MINUTE), (1, MINUTE), (0, MINUTE.next), (1, MINUTE.next)]


def test_a_pass_takes_no_more_minutes_than_its_bound_and_goes_on_where_it_ended() -> None:
    world = World()
    for minute in (MINUTE, MINUTE.next, MINUTE.next.next):
        world.topic.append(0, good(), at=minute.start)
    world.sink(0, 1, 2)
    now = MINUTE.next.next.end + POLICY.grace
    assert [world.audit(now, Bounds(minutes=2)).minutes for _ in range(3)] == [2, 1, 0]


def test_many_minutes_are_counted_by_one_query_which_costs_as_much_as_the_table_has_parts() -> None:
    world = World()
    window = MINUTE
    for _ in range(10):
        world.topic.append(0, good(), at=window.start)
        window = window.next
    world.sink(*range(10))
    assert world.audit(window.start + POLICY.grace).minutes == 10
    assert world.places.queries == 1


def test_a_minute_that_needs_repair_is_asked_for_three_times_however_many_its_pieces() -> None:
    world = World(partitions=4)
    for partition in range(4):
        world.topic.append(partition, *map(good, range(6)))
    world.audit(bounds=Bounds(piece_offsets=2))
    assert world.places.queries == 3
    assert world.places.rows == {(partition, offset) for partition in range(4) for offset in range(6)}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_minute_in_pieces_is_closed_as_one(size: int) -> None:
    world = World()
    world.topic.append(0, *map(good, range(5)))
    world.sink(1, 3)
    world.audit(bounds=Bounds(piece_offsets=size, offsets_at_once=2 * size))
    assert closed(world) == Closed(0, MINUTE, Span(0, 5), rows=5, dead_letters=0, no_record=0, lost=0)
    assert world.books.noted == {(0, Repair.STORED): {0: "", 2: "", 4: ""}}


def test_offsets_without_a_record_are_counted_and_repaired_by_nothing() -> None:
    world = World()
    world.topic.append(0, good(0), None, None)
    world.sink(0)
    result = world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=1, dead_letters=0, no_record=2, lost=0)
    assert (result.no_record, result.repairs) == (2, {})


def test_what_kafka_no_longer_has_is_lost_and_is_raised_until_it_is_accepted() -> None:
    world = World()
    world.topic.append(0, good(0), good(1), good(2), None, good(4))
    world.sink(4)
    world.topic.lows[0] = 3
    for _ in range(2):
        with pytest.raises(LostRecordsError, match=r"^3 records of 'user_interactions' are lost.*partition 0: 0-2\)"):
            world.audit()
        assert closed(world) == Closed(0, MINUTE, Span(0, 5), rows=1, dead_letters=0, no_record=1, lost=3)
    assert world.books.noted == {(0, Repair.LOST): {0: "", 1: "", 2: ""}}
    world.books.accepted = True
    world.audit()


def test_a_record_taken_out_of_the_log_is_lost_and_a_marker_beside_it_is_not() -> None:
    world = World()
    world.topic.append(0, good(0), good(1), None, good(3))
    world.topic.holes = {(0, 1)}
    world.sink(0, 3)
    with pytest.raises(LostRecordsError, match=r"^1 records of 'user_interactions' are lost.*partition 0: 1\)"):
        world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 4), rows=2, dead_letters=0, no_record=1, lost=1)
    assert world.books.noted == {(0, Repair.LOST): {1: ""}}


def test_a_hole_that_was_a_row_already_is_no_loss() -> None:
    world = World()
    world.topic.append(0, good(0), good(1))
    world.topic.holes = {(0, 0)}
    world.sink(0, 1)
    world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 2), rows=2, dead_letters=0, no_record=0, lost=0)


def test_no_more_than_twenty_runs_of_lost_offsets_are_named() -> None:
    world = World(partitions=2)
    world.topic.append(0, *map(good, range(45)))
    world.sink(*range(0, 45, 2))
    world.topic.append(1, *map(good, range(41)))
    world.sink(*range(0, 41, 2), partition=1)
    world.topic.lows = {0: 44, 1: 40}
    with pytest.raises(LostRecordsError) as raised:
        world.audit()
    assert "42 records" in str(raised.value)
    assert "37, 39 and 2 more; partition 1: 1, 3" in str(raised.value)
    assert "37, 39)" in str(raised.value)


def test_a_good_record_in_both_places_stays_the_row() -> None:
    world = World()
    world.topic.append(0, good(0), good(1))
    world.sink(0, 1)
    world.misfile(1)
    result = world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 2), rows=2, dead_letters=0, no_record=0, lost=0)
    assert world.log == ["letter_removed 0:1 noted", "letter 0:1 removed"]
    assert world.books.noted == {(0, Repair.LETTER_REMOVED): {1: "truncated"}}
    assert result.repairs == {Repair.LETTER_REMOVED: 1}


def test_a_bad_record_in_both_places_stays_the_letter_and_its_minute_open_until_the_row_is_gone() -> None:
    world = World()
    world.topic.append(0, BAD)
    world.sink(0)
    world.misfile(0, reason=Reason.NOT_AVRO)
    world.places.removes_at_once = False
    assert world.audit().open == 1
    assert minutes_closed(world) == []
    assert world.log == ["row_removed 0:0 noted", "row 0:0 removed"]
    assert world.audit().open == 1
    assert len(world.log) == 2, "asked again to go while it was going"
    world.places.remove_now()
    assert world.audit().open == 0
    assert closed(world) == Closed(0, MINUTE, Span(0, 1), rows=0, dead_letters=1, no_record=0, lost=0)


def test_a_row_that_goes_at_once_lets_its_minute_be_closed() -> None:
    world = World()
    world.topic.append(0, BAD)
    world.sink(0)
    world.misfile(0, reason=Reason.NOT_AVRO)
    assert world.audit().repairs == {Repair.ROW_REMOVED: 1}
    assert closed(world) == Closed(0, MINUTE, Span(0, 1), rows=0, dead_letters=1, no_record=0, lost=0)


def test_a_misfiled_good_record_is_rescued_and_one_of_another_reason_filed_anew() -> None:
    world = World()
    world.topic.append(0, good(0), BAD)
    world.misfile(0, 1)
    result = world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 2), rows=1, dead_letters=1, no_record=0, lost=0)
    assert world.books.noted == {(0, Repair.RESCUED): {0: "truncated"}, (0, Repair.REFILED): {1: "truncated"}}
    assert world.log == [
        "refiled 0:1 noted", "row 0:0 stored", "letter 0:1 filed", "rescued 0:0 noted", "letter 0:0 removed",
    ]  # fmt: skip
    assert world.places.dead[0, 1].reason is Reason.NOT_AVRO
    assert result.repairs == {Repair.RESCUED: 1, Repair.REFILED: 1}


def test_a_letter_that_a_person_has_decided_about_is_left() -> None:
    world = World()
    world.topic.append(0, good(0), good(1))
    world.misfile(0, 1)
    world.books.decided = {LetterId(0, 0)}
    world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 2), rows=1, dead_letters=1, no_record=0, lost=0)
    assert world.places.rows == {(0, 1)}


def test_refused_letters_are_tried_again_up_to_the_bound_those_that_may_be_good_first() -> None:
    world = World()
    world.topic.append(0, *[good(number, amount=REFUSED_AMOUNT) for number in range(3)], good(3))
    world.misfile(0, 1, 2, reason=Reason.INSERT_REFUSED, detail="the amount")
    world.misfile(3, reason=Reason.INSERT_REFUSED, detail=f"{REFUSED_TOGETHER}3 others")
    result = world.audit(bounds=Bounds(refused_letters=1, refused_letters_each=0))
    assert result.repairs == {Repair.RESCUED: 1}
    assert (0, 3) in world.places.rows
    assert closed(world).dead_letters == 3


def test_refused_letters_are_stored_once_each_and_so_many_at_a_time_as_are_told_apart() -> None:
    world = World()
    count = world.topic.batch = 2 * TOLD_APART + 1
    world.topic.append(0, *map(good, range(count)))
    world.misfile(*range(count), reason=Reason.INSERT_REFUSED, detail=f"{REFUSED_TOGETHER}{count - 1} others")
    assert world.audit().repairs == {Repair.RESCUED: count}
    assert sorted(world.places.inserted) == [1, TOLD_APART, TOLD_APART]


def test_a_minute_with_letters_that_may_be_good_and_were_put_off_stays_open_without_an_error() -> None:
    world = World()
    world.topic.append(0, good(0), good(1))
    world.misfile(0, 1, reason=Reason.INSERT_REFUSED, detail=f"{REFUSED_TOGETHER}1 others")
    result = world.audit(bounds=Bounds(refused_letters=1, refused_letters_each=0))
    assert (result.open, minutes_closed(world), len(world.places.rows)) == (1, [], 1)
    assert str(result).endswith("; 1 rescued; 1 partitions are not done yet")
    assert world.audit(bounds=Bounds(refused_letters=1, refused_letters_each=0)).open == 0
    assert closed(world).rows == 2


def test_the_bound_on_refused_letters_is_that_of_the_whole_pass() -> None:
    world = World()
    world.topic.append(0, *map(good, range(3)))
    world.misfile(0, 1, 2, reason=Reason.INSERT_REFUSED, detail="the amount")
    result = world.audit(bounds=Bounds(refused_letters=2, refused_letters_each=0, piece_offsets=1))
    assert result.repairs == {Repair.RESCUED: 2}
    assert (closed(world).rows, closed(world).dead_letters) == (2, 1)


def test_sure_letters_are_tried_with_what_those_that_may_be_good_have_left() -> None:
    world = World()
    world.topic.batch = 3
    world.topic.append(0, *map(good, range(3)))
    world.misfile(0, 1, reason=Reason.INSERT_REFUSED, detail="the amount")
    world.misfile(2, reason=Reason.INSERT_REFUSED, detail=f"{REFUSED_TOGETHER}2 others")
    assert world.audit(bounds=Bounds(refused_letters=2, refused_letters_each=0)).repairs == {Repair.RESCUED: 2}
    assert world.places.rows == {(0, 0), (0, 2)}


def test_a_letter_that_was_put_off_is_not_forgotten_over_what_is_read_after_it() -> None:
    world = World(partitions=2)
    world.topic.append(0, *map(good, range(3)))  # in two batches
    world.misfile(0, 1, reason=Reason.INSERT_REFUSED, detail=f"{REFUSED_TOGETHER}1 others")
    world.misfile(2)
    world.topic.append(1, good(3))
    world.misfile(0, partition=1)
    assert world.audit(bounds=Bounds(refused_letters=1, refused_letters_each=0)).open == 1
    assert minutes_closed(world) == [(1, MINUTE)]


def test_each_partition_has_refused_letters_to_itself_that_no_others_flood_takes_from_it() -> None:
    world = World(partitions=3)
    for partition, count in enumerate((9, 2, 3)):
        world.topic.append(partition, *map(good, range(count)))
        detail = f"{REFUSED_TOGETHER}{count - 1} others"
        world.misfile(*range(count), partition=partition, reason=Reason.INSERT_REFUSED, detail=detail)
    result = world.audit(bounds=Bounds(refused_letters=4, refused_letters_each=2, piece_offsets=3))
    stored = Counter(partition for partition, _ in world.places.rows)
    assert stored == {0: 2 + 4, 1: 2, 2: 2}, "its own first, then of what all have"
    assert minutes_closed(world) == [(1, MINUTE)]
    assert result.open == 2


def test_a_letter_that_is_right_is_read_without_waiting_for_who_changes_letters() -> None:
    world = World()
    world.topic.append(0, good(0), BAD, good(2))
    world.misfile(1, reason=Reason.NOT_AVRO)
    world.audit()
    assert (world.books.locks, closed(world).dead_letters) == (0, 1)


def test_what_a_person_decides_while_the_auditor_waits_for_the_letters_stands() -> None:
    world = World()
    world.topic.append(0, good(0), good(1))
    world.misfile(1)
    world.books.decided_meanwhile = {LetterId(0, 1)}
    world.audit()
    assert (world.books.locks, world.places.rows) == (1, {(0, 0)})


def test_what_is_not_there_after_its_repair_is_an_error_of_that_partition_after_all_others_are_closed() -> None:
    world = World(partitions=2)
    world.topic.append(0, good(0))
    world.topic.append(1, good(1))
    world.sink(0, partition=1)
    world.places.drops_rows = True
    with pytest.raises(NotRepairedError, match="user_interactions: partitions 0 are not where they should be"):
        world.audit()
    assert minutes_closed(world) == [(1, MINUTE)]


@pytest.mark.parametrize(("before", "repair"), [(SECOND, Repair.STORED), (timedelta(0), Repair.EXPIRED)])
def test_a_row_of_a_minute_that_has_left_the_table_counts_as_one_and_is_not_stored(
    before: timedelta, repair: Repair
) -> None:
    world = World()
    world.topic.append(0, good(0))
    world.audit(LEAVES - before, Bounds(minutes=1))
    assert closed(world) == Closed(0, MINUTE, Span(0, 1), rows=1, dead_letters=0, no_record=0, lost=0)
    assert world.books.noted == {(0, repair): {0: ""}}
    assert world.places.rows == ({(0, 0)} if repair is Repair.STORED else set())


def test_rows_of_a_minute_that_has_left_the_table_are_counted_over_all_that_is_read() -> None:
    world = World()
    world.topic.append(0, *map(good, range(3)))  # in two batches
    world.audit(LEAVES + timedelta(minutes=1))
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=3, dead_letters=0, no_record=0, lost=0)
    assert world.places.rows == set()


def test_a_topic_that_is_shorter_than_what_was_closed_stops_the_audit_before_anything_is_done() -> None:
    world = World()
    world.topic.append(0, good(0), good(1))
    world.sink(0, 1)
    world.audit()
    world.audit()  # Kafka's end is the mark: nothing new, and no fault
    del world.topic.held[0][1]
    with pytest.raises(RewoundTopicError, match="was audited up to offset 2, and Kafka's end is 1"):
        world.audit(MINUTE.next.end + POLICY.grace)
    assert minutes_closed(world) == [(0, MINUTE)]


def test_of_a_topic_that_was_made_anew_nothing_is_touched_however_long_it_is() -> None:
    world = World()
    world.topic.append(0, good(0), BAD)
    world.sink(0)
    world.misfile(1)
    world.audit()
    before = dict(world.books.closed), dict(world.places.dead), list(world.log)
    world.topic.id = "made again"
    world.topic.held[0].clear()
    world.topic.append(0, BAD, *map(good, range(1, 20)), at=MINUTE.next.start)
    world.sink(*range(20))
    for _ in range(2):
        with pytest.raises(RewoundTopicError, match=r"knew that as made first, and this one is made again.*begin-anew"):
            world.audit(MINUTE.next.end + POLICY.grace)
    assert (world.books.closed, world.places.dead, world.log) == before


def test_a_partition_that_was_never_audited_starts_with_the_first_minute_that_has_a_record() -> None:
    world = World(partitions=3)
    world.topic.append(0, good(0), at=POLICY.start_date - SECOND)  # before the start date: not looked at
    world.topic.append(0, None, at=MINUTE.start)
    world.topic.append(0, good(1), at=MINUTE.next.start)
    world.topic.append(1, good(2), at=MINUTE.start + SECOND)
    world.sink(2)
    world.sink(0, partition=1)
    world.audit(MINUTE.next.end + POLICY.grace)
    assert minutes_closed(world) == [(p, minute) for minute in (MINUTE, MINUTE.next) for p in (0, 1, 2)]
    assert world.books.closed[0, MINUTE] == Closed(0, MINUTE, Span(1, 2), rows=0, dead_letters=0, no_record=1, lost=0)
    assert world.books.closed[0, MINUTE.next].rows == 1
    assert world.books.closed[2, MINUTE] == Closed(2, MINUTE, Span(0, 0), rows=0, dead_letters=0, no_record=0, lost=0)


def test_what_the_log_lacks_at_its_beginning_is_audited_too() -> None:
    world = World()
    world.topic.append(0, good(0), good(1), good(2))
    world.topic.holes = {(0, 0), (0, 1)}
    world.sink(2)
    with pytest.raises(LostRecordsError, match=r"^2 records .*partition 0: 0-1\)"):
        world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=1, dead_letters=0, no_record=0, lost=2)


def test_a_partition_that_is_new_beside_audited_ones_starts_no_later_than_its_first_record() -> None:
    world = World()
    world.topic.append(0, good(0))
    world.sink(0)
    world.audit()
    world.topic.held[1] = []
    world.topic.lows[1] = 0
    world.topic.append(1, good(1))
    world.sink(0, partition=1)
    world.audit()
    assert minutes_closed(world) == [(0, MINUTE), (1, MINUTE)]


def test_without_a_record_anywhere_there_is_nothing_to_close() -> None:
    world = World(partitions=2)
    assert world.audit().minutes == 0
    assert minutes_closed(world) == []


def test_letters_of_a_schema_that_was_registered_since_are_rescued_and_their_closed_minute_recounted() -> None:
    world = World()
    world.topic.append(0, good(0), events.encode(events.event(1), schema_id=UNKNOWN_SCHEMA_ID), BAD)
    world.sink(0)
    world.audit()
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=1, dead_letters=2, no_record=0, lost=0)
    world.schemas.ids.add(UNKNOWN_SCHEMA_ID)
    result = world.audit()
    assert result.repairs == {Repair.RESCUED: 1}
    assert world.books.noted[0, Repair.RESCUED] == {1: "unknown_schema_id"}
    assert closed(world) == Closed(0, MINUTE, Span(0, 3), rows=2, dead_letters=1, no_record=0, lost=0)
    assert world.places.dead.keys() == {(0, 2)}


def test_letters_of_a_schema_that_can_be_read_since_an_upgrade_are_rescued_and_their_closed_minute_recounted() -> None:
    """As an older etar filed them, which could not read the schema; and a record that is bad under another reason."""
    world = World()
    world.topic.append(0, good(0), good(1), good(2)[:-1], BAD)
    world.misfile(0, 1, 2, reason=Reason.UNSUPPORTED_SCHEMA, detail="schema id 7: the schema cannot be parsed")
    world.misfile(3, reason=Reason.NOT_AVRO)
    world.books.close([Closed(0, MINUTE, Span(0, 4), rows=0, dead_letters=4, no_record=0, lost=0)])

    result = world.audit()

    assert result.repairs == {Repair.RESCUED: 2, Repair.REFILED: 1}
    assert world.books.noted[0, Repair.RESCUED] == {0: "unsupported_schema", 1: "unsupported_schema"}
    assert {offset: letter.reason for (_, offset), letter in world.places.dead.items()} == {
        2: Reason.TRUNCATED,
        3: Reason.NOT_AVRO,
    }
    assert closed(world) == Closed(0, MINUTE, Span(0, 4), rows=2, dead_letters=2, no_record=0, lost=0)
    assert world.audit().repairs == {}


def test_letters_of_a_schema_that_still_cannot_be_read_stay_and_are_tried_by_one() -> None:
    world = World()
    world.topic.append(0, *(events.encode(events.event(n), schema_id=8) for n in range(3)))
    world.schemas.texts[8] = '"string"'
    assert world.audit().dead_letters == 3
    before = world.topic.reads
    assert world.audit(MINUTE.next.end + POLICY.grace).repairs == {}
    assert world.topic.reads - before == 1


def test_what_a_person_decided_about_a_letter_of_an_unread_schema_stands() -> None:
    world = World()
    world.topic.append(0, good(0))
    world.misfile(0, reason=Reason.UNSUPPORTED_SCHEMA)
    world.books.close([Closed(0, MINUTE, Span(0, 1), rows=0, dead_letters=1, no_record=0, lost=0)])
    world.books.decided.add(LetterId(0, 0))
    assert world.audit().repairs == {}
    assert world.places.dead.keys() == {(0, 0)}


@pytest.mark.parametrize(("before", "rescued"), [(SECOND, 1), (timedelta(0), 0)])
def test_a_letter_is_rescued_as_long_as_a_report_is_sure_to_count_it(before: timedelta, rescued: int) -> None:
    world = World()
    world.topic.append(0, good(0))
    world.misfile(0)
    result = world.audit(LEAVES - timedelta(minutes=10) - before, Bounds(minutes=1))
    assert (result.repaired, closed(world).rows, closed(world).dead_letters) == (rescued, rescued, 1 - rescued)

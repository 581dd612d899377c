"""Replays killed anywhere, in a topic and a journal that are kept in memory, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from etar.dead_letter_office.front_door import Deliveries, Places
from etar.dead_letter_office.replay import Replayer, ReplayInDoubtError, Sending, Sent
from etar.dead_letters.journal import Author, Journal, Replay
from etar.dead_letters.letters import LetterId

PATIENCE = timedelta(seconds=30)
LETTERS = [LetterId(0, 4), LetterId(1, 7), LetterId(0, 9)]
BATCH = [Sending(letter, b"key of %d" % letter.offset, b"value of %d" % letter.offset) for letter in LETTERS]
SOMEONE = Author("someone", "a test")


class Killed(BaseException):
    """Ends the command as SIGKILL would."""


@dataclass
class World:
    """One topic whose partitions begin to be replayed into at offset 100, its journal, and one clock for both.

    Args:
        dies: called with the name of each step before (``-``) and after (``+``) its work.
    """

    clock: datetime = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
    records: list[tuple[UUID, int, int, datetime]] = field(default_factory=list)
    begun: dict[UUID, Replay] = field(default_factory=dict)
    done: dict[UUID, int] = field(default_factory=dict)
    withdrawn: dict[UUID, str] = field(default_factory=dict)
    refused: dict[LetterId, str] = field(default_factory=dict)
    unanswered: set[LetterId] = field(default_factory=set)
    taken: dict[LetterId, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    paused: list[float] = field(default_factory=list)
    dies: Callable[[str], object] = lambda step: None

    def replayer(self) -> Replayer:
        return Replayer(cast(Journal, self), self, SOMEONE, patience=PATIENCE, pause=self.pause)

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.paused.append(seconds)
        self.clock += timedelta(seconds=seconds)

    def sent(self) -> dict[LetterId, int]:
        """How often each letter's replay stands in the topic."""
        found = [self.begun[identifier].of for identifier, *_ in self.records]
        return {letter: found.count(letter) for letter in LETTERS}

    # --- the topic

    def ends(self) -> dict[int, int]:
        return {p: 100 + sum(partition == p for _, partition, _, _ in self.records) for p in (0, 1)}

    def send(self, replays: Sequence[Replay]) -> Deliveries:
        self.dies("-send")
        deliveries = Deliveries()
        for replay in replays:
            if replay.of in self.refused:
                deliveries.refused[replay.id] = self.refused[replay.of]
                continue
            offset = self.ends()[replay.of.partition]
            self.records.append((replay.id, replay.of.partition, offset, self.clock))
            self.taken[replay.of] = (replay.key, replay.value)
            if replay.of in self.unanswered:
                deliveries.in_doubt[replay.id] = "timed out"
            else:
                deliveries.sent[replay.id] = (offset, self.clock)
        self.dies("+send")
        return deliveries

    def find(self, ids: set[UUID], first: dict[int, int], until: datetime) -> Places:
        return {
            identifier: (offset, appended)
            for identifier, partition, offset, appended in self.records
            if identifier in ids and partition in first and offset >= first[partition] and appended <= until
        }

    # --- the journal

    def now(self) -> datetime:
        return self.clock

    def begin_replays(self, replays: Sequence[Replay], author: Author) -> None:
        assert author is SOMEONE
        self.begun |= {each.id: each for each in replays}

    def renew_replays(self, replays: Sequence[Replay]) -> None:
        assert all(each.id in self.begun for each in replays)
        self.begun |= {each.id: each for each in replays}

    def complete_replays(self, places: Mapping[UUID, tuple[int, datetime]]) -> None:
        self.dies("-complete")
        self.done |= {identifier: offset for identifier, (offset, _) in places.items()}

    def withdraw_replays(self, refused: Sequence[tuple[Replay, str]], author: Author) -> None:
        assert author is SOMEONE
        self.withdrawn |= {each.id: why for each, why in refused}

    def replays_in_doubt(self) -> list[Replay]:
        known = [each for key, each in self.begun.items() if key not in self.done and key not in self.withdrawn]
        return sorted(known, key=lambda each: (each.begun_at, each.of))


def killed(world: World, step: str, work: Callable[[Replayer], object]) -> None:
    def dies(at: str) -> None:
        if at == step:
            raise Killed

    world.dies = dies
    with pytest.raises(Killed):
        work(world.replayer())
    world.dies = lambda _: None


@pytest.mark.parametrize("minutes", [0, 0.25, 0.5, 1, 5, 600])
@pytest.mark.parametrize("second", ["-send", "+send", "-complete"])
@pytest.mark.parametrize("first", ["-send", "+send", "-complete"])
def test_however_late_a_command_and_the_next_are_killed_each_letter_is_sent_once(
    first: str, second: str, minutes: float
) -> None:
    world = World()
    killed(world, first, lambda replayer: replayer.send(BATCH))
    world.clock += timedelta(minutes=minutes)
    if first == "-send" or second == "-complete":
        killed(world, second, lambda replayer: replayer.settle())
    world.clock += timedelta(minutes=minutes)
    settled = world.replayer().settle()

    assert world.sent() == dict.fromkeys(LETTERS, 1)
    assert {sent.of: sent.offset for sent in settled} == {LETTERS[0]: 100, LETTERS[2]: 101, LETTERS[1]: 100}
    assert world.replayer().settle() == []


def test_what_was_sent_is_completed_where_it_stands() -> None:
    world = World()
    sent = world.replayer().send(BATCH)
    assert sent == [Sent(LETTERS[0], 100), Sent(LETTERS[1], 100), Sent(LETTERS[2], 101)]
    assert sorted(world.done.values()) == [100, 100, 101]
    assert world.replays_in_doubt() == []


def test_a_letter_is_sent_with_its_key_and_its_value_also_when_it_is_sent_again() -> None:
    each_its_own = {sending.of: (sending.key, sending.value) for sending in BATCH}
    world = World()
    world.replayer().send(BATCH)
    assert world.taken == each_its_own

    world = World()
    killed(world, "-send", lambda replayer: replayer.send(BATCH))
    world.replayer().settle()
    assert world.taken == each_its_own


def test_a_refused_record_is_withdrawn_and_never_sent_again() -> None:
    world = World(refused={LETTERS[1]: "too large"})
    sent = world.replayer().send(BATCH)
    assert sent[1] == Sent(LETTERS[1], None, refused="too large")
    assert [(world.begun[replay].of, why) for replay, why in world.withdrawn.items()] == [(LETTERS[1], "too large")]
    assert world.replayer().settle() == []


def test_a_record_without_an_answer_is_looked_for_by_the_next_command() -> None:
    world = World(unanswered={LETTERS[1]})
    with pytest.raises(ReplayInDoubtError, match=r"1 of 3 records \(timed out\)"):
        world.replayer().send(BATCH)
    assert len(world.done) == 2
    assert world.replayer().settle() == [Sent(LETTERS[1], 100)]
    assert world.paused == [], "nothing is to be waited for where each record was found"


def test_a_sender_that_is_gone_has_its_time_before_anything_is_sent_again() -> None:
    world = World()
    killed(world, "-send", lambda replayer: replayer.send(BATCH))
    world.clock += timedelta(seconds=10)

    def record_gets_through(seconds: float) -> None:
        World.pause(world, seconds)
        replay = next(each for each in world.begun.values() if each.of == LETTERS[1])
        world.records.append((replay.id, 1, 100, world.clock))

    world.pause = record_gets_through  # type: ignore[method-assign]
    settled = world.replayer().settle()
    assert world.paused == [20]
    assert world.sent() == dict.fromkeys(LETTERS, 1)
    assert settled[0] == Sent(LETTERS[1], 100)


@pytest.mark.parametrize(("seconds", "times"), [(0, 1), (30, 1), (90, 1), (91, 2)])
def test_a_record_is_looked_for_up_to_a_minute_beyond_what_its_sender_had_by_the_brokers_clock(
    seconds: int, times: int
) -> None:
    world = World()
    killed(world, "+send", lambda replayer: replayer.send(BATCH[:1]))
    ((identifier, partition, offset, begun),) = world.records
    world.records = [(identifier, partition, offset, begun + timedelta(seconds=seconds))]
    world.replayer().settle()
    assert world.sent()[LETTERS[0]] == times


def test_replays_that_were_begun_at_different_times_are_each_looked_for_by_their_own() -> None:
    world = World()
    for letter in BATCH:
        killed(world, "+send", lambda replayer, letter=letter: replayer.send([letter]))  # type: ignore[misc]
        world.clock += timedelta(hours=1)
    assert {sent.of: sent.offset for sent in world.replayer().settle()} == {
        LETTERS[0]: 100,
        LETTERS[1]: 100,
        LETTERS[2]: 101,
    }
    assert world.sent() == dict.fromkeys(LETTERS, 1)


def test_replays_are_looked_for_from_where_the_first_of_each_partition_may_stand() -> None:
    world = World()
    killed(world, "+send", lambda replayer: replayer.send(BATCH))
    for identifier, replay in world.begun.items():
        world.begun[identifier] = replace(replay, search_from=101 if replay.of == LETTERS[2] else 100)
    assert len(world.replayer().settle()) == len(BATCH)
    assert world.sent() == dict.fromkeys(LETTERS, 1)

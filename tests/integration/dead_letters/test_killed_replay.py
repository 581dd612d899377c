"""A replay that is killed anywhere and run again puts each record into Kafka exactly once.

Beside the check ``Replay`` of ``tests/scenarios``, whose commands are killed from outside, at no chosen line: here it
is each of the five places between journal and Kafka in turn.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from etar.clients import report_store_connection
from etar.dead_letter_office.front_door import REPLAY_ID, REPLAY_OF, FrontDoor
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letter_office.replay import Replayer, ReplayInDoubtError
from etar.dead_letters.journal import Author, Journal, Replay
from etar.dead_letters.letters import LetterId, Selection, State
from stack.waiting import wait_until
from tests.forked import forked
from tests.integration.dead_letters.conftest import Desk
from tests.integration.dead_letters.killed_replay import POINTS, replay_until_killed
from tests.ports import free_ports

LETTERS = 5
UNSPOIL = "[]"
"""The letters of these tests have trailing bytes: to write them again is to repair them."""


def spoil(desk: Desk) -> None:
    desk.lane.produce([value + b"!" for value in desk.lane.good(LETTERS)])
    desk.consume()


def killed(desk: Desk, point: str) -> None:
    log = desk.lane.folder / "replay.log"
    command = forked(replay_until_killed, desk.lane.topic, UNSPOIL, point, log=log)
    command.join(60)
    assert command.exitcode == -signal.SIGKILL, log.read_text()


@pytest.mark.parametrize("point", POINTS)
def test_each_letter_is_replayed_exactly_once(desk: Desk, point: str) -> None:
    spoil(desk)
    killed(desk, point)
    with desk.office() as office:
        list(office.replay(Selection(states=frozenset({State.OPEN})), repair=patch_repair(UNSPOIL), apply=True))
    desk.consume()

    replays = Counter(dict(message.headers() or []).get(REPLAY_OF) for message in desk.records())
    assert replays.pop(None) == LETTERS
    assert len(replays) == LETTERS
    assert set(replays.values()) == {1}
    assert desk.rows() == (LETTERS, LETTERS)
    known = desk.query('SELECT "partition", "offset" FROM replayed_records WHERE topic = %s', desk.lane.topic)
    marked = [(m.partition(), m.offset()) for m in desk.records() if dict(m.headers() or []).get(REPLAY_ID)]
    assert sorted(known) == sorted(marked)


def test_a_letter_counts_as_replayed_from_before_its_record_is_sent(desk: Desk) -> None:
    spoil(desk)
    killed(desk, "before the send")
    with desk.office() as office:
        assert {state for _, state in office.find(Selection())} == {State.REPLAYED}
        list(office.replay(Selection(), apply=False))
    assert any(f"{LETTERS} replays of an interrupted command are in doubt" in text for text in desk.said)


def test_to_name_one_letter_settles_all_that_were_interrupted_and_refuses_none(desk: Desk) -> None:
    spoil(desk)
    killed(desk, "before the send")
    with desk.office() as office:
        named, _ = next(office.find(Selection()))
        settled = list(office.replay(Selection(ids=(named.id,)), apply=True))
    assert [outcome.done for outcome in settled] == [True] * LETTERS
    assert len({outcome.letter for outcome in settled}) == LETTERS


def test_killed_again_while_it_settles_the_first_kill(desk: Desk) -> None:
    spoil(desk)
    for point in ("before the send", "after the send", "before the send"):
        killed(desk, point)
    with desk.office() as office:
        list(office.replay(Selection(states=frozenset({State.OPEN})), repair=patch_repair(UNSPOIL), apply=True))
    desk.consume()
    assert desk.rows() == (LETTERS, LETTERS)
    assert len(desk.records()) == 2 * LETTERS


def test_a_refused_second_replay_leaves_a_replayed_letter_replayed(desk: Desk) -> None:
    spoil(desk)
    with report_store_connection(desk.report_store) as connection, desk.office() as office:
        first, _ = next(office.find(Selection()))
        one = Selection(ids=(first.id,))
        list(office.replay(one, repair=patch_repair(UNSPOIL), apply=True))
        journal, author = Journal(connection, desk.lane.topic), Author("someone", "a test")
        letters = [letter.id for letter, _ in office.find(Selection())]
        again = [
            Replay(uuid4(), letter, key=None, value=b"", search_from=0, begun_at=datetime.now(UTC))
            for letter in letters
        ]
        journal.begin_replays(again, author)
        journal.withdraw_replays([(replay, "too large") for replay in again], author)
        states = {letter.id: state for letter, state in office.find(Selection())}
    assert states == {letter: State.REPLAYED if letter == first.id else State.OPEN for letter in letters}


def test_a_broker_that_does_not_answer_leaves_replays_in_doubt_and_the_next_command_finds_out(desk: Desk) -> None:
    spoil(desk)

    class Deaf(FrontDoor):
        """Sends to nobody, but knows the topic: what a broker that stops in between looks like."""

        def send(self, replays):
            (port,) = free_ports(1)
            nobody = desk.lane.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{port}"})
            return FrontDoor(desk.lane.topic, nobody, send_seconds=1).send(replays)

    with report_store_connection(desk.report_store) as connection, desk.office() as office:
        journal = Journal(connection, desk.lane.topic)
        office._replayer = Replayer(
            journal,
            Deaf(desk.lane.topic, desk.lane.kafka, send_seconds=1),
            Author("someone", "a test"),
            patience=office._replayer._patience,
        )
        with pytest.raises(ReplayInDoubtError, match=f"{LETTERS} of {LETTERS} records"):
            list(office.replay(Selection(), repair=patch_repair(UNSPOIL), apply=True))
        assert len(journal.replays_in_doubt()) == LETTERS
    with desk.office() as office:
        settled = list(office.replay(Selection(states=frozenset({State.OPEN})), apply=True))
    assert all(outcome.done for outcome in settled)
    assert len(settled) == LETTERS
    desk.consume()
    assert desk.rows() == (LETTERS, LETTERS)


def test_two_commands_at_once_replay_each_letter_once(desk: Desk) -> None:
    spoil(desk)
    selection = Selection(states=frozenset({State.OPEN}))
    outcomes: list[object] = []

    def replay() -> None:
        with desk.office() as office:
            outcomes.extend(office.replay(selection, repair=patch_repair(UNSPOIL), apply=True))

    with report_store_connection(desk.report_store) as connection:
        with Journal(connection, desk.lane.topic).held(lambda: None):
            commands = [threading.Thread(target=replay) for _ in range(2)]
            for command in commands:
                command.start()
            wait_until(lambda: len(desk.said) == 2, timeout=20, what="both commands to wait")
            assert not outcomes
        for command in commands:
            command.join()
    assert len(outcomes) == LETTERS
    desk.consume()
    assert desk.rows() == (LETTERS, LETTERS)


def test_a_record_too_large_for_kafka_is_refused_and_its_letter_open_again(desk: Desk) -> None:
    spoil(desk)
    letter = LetterId(0, 0)
    patch = patch_repair('[{"op": "replace", "path": "/device", "value": "' + "x" * 2_000_000 + '"}]')
    with desk.office() as office:
        (outcome,) = office.replay(Selection(ids=(letter,)), repair=patch, apply=True)
        assert not outcome.done
        assert "too large" in outcome.what.lower()
        assert letter in [s.id for s, _ in office.find(Selection(states=frozenset({State.OPEN})))]
        assert [change.action for change in office.show(letter).changes] == ["replayed", "replay_withdrawn"]
        (outcome,) = office.replay(Selection(ids=(letter,)), repair=patch_repair(UNSPOIL), apply=True)
        assert outcome.done

"""How a scenario is played, with parts that only note what is done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from tests.scenarios.model import Check, Plays, Scenario, play
from tests.scenarios.parts import Parts


class Notes(list[str]):
    def put_right(self) -> None:
        self.append("put right")


class Good(Check):
    def prepare_first(self) -> None:
        self.note("first")

    def prepare_second(self) -> None:
        self.note("second")

    def validate(self) -> None:
        self.note("validated")

    def note(self, what: str) -> None:
        cast(Notes, self.parts).append(what)


class Bad(Good):
    def prepare_second(self) -> None:
        raise AssertionError("by itself")


class Fragile(Good):
    def prepare_first(self) -> None:
        self.hits = cast(Notes, self.parts).count("hit")

    def validate(self) -> None:
        assert cast(Notes, self.parts).count("hit") == self.hits


QUIET = Scenario("quiet")
HIT = Scenario("hit", (lambda parts: cast(Notes, parts).append("hit"),))


@pytest.fixture
def parts() -> Parts:
    return cast(Parts, Notes())


@pytest.fixture
def why(parts: Parts) -> Callable[[type[Check]], str]:
    """What the failure of a check in the scenario with faults says; that check was played in no other."""

    def judge(check: type[Check]) -> str:
        plays = Plays(parts, QUIET)
        with pytest.raises(AssertionError) as failure:
            plays.judge(HIT, check, [Good, check])
        plays.judge(HIT, Good, [Good, check])
        return "\n".join(failure.value.__notes__)

    return judge


def test_the_actions_come_between_the_phases_and_it_is_validated_twice(parts: Parts) -> None:
    assert play(HIT, [Good], parts) == {Good: None}
    assert cast(Notes, parts) == ["first", "hit", "put right", "second", "validated", "validated"]


def test_a_check_that_fails_takes_no_further_part_and_the_others_do(parts: Parts) -> None:
    outcomes = play(HIT, [Bad, Good], parts)
    assert outcomes[Good] is None
    assert str(outcomes[Bad]) == "by itself"
    assert [note for note in cast(Notes, parts) if note in ("first", "second", "validated")] == [
        *("first", "first"),
        "second",
        *("validated", "validated"),
    ]


def test_an_action_that_fails_leaves_the_parts_put_right(parts: Parts) -> None:
    def refuse(_: Parts) -> None:
        raise OSError("no such process")

    with pytest.raises(OSError, match="no such process"):
        play(Scenario("refused", (refuse,)), [Good], parts)
    assert cast(Notes, parts) == ["first", "put right"]


def test_what_fails_without_faults_as_well_is_a_bad_test(why: Callable[[type[Check]], str]) -> None:
    assert "Bad in quiet: fails too, a bad test" in why(Bad)


def test_what_fails_only_with_faults_is_their_work(why: Callable[[type[Check]], str]) -> None:
    assert "Fragile in quiet: passes, so this is the work of the faults" in why(Fragile)

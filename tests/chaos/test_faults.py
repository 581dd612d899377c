"""The schedule of a run."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from stack.configuration import make_settings
from stack.layout import Layout
from stack.parts import Stack, parts_of
from tests.chaos.faults import FIRST_SECONDS, HARMLESS, PARTS, QUIET_SECONDS, STACK, TARGETS, Fault, Kind, schedule

SEEDS = range(50)


def test_the_same_seed_is_the_same_schedule_and_another_is_not() -> None:
    assert schedule(7, 30) == schedule(7, 30)
    assert len({tuple(schedule(seed, 30)) for seed in SEEDS}) == len(SEEDS)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = schedule(7, 10), schedule(7, 30)
    assert long[: len(short)] == short
    assert len(long) > len(short)


@pytest.mark.parametrize("minutes", [2, 3, 30])
def test_faults_are_in_order_and_leave_a_beginning_and_an_end_in_peace(minutes: int) -> None:
    for seed in SEEDS:
        faults = schedule(seed, minutes)
        assert faults
        assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
        assert faults[0].at >= FIRST_SECONDS
        assert max(fault.end for fault in faults) <= minutes * 60 - QUIET_SECONDS


def test_a_run_too_short_for_peace_has_no_fault() -> None:
    assert schedule(7, 1) == []


def test_half_an_hour_meets_every_fault_there_is() -> None:
    everything = {(kind, target) for kind in HARMLESS for target in TARGETS[kind]}
    for seed in SEEDS:
        met = Counter((fault.kind, fault.target) for fault in schedule(seed, 30))
        assert met.keys() == everything
        assert max(met.values()) <= 3


def test_every_fault_comes_in_some_short_run() -> None:
    met = {(fault.kind, fault.target) for seed in range(400) for fault in schedule(seed, 3)}
    assert met == {(kind, target) for kind in HARMLESS for target in TARGETS[kind]}


def test_what_takes_records_comes_once_and_only_where_it_is_asked_for() -> None:
    assert [fault.kind for fault in schedule(7, 3, (Kind.ANEW,))] == [Kind.ANEW]
    among_others = Counter(fault.kind for fault in schedule(7, 30, (Kind.COMPACTED, Kind.CUT)))
    assert among_others[Kind.COMPACTED] == 1 < among_others[Kind.CUT]


def test_only_the_kinds_asked_for() -> None:
    assert {fault.kind for fault in schedule(7, 30, (Kind.CUT, Kind.SLOW))} == {Kind.CUT, Kind.SLOW}


def test_a_stack_that_starts_again_is_left_alone_meanwhile() -> None:
    for seed in SEEDS:
        faults = schedule(seed, 30)
        for before, after in pairwise(faults):
            assert after.at - before.at >= (45 if before.target == STACK else 8) - 0.1


def test_a_kill_is_over_at_once_and_everything_else_ends() -> None:
    for fault in schedule(7, 30):
        assert (fault.seconds == 0) is (fault.kind is Kind.KILL)
    assert Fault(10.0, Kind.PAUSE, "sink", 20.0).end == 30.0


def test_every_part_of_the_stack_is_among_the_targets(tmp_path: Path) -> None:
    settings = make_settings({"ETAR_DEMO_RATE": "0"}, {}, datetime.now(UTC))
    assert {part.name for part in parts_of(Stack(Layout.at(tmp_path), settings))} == set(PARTS)

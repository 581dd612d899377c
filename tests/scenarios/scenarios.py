"""Every scenario; all checks play in each."""

from __future__ import annotations

from tests.chaos.faults import Kind
from tests.scenarios.actions import cut, kill, kill_at_random, pause, restart
from tests.scenarios.model import Scenario
from tests.scenarios.parts import SINK, STACK_PARTS, STREAM_JOB

NO_FAULTS = Scenario("no_faults")
"""A check that fails here is a bad test, or finds a fault that needs no kill. Played whenever one fails elsewhere."""

_EACH = (SINK, STREAM_JOB, *STACK_PARTS)
_SINKS_AND_JOBS_KILLED_AT_RANDOM = kill_at_random(SINK, jobs=True, times=4)
_ALL_KILLED_AT_ONCE = kill(*STACK_PARTS, SINK, STREAM_JOB, jobs=True)

EACH_CHANGE = (Scenario("killed", (_SINKS_AND_JOBS_KILLED_AT_RANDOM, kill(STREAM_JOB), _ALL_KILLED_AT_ONCE)),)
"""The short form, in `make test`."""

LONG = (
    NO_FAULTS,
    Scenario("each_part_restarted", tuple(restart(name) for name in _EACH)),
    Scenario("sinks_and_jobs_killed_at_random", (_SINKS_AND_JOBS_KILLED_AT_RANDOM,)),
    Scenario("each_part_killed", tuple(kill(name) for name in (STREAM_JOB, *STACK_PARTS))),
    Scenario("all_killed_at_once", (_ALL_KILLED_AT_ONCE,)),
    Scenario("each_part_paused", tuple(pause(name, seconds=2) for name in _EACH)),
    Scenario("links_cut", tuple(cut(*STACK_PARTS, kind=kind, seconds=4) for kind in (Kind.CUT, Kind.SILENT))),
)

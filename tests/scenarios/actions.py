"""What can be done to parts between the phases of the checks."""

from __future__ import annotations

import time
from random import Random

from tests.chaos.faults import Kind
from tests.scenarios.model import Action
from tests.scenarios.parts import Parts


def restart(*names: str) -> Action:
    """All asked to stop, then all started."""

    def act(parts: Parts) -> None:
        parts.stop(*names)
        parts.start(*names)

    return act


def kill(*names: str, jobs: bool = False) -> Action:
    """``kill -9`` to all at once, then all started. ``jobs``: to those as well."""

    def act(parts: Parts) -> None:
        if jobs:
            parts.kill_jobs()
        parts.kill(*names)
        parts.start(*names)

    return act


def kill_at_random(*names: str, times: int, jobs: bool = False, seed: int = 11) -> Action:
    """Again and again, each time when they have been at work for a while."""

    def act(parts: Parts) -> None:
        chance = Random(seed)
        for _ in range(times):
            if jobs:
                parts.begin_jobs()
            time.sleep(chance.uniform(0.5, 2.5))  # the random moment of the kill
            kill(*names, jobs=jobs)(parts)

    return act


def pause(*names: str, seconds: float) -> Action:
    """SIGSTOP to all at once, SIGCONT after ``seconds``."""

    def act(parts: Parts) -> None:
        parts.pause(*names)
        time.sleep(seconds)  # the length of the fault
        parts.resume(*names)

    return act


def cut(*names: str, seconds: float, kind: Kind = Kind.CUT) -> Action:
    """The links to these parts disturbed together, and mended after ``seconds``."""

    def act(parts: Parts) -> None:
        parts.cut(*names, kind=kind)
        time.sleep(seconds)  # the length of the fault
        parts.mend(*names)

    return act

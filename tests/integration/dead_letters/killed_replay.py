"""A replay of every open letter of a topic that dies by SIGKILL at a point named to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from etar.dead_letter_office.front_door import FrontDoor
from etar.dead_letter_office.office import open_office
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letters.journal import Journal
from etar.dead_letters.letters import Selection
from tests.integration.dead_letters.conftest import LaneStream

POINTS: dict[str, tuple[type, str, bool]] = {
    "before the intent": (Journal, "begin_replays", False),
    "after the intent": (Journal, "begin_replays", True),
    "before the send": (FrontDoor, "send", False),
    "after the send": (FrontDoor, "send", True),
    "after the completion": (Journal, "complete_replays", True),
}
"""Where it dies: at this method, after (True) or before its work."""


def dying(method: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if after:
            method(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return call


def replay_until_killed(topic: str, patch: str, point: str) -> None:
    """To be run in a process of its own."""
    kind, name, after = POINTS[point]
    setattr(kind, name, dying(getattr(kind, name), after=after))
    with open_office(LaneStream(topic), command="a command that is killed", say=print) as office:
        for outcome in office.replay(Selection(), repair=patch_repair(patch), apply=True):
            print(outcome)

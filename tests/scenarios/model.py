"""Checks and scenarios: what they are, and how a scenario is played.

A check is something whose survival is promised. It prepares in two phases, before and after the faults, and validates
any number of times. A scenario is what is done to the parts between the phases. After the model of Materialize's
platform checks.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic

from tests.scenarios.parts import Parts

_log = logging.getLogger(__name__)

Action = Callable[[Parts], None]


class Check(ABC):
    """Something whose survival is promised, on a stream of its own.

    What it starts in its first phase goes on while the actions are done: a fault should meet work. What it puts into
    ``closing`` is undone when the scenario is over.
    """

    def __init__(self, parts: Parts, closing: ExitStack) -> None:
        self.parts = parts
        self.closing = closing

    @abstractmethod
    def prepare_first(self) -> None:
        """Before the actions, with every part well."""

    @abstractmethod
    def prepare_second(self) -> None:
        """After the actions, with every part well again: what is new goes where the old is."""

    @abstractmethod
    def validate(self) -> None:
        """Assert the promise of all that was prepared. To be called twice: to look, or to repair, changes nothing."""


@dataclass(frozen=True)
class Scenario:
    """Actions between the two phases of every check. What they leave broken is put right before the second."""

    name: str
    actions: Sequence[Action] = ()


@dataclass
class Plays:
    """Every scenario played once for all the checks that are wanted, and what became of each."""

    parts: Parts
    without_faults: Scenario
    _outcomes: dict[tuple[str, type[Check]], Exception | None] = field(default_factory=dict)

    def judge(self, scenario: Scenario, check: type[Check], wanted: Iterable[type[Check]]) -> None:
        """Play the scenario for all ``wanted`` checks unless it has been, and raise what this one failed with."""
        problem = self._outcome(scenario, check, wanted)
        if problem is None:
            return
        if scenario is not self.without_faults:
            also = self._outcome(self.without_faults, check, [check])
            problem.add_note(
                f"{check.__name__} in {self.without_faults.name}: "
                + ("passes, so this is the work of the faults" if also is None else f"fails too, a bad test: {also!r}")
            )
        raise problem

    def _outcome(self, scenario: Scenario, check: type[Check], wanted: Iterable[type[Check]]) -> Exception | None:
        if (scenario.name, check) not in self._outcomes:
            played = play(scenario, wanted, self.parts)
            self._outcomes |= {(scenario.name, kind): problem for kind, problem in played.items()}
        return self._outcomes[scenario.name, check]


def play(scenario: Scenario, kinds: Iterable[type[Check]], parts: Parts) -> dict[type[Check], Exception | None]:
    """What each check failed with; one that fails takes no further part, and does not keep the others from theirs."""
    outcomes: dict[type[Check], Exception | None] = dict.fromkeys(kinds)
    with ExitStack() as closing:
        checks = {kind: kind(parts, closing) for kind in outcomes}

        def each(step: Callable[[Check], None], name: str) -> None:
            for kind, check in checks.items():
                if outcomes[kind] is None:
                    began = monotonic()
                    try:
                        step(check)
                    except Exception as error:
                        error.add_note(f"{kind.__name__} in {scenario.name}, {name}")
                        outcomes[kind] = error
                    _log.info("%s in %s, %s: %.1f s", kind.__name__, scenario.name, name, monotonic() - began)

        each(lambda check: check.prepare_first(), "first phase")
        try:
            for action in scenario.actions:
                action(parts)
        finally:
            parts.put_right()
        each(lambda check: check.prepare_second(), "second phase")
        each(lambda check: check.validate(), "validated")
        each(lambda check: check.validate(), "validated once more")
    return outcomes

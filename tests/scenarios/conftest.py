"""The parts of this folder, and the scenarios that were played on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite("tests.scenarios.checks")

from tests.scenarios.model import Check, Plays, Scenario  # noqa: E402  (what it imports is to be rewritten)
from tests.scenarios.parts import running_parts  # noqa: E402
from tests.scenarios.scenarios import NO_FAULTS  # noqa: E402


@pytest.fixture(scope="module")
def plays() -> Iterator[Plays]:
    with running_parts() as parts:
        yield Plays(parts, NO_FAULTS)


@pytest.fixture
def judge(plays: Plays, request: pytest.FixtureRequest) -> Callable[[Scenario, type[Check]], None]:
    """Whether the check came through the scenario, which is played once for all the checks that were asked for."""

    def judge(scenario: Scenario, check: type[Check]) -> None:
        plays.judge(scenario, check, wanted_in(scenario, request.session))

    return judge


def wanted_in(scenario: Scenario, session: pytest.Session) -> Iterator[type[Check]]:
    """The checks that this run of pytest is asked for."""
    for item in session.items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if given.get("scenario") is scenario:
            yield given["check"]  # type: ignore[misc]

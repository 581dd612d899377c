"""Every check where all is killed. Restarts, pauses, cut links, each kill alone: ``tests/long/test_scenarios.py``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.checks import CHECKS
from tests.scenarios.model import Check, Scenario
from tests.scenarios.scenarios import EACH_CHANGE


@pytest.mark.timeout(1200)  # the first of a scenario plays it for all
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("scenario", EACH_CHANGE, ids=lambda scenario: scenario.name)
def test_what_is_promised_holds(
    scenario: Scenario,
    check: type[Check],
    judge: Callable[[Scenario, type[Check]], None],
) -> None:
    judge(scenario, check)

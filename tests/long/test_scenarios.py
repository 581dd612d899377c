"""Every check in every scenario. ``-k no_faults``, ``-k "paused and Audit"`` and the like play fewer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.checks import CHECKS
from tests.scenarios.conftest import judge, plays  # noqa: F401  (fixtures)
from tests.scenarios.model import Check, Scenario
from tests.scenarios.scenarios import LONG


@pytest.mark.timeout(1200)  # the first of a scenario plays it for all
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("scenario", LONG, ids=lambda scenario: scenario.name)
def test_what_is_promised_holds(
    scenario: Scenario,
    check: type[Check],
    judge: Callable[[Scenario, type[Check]], None],  # noqa: F811
) -> None:
    judge(scenario, check)

"""Three minutes of chaos, as ``make chaos`` has them. One minute: ``tests/e2e/test_stack_in_chaos.py``."""

from __future__ import annotations

import pytest

from tests.chaos.claims import check_account_is_exact
from tests.chaos.run import Asked, run
from tests.conftest import temporary_folder


# Of several kinds each, and each kills a producer worker. With 3 a task, Spark and Airflow's API server are paused and
# the link to Airflow is cut; with 4 Spark and the sink are killed, PostgreSQL and the warehouse cut off; with 45 a
# task, the object store and the scheduler are killed.
@pytest.mark.parametrize("seed", [3, 4, 45])
# Above all that a run itself waits for.
@pytest.mark.timeout(2400)
def test_whatever_is_killed_paused_or_cut_the_account_is_exact(seed: int) -> None:
    asked = Asked(seed=seed, minutes=3, rate=150)
    with temporary_folder() as folder:
        check_account_is_exact(asked, run(asked, folder))

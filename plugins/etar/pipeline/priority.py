"""Which of the tasks that wait for a free slot Airflow takes first.

Its class is written by its full name into Airflow's database, with each DAG: moved, it is not found there.
"""

from __future__ import annotations

from typing import Any

from airflow.task.priority_strategy import PriorityWeightStrategy

from etar import backfills

MINUTE = 200
"""A minute's own run. Below it, in the DAG files: 100 for ``etar_audit`` and ``etar_reconcile``."""


class NewestMinuteFirst(PriorityWeightStrategy):  # type: ignore[misc]
    """The runs of a backfill go last. Left to itself, Airflow takes the oldest minute first, which is theirs."""

    def get_weight(self, ti: Any) -> int:
        return backfills.WEIGHT if backfills.is_named(ti.run_id) else MINUTE

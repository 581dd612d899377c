"""Which of the tasks that wait for a free slot Airflow takes first.

Its class is written by its full name into Airflow's database, with each DAG: moved, it is not found there.
"""

from __future__ import annotations

from typing import Any

from airflow.task.priority_strategy import PriorityWeightStrategy

MINUTE = 200
"""A minute's own run. Below it, in the DAG files: 100 for ``etar_audit`` and ``etar_reconcile``."""

_BACKFILL = "backfill__"
"""How the ids of a backfill's runs begin."""


class NewestMinuteFirst(PriorityWeightStrategy):  # type: ignore[misc]
    """The runs of a backfill go last. Left to itself, Airflow takes the oldest minute first, which is theirs.

    Within a run the later step has more weight: what is begun is finished before more is begun.
    """

    def get_weight(self, ti: Any) -> int:
        place: int = 1 + len(ti.task.get_flat_relative_ids(upstream=True))
        return place if str(ti.run_id).startswith(_BACKFILL) else MINUTE + place

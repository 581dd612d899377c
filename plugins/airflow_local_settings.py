"""Airflow imports a module of this name when it starts, wherever it finds one; here, so that past minutes have a pool.

Every process of Airflow's does, each task's, too: it imports nothing that is not small.
"""

from datetime import UTC, datetime
from typing import Any

from etar import backfills


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Called by scheduler and API server about each task of each run that is made or cleared."""
    if dag_run and backfills.is_past(task_instance.dag_id, dag_run.run_after, datetime.now(UTC)):
        task_instance.pool = backfills.POOL
        task_instance.priority_weight = backfills.WEIGHT


__all__ = ["task_instance_mutation_hook"]

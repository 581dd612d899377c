"""What sets the runs of past minutes apart: they have a pool of their own, so that the newest minute finds a place.

Of a stream, as many minutes may be at work at once as its own runs need and, beside them, what the pool gives. So a
backfill, however many runs it has, takes no place that the newest minute could want.
"""

from __future__ import annotations

from datetime import datetime, timedelta

POOL = "etar_backfill"

SLOTS = 1
"""Past minutes at work at once, of all streams: more would take the cores of the newest one. A person may change the
pool in Airflow's UI, but not beyond this in one stream (``max_active_tis_per_dag``)."""

WEIGHT = 1
"""What of them waits for a slot waits for everything else."""

_RUN, _DAG = "backfill__", "etar_pipeline"
_NEWEST = timedelta(minutes=1)


def is_named(run_id: str | None) -> bool:
    """Whether a backfill made the run, by its name. One that there was already keeps its name."""
    return bool(run_id) and str(run_id).startswith(_RUN)


def is_past(dag_id: str, run_after: datetime, now: datetime) -> bool:
    """Whether a run that is made or cleared now is of a minute that is not the newest any more: a backfill's, or one
    that somebody clears. Somebody else's DAGs in the same Airflow are none of ours.

    Args:
        run_after: when the run could have begun at the earliest: its minute's end.
    """
    return dag_id.startswith(_DAG) and now - run_after >= _NEWEST

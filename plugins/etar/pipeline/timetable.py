"""When a stream's minutes are run, and what their runs are called.

Its class is written by its full name into Airflow's database, with each DAG: moved, it is not found there.
"""

from __future__ import annotations

from typing import Any

from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.types import DagRunType

from etar.minute import MinuteWindow, NotOneMinuteError


class MinuteTimetable(CronDataIntervalTimetable):  # type: ignore[misc]
    """A run for each minute, at its end. The run's name says the minute: ``scheduled__2026-11-21T10:31Z``.

    Left to itself, Airflow names it after the minute's end, which is the next minute's name; of a run that a backfill
    makes (``backfill__2026-11-21T10:32:00+00:00`` is [10:31, 10:32)), Airflow does not ask.
    """

    def __init__(self) -> None:
        super().__init__("* * * * *", "UTC")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MinuteTimetable:  # noqa: ARG003  (there is nothing to choose)
        return cls()

    def serialize(self) -> dict[str, Any]:
        return {}

    def generate_run_id(self, *, run_type: DagRunType, run_after: Any, data_interval: Any, **extra: Any) -> str:
        """A minute may be run by hand several times: the moment stands behind its name."""
        own = super().generate_run_id(run_type=run_type, run_after=run_after, data_interval=data_interval, **extra)
        try:
            window = MinuteWindow.from_data_interval(
                *((data_interval.start, data_interval.end) if data_interval else (None, None)), dag_id=""
            )
        except NotOneMinuteError:
            return str(own)  # its task refuses it
        if run_type is DagRunType.MANUAL:
            return f"{run_type}__{window}_{run_after.isoformat()}"
        return f"{run_type}__{window}"

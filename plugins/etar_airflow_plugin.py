"""What Airflow has to know of by name: it looks for plugins in files of this folder, and ``etar/`` is left out.

Every process of Airflow's reads this file, each task's, too, and asks for what it needs of it. So what is for the web
UI is imported when it is asked for, which the API server alone does.
"""

from contextlib import suppress
from functools import cached_property
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from etar import backfills
from etar.pipeline.priority import NewestMinuteFirst
from etar.pipeline.timetable import MinuteTimetable


class PreloadBeforeForks:
    """Has the libraries of tasks imported by the scheduler and the DAG processor, before either forks anything."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        # Airflow calls it again in each task, which imports no more than it needs.
        if type(component).__name__ == "Job":
            import etar.pipeline.tasks.preload  # noqa: F401


class PoolOfBackfills:
    """Has scheduler and DAG processor make the pool: a task whose pool there is not would wait for ever."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        # Which of them it is, a job is told after it has called this.
        if type(component).__name__ != "Job":
            return
        from airflow.models.pool import Pool
        from sqlalchemy.exc import SQLAlchemyError

        about = "Past minutes at work at once, a backfill's or cleared, beside the newest one (etar)"
        # The other has just made it, or the database is away: then Airflow ends, and does this at its next start.
        with suppress(SQLAlchemyError):
            if Pool.get_pool(backfills.POOL) is None:  # else a person may have changed it
                Pool.create_or_update_pool(backfills.POOL, backfills.SLOTS, about, include_deferred=False)


class EtarPlugin(AirflowPlugin):
    name = "etar"
    priority_weight_strategies = [NewestMinuteFirst]  # noqa: RUF012  (as Airflow declares it)
    timetables = [MinuteTimetable]  # noqa: RUF012
    listeners = [PreloadBeforeForks(), PoolOfBackfills()]  # noqa: RUF012

    @cached_property
    def external_views(self) -> list[dict[str, str]]:
        """The dashboard, and of a run its minute: pages inside Airflow's."""
        from etar.settings import DashboardAddress, get_settings

        dashboard = {"name": "etar dashboard", "href": get_settings(DashboardAddress).url, "url_route": "etar"}
        # Without a slash before it: Airflow may stand behind a prefix.
        minute = {"name": "Minute", "href": "etar/runs/{DAG_ID}/{RUN_ID}", "url_route": "minute"}
        return [dashboard | {"destination": "nav"}, minute | {"destination": "dag_run"}]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        from etar.airflow_ui.app import PREFIX, create_app

        return [{"name": "etar", "app": create_app(), "url_prefix": PREFIX}]

    @cached_property
    def operator_extra_links(self) -> list[Any]:
        from etar.airflow_ui.links import MinuteLink

        return [MinuteLink()]

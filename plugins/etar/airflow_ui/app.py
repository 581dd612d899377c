"""The way from a run in Airflow to its minute in the dashboard, served by Airflow's own API server under ``/etar``.

Of a run Airflow's UI knows the name alone, and a name says no minute for sure (a cleared run, one of an older etar): so
the minute is read from the run's interval here.
"""

from __future__ import annotations

from html import escape

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from etar.minute import MinuteWindow, NotOneMinuteError
from etar.settings import DashboardAddress, get_settings
from etar.streams import Stream

PREFIX = "/etar"


def create_app() -> FastAPI:
    """Its one route is for who may see the run in Airflow."""
    app = FastAPI(title="etar", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/runs/{dag_id}/{run_id}", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))])
    def minute_of_run(dag_id: str, run_id: str, session: SessionDep) -> Response:
        """Go on to the dashboard's page of the run's minute."""
        stream = Stream.name_of_dag(dag_id)
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None:
            return _no_minute(f"Airflow has no run {run_id} of {dag_id}.")
        if stream is None:
            return _no_minute(f"{dag_id} is not about one minute: the log of its tasks names those it worked on.")
        try:
            window = MinuteWindow.from_data_interval(run.data_interval_start, run.data_interval_end, dag_id=dag_id)
        except NotOneMinuteError as error:
            return _no_minute(str(error))
        return RedirectResponse(get_settings(DashboardAddress).minute_page(stream, window))

    return app


def _no_minute(why: str) -> HTMLResponse:
    """Shown inside Airflow's page, where an answer in JSON would look like a fault."""
    return HTMLResponse(f"<!doctype html><title>etar</title><p>No minute to show. {escape(why)}</p>", status_code=404)

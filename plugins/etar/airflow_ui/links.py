"""Buttons on the page of a task, made when the page is looked at: a task at work, failed or killed has them, too."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from etar.airflow_ui.app import PREFIX
from etar.pipeline.tasks.pipeline import MinuteOperator


class MinuteLink(BaseOperatorLink):  # type: ignore[misc]
    """To the dashboard's page of the minute: its report and revisions, its row of the ledger, its Parquet object."""

    operators: ClassVar[list[Any]] = [MinuteOperator]
    name = "The minute in the dashboard: report, ledger row, extract"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002  (Airflow gives it by name)
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        return f"{base}{PREFIX}/runs/{quote(ti_key.dag_id, safe='')}/{quote(ti_key.run_id, safe='')}"

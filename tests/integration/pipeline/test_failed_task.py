"""How the ledger learns that a task has failed for good, in the way that Airflow says it.

A task that raised is failed by its own process (tested with the steps). For one that was killed, the scheduler has the
DAG processor call: with a context that it makes itself, and no exception.
"""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest
import structlog

from etar.clients import report_store_connection
from etar.ledger import Ledger, Stage, State
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from etar.streams import default_stream
from stack.layout import REPOSITORY
from tests.integration.pipeline.world import LedgerReader


@pytest.mark.usefixtures("ledger_connection", "policy")
@pytest.mark.parametrize("stage", Stage)
def test_the_dag_processor_fails_the_minute_of_a_killed_task(
    window: MinuteWindow, ledger: LedgerReader, stage: Stage, dags: SimpleNamespace, report_store: ReportStoreSettings
) -> None:
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TaskInstance, TIRunContext
    from airflow.callbacks.callback_requests import TaskCallbackRequest
    from airflow.dag_processing import processor

    run = {"dag_id": "etar_pipeline", "run_id": "scheduled__of-a-killed-task"}
    dag_run = DagRun(
        **run,
        logical_date=window.start,
        data_interval_start=window.start,
        data_interval_end=window.end,
        run_after=window.end,
        start_date=window.end,
        end_date=None,
        run_type="scheduled",
        state="running",
        consumed_asset_events=[],
        partition_key=None,
    )
    with report_store_connection(report_store) as connection:
        row = Ledger(connection, stream=default_stream(), run_id="etar_pipeline/scheduled__of-a-killed-task")
        for begun in Stage:
            row.began(window, begun)
            if begun is stage:
                break
    request = TaskCallbackRequest(
        filepath="etar_pipeline.py",
        bundle_name="dags-folder",
        bundle_version=None,
        msg="heartbeat timeout",
        ti=TaskInstance(**run, id=uuid4(), task_id="minute", try_number=11, dag_version_id=uuid4()),
        task_callback_type="failed",
        context_from_server=TIRunContext(dag_run=dag_run, max_tries=10),
    )

    processor._execute_task_callbacks(dags, request, structlog.get_logger())

    entry = ledger.entry(window)
    assert entry is not None
    assert (entry.state, entry.run_id) == (State.FAILED, "etar_pipeline/scheduled__of-a-killed-task")
    assert entry.error is not None
    assert "killed" in entry.error
    assert [each for each, times in entry.stages.items() if times.ended_at] == [stage], "which step it was at"


@pytest.fixture(scope="module")
def dags() -> SimpleNamespace:
    """The DAG file as the DAG processor has parsed it."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ETAR_PIPELINE_START_DATE", "2026-11-21T10:00:00Z")
        bag = DagBag(REPOSITORY / "dags" / "etar_pipeline.py", collect_dags=True)
    assert bag.import_errors == {}
    return SimpleNamespace(dags=bag.dags)

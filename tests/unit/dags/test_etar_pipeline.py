"""Policy: what the DAG promises (every minute, in order, repeatable, in few lines), pinned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etar.errors import PermanentError
from etar.ledger import Stage
from etar.minute import NotOneMinuteError
from etar.pipeline.settle import MinuteNotOverError, NotSettledError
from etar.pipeline.tasks import minute as steps
from tests.unit.dags.conftest import Parsed

SNAPSHOT = Path(__file__).with_name("etar_pipeline.json")
START = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)


def test_it_parses_without_errors(parsed: Parsed) -> None:
    assert parsed.import_errors == {}
    assert parsed.dag.dag_id == "etar_pipeline"


def test_each_run_is_one_minute_and_the_newest_never_waits_behind_an_outage(dag: Any) -> None:
    assert dag.catchup is False
    assert dag.start_date == datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
    assert dag.max_active_runs == 3
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"


def test_the_four_steps_follow_one_another(dag: Any) -> None:
    assert [task.task_id for task in dag.topological_sort()] == ["settle", "extract", "analyse", "report"]
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "settle": {"extract"},
        "extract": {"analyse", "report"},
        "analyse": {"report"},
        "report": set(),
    }


def weight(dag: Any, task_id: str, run_id: str) -> int:
    """What Airflow's scheduler orders waiting tasks by, the largest first, then by minute."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.serialized_objects import DagSerialization

    task = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task(task_id)
    return int(TaskInstance(task=task, run_id=run_id, dag_version_id=None).priority_weight)


def test_a_backfill_goes_behind_the_newest_minute_the_auditor_and_what_is_reported_again(
    dag: Any, parse: Callable[[str], Parsed]
) -> None:
    steps_ = ("settle", "extract", "analyse", "report")
    newest = [weight(dag, step, "scheduled__2026-11-21T10:32:00+00:00") for step in steps_]
    backfill = [weight(dag, step, "backfill__2026-11-21T03:15:00+00:00") for step in steps_]
    others = [
        weight(parse(name).dag, task.task_id, "scheduled__2026-11-21T10:32:35+00:00")
        for name in ("etar_audit", "etar_reconcile")
        for task in parse(name).dag.tasks
    ]
    assert max(backfill) < min(others) <= max(others) < min(newest)
    assert newest == sorted(newest), "what is begun is finished first"


def test_a_backfill_takes_no_more_at_once_than_the_minutes_own_runs(dag: Any) -> None:
    for task in dag.tasks:
        assert task.max_active_tis_per_dag == dag.max_active_runs


def test_every_step_is_documented_and_retried_soon(dag: Any) -> None:
    for task in dag.tasks:
        assert task.doc_md, task.task_id
        assert task.retries >= 3
        assert task.retry_delay <= timedelta(seconds=10)
        assert task.max_retry_delay <= timedelta(minutes=1)


def test_markdown_of_the_docs_is_not_indented_into_a_code_block(dag: Any) -> None:
    for text in [dag.doc_md, *(task.doc_md for task in dag.tasks)]:
        assert "\n\n    " not in text


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (NotOneMinuteError("zero width"), "fail"),
        (PermanentError("no"), "fail"),
        (MinuteNotOverError("tomorrow"), "fail"),
        (NotSettledError("behind"), "default"),
        (ConnectionError("away"), "default"),
    ],
)
def test_what_cannot_help_is_not_retried(dag: Any, error: Exception, action: str) -> None:
    for task in dag.tasks:
        assert task.retry_policy.evaluate(error, 1, 10).action.value == action


def test_a_report_follows_a_skipped_analysis_but_not_a_failed_one(dag: Any) -> None:
    assert dag.get_task("report").trigger_rule == "none_failed"
    assert {dag.get_task(name).trigger_rule for name in ("extract", "analyse")} == {"all_success"}


def test_an_analysis_that_hangs_ends(dag: Any) -> None:
    assert dag.get_task("analyse").execution_timeout == timedelta(minutes=10)


class Pulled:
    task_id = "analyse"

    def xcom_pull(self, *, task_ids: str) -> dict[str, Any]:
        assert task_ids == "extract"
        return {"minute": "2026-11-21T10:31Z", "rows": 0}


def test_an_empty_minute_skips_spark(dag: Any) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="2026-11-21T10:31Z has no rows"):
        dag.get_task("analyse")._pre_execute_hook({"ti": Pulled()})


def test_the_ledger_learns_of_each_analysis_and_of_every_failure(dag: Any) -> None:
    """What the hooks write: tests/integration/pipeline."""
    assert dag.get_task("analyse")._pre_execute_hook is steps.before_analysis
    assert dag.get_task("analyse")._post_execute_hook is steps.after_analysis
    for task in dag.tasks:
        assert list(task.on_failure_callback) == [steps.note_failure]
        assert task.task_id in set(Stage)


@dataclass(frozen=True)
class Run:
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    dag_id: str = "etar_pipeline"
    run_id: str = "manual__2026-11-21"


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(Run(), id="none"),
        pytest.param(Run(START, START), id="zero width"),
        pytest.param(Run(START, START + timedelta(seconds=59)), id="not a minute"),
    ],
)
def test_every_step_refuses_an_interval_that_is_not_one_minute(run: Run) -> None:
    with pytest.raises(NotOneMinuteError, match="airflow dags test"):
        steps.settle(run)
    with pytest.raises(NotOneMinuteError, match="airflow dags test"):
        steps.extract(run)
    with pytest.raises(NotOneMinuteError, match="airflow dags test"):
        steps.report({"rows": 0}, run)
    steps.note_failure({"dag_run": run, "ti": Pulled()})  # the task has said it; there is no row to write it to


def definition(dag: Any) -> dict[str, Any]:
    """What a change of must be meant: the serialized DAG without paths, texts and what Airflow fills in."""
    from airflow.serialization.serialized_objects import DagSerialization

    serialized = DagSerialization.to_dict(dag)["dag"]
    kept_of_dag = ("dag_id", "catchup", "max_active_runs", "timetable", "default_args", "start_date", "tags")
    kept_of_task = (
        "task_id", "task_type", "downstream_task_ids", "trigger_rule", "retries", "retry_delay", "max_retry_delay",
        "retry_exponential_backoff", "name", "application_args", "properties_file", "op_args", "op_kwargs",
    )  # fmt: skip
    tasks = [{key: task["__var"][key] for key in kept_of_task if key in task["__var"]} for task in serialized["tasks"]]
    return {key: serialized[key] for key in kept_of_dag} | {"tasks": tasks}


def test_the_definition_is_the_pinned_one(dag: Any) -> None:
    """Changed on purpose? Write ``definition(dag)`` into the snapshot beside this file."""
    assert json.loads(json.dumps(definition(dag))) == json.loads(SNAPSHOT.read_text())

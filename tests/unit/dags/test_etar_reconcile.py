"""Policy: what the reconciling DAG promises (a lane of its own, one batch at a time, in few lines), pinned."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etar.minute import NotOneMinuteError
from etar.pipeline.affected import UnreportableMinuteError
from etar.pipeline.tasks import again
from etar.pipeline.tasks.again import BatchFailedError, BatchUnfinishedError
from tests.unit.dags.conftest import Parsed

SNAPSHOT = Path(__file__).with_name("etar_reconcile.json")


def test_it_runs_every_minute_one_run_at_a_time_and_looks_at_all_there_is_each_time(dag: Any) -> None:
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert type(dag.timetable).__name__ == "CronTriggerTimetable"


def test_the_schedule_is_second_35_of_each_minute(dag: Any) -> None:
    from airflow.sdk import timezone
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DataInterval, TimeRestriction

    core = coerce_to_core_timetable(dag.timetable)
    last = timezone.parse("2026-11-21T10:31:35Z")
    info = core.next_dagrun_info(
        last_automated_data_interval=DataInterval(last, last), restriction=TimeRestriction(last, None, catchup=True)
    )
    assert info.logical_date == datetime(2026, 11, 21, 10, 32, 35, tzinfo=UTC)


def test_the_steps_follow_one_another(dag: Any) -> None:
    assert [task.task_id for task in dag.topological_sort()] == ["find", "extract", "analyse", "report", "conclude"]
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "find": {"extract"},
        "extract": {"analyse", "report"},
        "analyse": {"report"},
        "report": {"conclude"},
        "conclude": set(),
    }


def test_with_nothing_found_the_rest_is_skipped_whatever_its_trigger_rule(dag: Any) -> None:
    assert dag.get_task("find").ignore_downstream_trigger_rules is True


def test_minutes_are_reported_after_a_failed_analysis_too(dag: Any) -> None:
    assert dag.get_task("report").trigger_rule == "all_done"
    assert {dag.get_task(name).trigger_rule for name in ("extract", "analyse")} == {"all_success"}


def test_a_run_ends_soon_whatever_happens(dag: Any) -> None:
    """While it lasts no late event is found."""
    for task in dag.tasks:
        assert task.retries <= 2
        assert task.retry_delay <= timedelta(seconds=10)
        assert task.execution_timeout == timedelta(minutes=10)


def test_every_step_is_documented_and_not_indented_into_a_code_block(dag: Any) -> None:
    for text in [dag.doc_md, *(task.doc_md for task in dag.tasks)]:
        assert text
        assert "\n\n    " not in text


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (NotOneMinuteError("soon"), "fail"),
        (UnreportableMinuteError("tomorrow"), "fail"),
        (BatchFailedError("refused"), "fail"),
        (BatchUnfinishedError("away"), "retry"),
        (ConnectionError("away"), "retry"),
    ],
)
def test_what_cannot_help_is_not_retried(dag: Any, error: Exception, action: str) -> None:
    for task in dag.tasks:
        assert task.retry_policy.evaluate(error, 1, 2).action.value == action


@pytest.mark.parametrize(
    ("minutes", "good"), [([], True), (["2026-11-21T10:31Z"], True), (["2026-11-21T10:31Z"] * 16, False), ([31], False)]
)
def test_a_list_of_minutes_may_be_named(dag: Any, minutes: object, good: bool) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = dag.params.get_param("minutes")
    if good:
        assert param.resolve(value=minutes) == minutes
    else:
        with pytest.raises(ParamValidationError):
            param.resolve(value=minutes)


def test_minutes_are_the_default_streams_unless_another_is_named(parse: Callable[..., Parsed], folders: str) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = parse("etar_reconcile", streams="payments", folders=folders).dag.params.get_param("stream")
    assert param.resolve() == "user_interactions", "also where it is switched off: its data is there"
    assert param.resolve(value="payments") == "payments"
    with pytest.raises(ParamValidationError, match="'trips' is not one of"):
        param.resolve(value="trips")


def test_without_a_stream_it_still_parses(parse: Callable[..., Parsed], tmp_path: Path) -> None:
    assert parse("etar_reconcile", folders=str(tmp_path)).import_errors == {}


class Pulled:
    def xcom_pull(self, *, task_ids: str) -> dict[str, Any]:
        assert task_ids == "extract"
        return {"extracts": [], "failures": {}, "arguments": []}


def test_a_batch_without_rows_skips_spark(dag: Any) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="no minute of the batch has rows"):
        dag.get_task("analyse")._pre_execute_hook({"ti": Pulled()})


def test_a_report_after_a_failed_extraction_fails_as_well() -> None:
    """And with it the run's last task, whose state is the run's."""
    with pytest.raises(BatchFailedError, match="log of the task `extract`"):
        again.report(None, None, None)  # type: ignore[arg-type]  # is not reached


def test_what_has_failed_fails_a_task_apart_from_that_which_tells_of_reports(dag: Any) -> None:
    """Airflow drops the events of a task that fails; and one that has nothing to do costs no process."""
    report, conclude = dag.get_task("report"), dag.get_task("conclude")
    assert [outlet.name for outlet in report.outlets] == ["etar_reports"]
    assert (report.task_type, conclude.outlets) == ("_ShortCircuitDecoratedOperator", [])
    with pytest.raises(BatchFailedError, match="payments 2026-11-21T10:31Z: report: refused; stream trips: find: away"):
        again.conclude({"payments 2026-11-21T10:31Z": "report: refused", "stream trips": "find: away"})


def definition(dag: Any) -> dict[str, Any]:
    """What a change of must be meant: the serialized DAG without paths, texts and what Airflow fills in."""
    from airflow.serialization.serialized_objects import DagSerialization

    serialized = DagSerialization.to_dict(dag)["dag"]
    kept_of_dag = ("dag_id", "catchup", "max_active_runs", "timetable", "default_args", "start_date", "tags")
    kept_of_task = (
        "task_id", "task_type", "downstream_task_ids", "trigger_rule", "retries", "retry_delay", "execution_timeout",
        "name", "application_args", "properties_file", "op_args", "op_kwargs",
    )  # fmt: skip
    tasks = [{key: task["__var"][key] for key in kept_of_task if key in task["__var"]} for task in serialized["tasks"]]
    return {key: serialized[key] for key in kept_of_dag} | {"tasks": tasks}


def test_the_definition_is_the_pinned_one(dag: Any) -> None:
    """Changed on purpose? Write ``definition(dag)`` into the snapshot beside this file."""
    assert json.loads(json.dumps(definition(dag))) == json.loads(SNAPSHOT.read_text())

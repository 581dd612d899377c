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
from etar.pipeline.tasks.minute import LeftOutError, MinuteSteps
from etar.settings import PipelineSettings
from etar.streams import DEFAULT_STREAM, Stream
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
    analyse = dag.get_task("analyse")
    for hook, method in (
        (analyse._pre_execute_hook, MinuteSteps.before_analysis),
        (analyse._post_execute_hook, MinuteSteps.after_analysis),
        *((callback, MinuteSteps.note_failure) for task in dag.tasks for callback in task.on_failure_callback),
    ):
        assert (hook.__func__, hook.__self__.stream.name) == (method, DEFAULT_STREAM)
    for task in dag.tasks:
        assert len(list(task.on_failure_callback)) == 1
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
    steps = MinuteSteps(Stream("payments"))
    with pytest.raises(NotOneMinuteError, match="airflow dags test etar_pipeline_payments"):
        steps.settle(run)
    with pytest.raises(NotOneMinuteError, match="airflow dags test etar_pipeline_payments"):
        steps.extract(run)
    with pytest.raises(NotOneMinuteError, match="airflow dags test etar_pipeline_payments"):
        steps.report({"rows": 0}, run)
    steps.note_failure({"dag_run": run, "ti": Pulled()})  # the task has said it; there is no row to write it to


def test_each_stream_that_is_switched_on_has_a_dag_of_its_own(parse: Callable[..., Parsed], folders: str) -> None:
    parsed = parse("etar_pipeline", streams="payments user_interactions", folders=folders)
    assert parsed.import_errors == {}
    assert set(parsed.dags) == {"etar_pipeline_payments", "etar_pipeline"}, "`trips` is off, the faulty ones are too"
    for dag_id, stream in (("etar_pipeline", "user_interactions"), ("etar_pipeline_payments", "payments")):
        dag = parsed.dags[dag_id]
        assert dag.tags == {"etar", stream}
        assert f"of `{stream}`" in dag.doc_md
        assert f"airflow dags test {dag_id} 2026" in dag.doc_md
        assert [task.task_id for task in dag.topological_sort()] == ["settle", "extract", "analyse", "report"]
        for step in ("settle", "extract", "report"):
            assert dag.get_task(step).python_callable.__self__.stream.name == stream
            assert dag.get_task(step).doc_md == getattr(MinuteSteps, step).__doc__
        analyse = dag.get_task("analyse")
        assert analyse.application_args[:2] == ["--stream", stream]
        hooks = (analyse._pre_execute_hook, analyse._post_execute_hook, *analyse.on_failure_callback)
        assert {hook.__self__.stream.name for hook in hooks} == {stream}
        assert dag.get_task("report").op_args[0].operator is dag.get_task("extract"), "its own"


@pytest.mark.parametrize(("streams", "each"), [(1, 3), (2, 1), (3, 1), (5, 1)])
def test_streams_share_what_is_at_work_at_once(streams: int, each: int) -> None:
    """A minute whose sink stands still waits in a slot: of all streams together no more do than of a single one, as far
    as each has one."""
    settings = PipelineSettings(start_date=START)
    assert settings.runs_of_each(streams) == each
    assert settings.model_copy(update={"max_active_runs": 10}).runs_of_each(streams) == 10 // streams


def test_the_dags_of_several_streams_have_fewer_runs_each(parse: Callable[..., Parsed], folders: str) -> None:
    parsed = parse("etar_pipeline", streams="user_interactions payments trips", folders=folders)
    for dag in parsed.dags.values():
        assert dag.max_active_runs == 1
        assert {task.max_active_tis_per_dag for task in dag.tasks} == {1}


def test_a_stream_with_a_fault_is_left_out_and_says_so_in_the_list_of_dags(
    parse: Callable[..., Parsed], folders: str
) -> None:
    parsed = parse("etar_pipeline", streams="all", folders=folders)
    assert parsed.import_errors == {}
    sound = {"etar_pipeline", "etar_pipeline_payments", "etar_pipeline_trips"}
    assert set(parsed.dags) == sound | {"etar_pipeline_broken", "etar_pipeline_Not_a_name"}
    for dag in parsed.dags.values():
        assert ("fault" in dag.tags) is (dag.dag_id not in sound)
    left_out = parsed.dags["etar_pipeline_broken"]
    assert type(left_out.timetable).__name__ == "NullTimetable", "never by itself"
    assert "stream.toml, line 1, column 8: is not TOML" in left_out.doc_md
    (task,) = left_out.tasks
    with pytest.raises(LeftOutError, match=r"stream\.toml, line 1, column 8: is not TOML"):
        task.python_callable()


@pytest.mark.parametrize("name", ["nowhere", "no/where?", "x" * 300, "über"])
def test_a_stream_that_has_no_folder_is_named_and_stops_no_other(parse: Callable[..., Parsed], name: str) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    parsed = parse("etar_pipeline", streams=f"user_interactions,{name}")
    assert parsed.import_errors == {}
    (left_out,) = [dag for dag_id, dag in parsed.dags.items() if dag_id != "etar_pipeline"]
    DagSerialization.to_dict(left_out)
    assert "there is no stream" in left_out.doc_md
    assert "user_interactions" in left_out.doc_md


def test_without_a_stream_there_is_no_dag_and_no_error(parse: Callable[..., Parsed], tmp_path: Path) -> None:
    parsed = parse("etar_pipeline", folders=str(tmp_path))
    assert (parsed.dags, parsed.import_errors) == ({}, {})


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

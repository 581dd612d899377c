"""Policy: what the DAG promises (every minute, in order, repeatable, in few lines), pinned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from etar import backfills
from etar.errors import PermanentError
from etar.minute import NotOneMinuteError
from etar.pipeline.settle import MinuteNotOverError, NotSettledError
from etar.pipeline.tasks.minute import LeftOutError, MinuteSteps
from etar.settings import PipelineSettings, StreamSettings
from etar.streams import DEFAULT_STREAM, Stream, catalogue
from stack.configuration import make_settings
from stack.layout import Layout
from stack.parts import Stack, airflow
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
    assert type(dag.timetable).__name__ == "MinuteTimetable"


@pytest.mark.parametrize(
    ("run_type", "name"),
    [
        ("scheduled", "scheduled__2026-11-21T10:31Z"),
        ("manual", "manual__2026-11-21T10:31Z_2026-11-21T10:32:20+00:00"),
    ],
)
def test_a_run_is_named_after_its_minute(dag: Any, run_type: str, name: str) -> None:
    assert run_name(dag, run_type, START, START + timedelta(minutes=1)) == name


def test_a_run_that_is_no_minute_keeps_the_name_that_airflow_gives_it(dag: Any) -> None:
    assert run_name(dag, "manual", START, START + timedelta(seconds=59)) == "manual__2026-11-21T10:32:20+00:00"
    assert run_name(dag, "manual", None, None) == "manual__2026-11-21T10:32:20+00:00"


def run_name(dag: Any, run_type: str, start: datetime | None, end: datetime | None) -> str:
    """By the DAG as the scheduler reads it from the database."""
    from airflow.sdk import timezone
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import DataInterval
    from airflow.utils.types import DagRunType

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    interval = DataInterval(start, end) if start else None
    moment = timezone.parse("2026-11-21T10:32:20Z")
    return str(timetable.generate_run_id(run_type=DagRunType(run_type), run_after=moment, data_interval=interval))


def test_the_schedule_is_each_minute_and_its_run_comes_at_its_end(dag: Any) -> None:
    from airflow.sdk import timezone
    from airflow.timetables.base import DataInterval, TimeRestriction

    start, end = timezone.parse("2026-11-21T10:30:00Z"), timezone.parse("2026-11-21T10:31:00Z")
    info = dag.timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(start, end), restriction=TimeRestriction(start, None, catchup=True)
    )
    assert (info.data_interval.start, info.run_after) == (end, end + timedelta(minutes=1))


def test_a_minute_is_one_task(dag: Any) -> None:
    (task,) = dag.tasks
    assert (task.task_id, task.task_display_name) == ("minute", "settle, extract, analyse, report")


def weight(dag: Any, task_id: str, run_id: str) -> int:
    """What Airflow's scheduler orders waiting tasks by, the largest first, then by minute."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.serialized_objects import DagSerialization

    task = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task(task_id)
    return int(TaskInstance(task=task, run_id=run_id, dag_version_id=None).priority_weight)


def test_a_backfill_goes_behind_the_newest_minute_the_auditor_and_what_is_reported_again(
    dag: Any, parse: Callable[[str], Parsed]
) -> None:
    newest = weight(dag, "minute", "scheduled__2026-11-21T10:32:00+00:00")
    backfill = weight(dag, "minute", "backfill__2026-11-21T03:15:00+00:00")
    others = [
        weight(parse(name).dag, task.task_id, "scheduled__2026-11-21T10:32:35+00:00")
        for name in ("etar_audit", "etar_reconcile")
        for task in parse(name).dag.tasks
    ]
    assert backfill < min(others) <= max(others) < newest


@pytest.mark.parametrize(
    ("dag_id", "ago", "place"),
    [
        ("etar_pipeline", 2, ("default_pool", 200)),
        ("etar_pipeline", 59.9, ("default_pool", 200)),
        ("etar_pipeline", 60, ("etar_backfill", 1)),
        ("etar_pipeline_payments", 86400, ("etar_backfill", 1)),
        ("somebodys_dag", 86400, ("default_pool", 200)),
    ],
)
def test_past_minutes_have_a_pool_of_their_own_also_those_whose_run_there_was_already(
    monkeypatch: pytest.MonkeyPatch, dag_id: str, ago: float, place: tuple[str, int]
) -> None:
    """As a run's tasks are made or cleared: by the module that Airflow finds in the folder of plugins. A backfill
    clears the run that a minute has, which keeps its name."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG, BaseOperator
    from airflow.serialization.serialized_objects import DagSerialization

    import airflow_local_settings

    now = START + timedelta(seconds=60 + ago)
    monkeypatch.setattr(airflow_local_settings, "datetime", SimpleNamespace(now=lambda _: now))
    with DAG(dag_id, schedule=None) as made:
        BaseOperator(task_id="minute", weight_rule="etar.pipeline.priority.NewestMinuteFirst")
    task = DagSerialization.from_dict(DagSerialization.to_dict(made)).get_task("minute")
    instance = TaskInstance(task=task, run_id="scheduled__2026-11-21T10:31Z", dag_version_id=None)
    instance.refresh_from_task(task, dag_run=SimpleNamespace(run_after=START + timedelta(minutes=1)))
    assert (instance.pool, instance.priority_weight) == place


def test_a_backfill_leaves_the_newest_minute_its_places(parse: Callable[..., Parsed], folders: str) -> None:
    """Of all that may be at work of a stream at once, a backfill has what its pool gives, and no more."""
    for streams in ("user_interactions", "user_interactions payments trips"):
        for dag in parse("etar_pipeline", streams=streams, folders=folders).dags.values():
            for task in dag.tasks:
                assert task.max_active_tis_per_dag - backfills.SLOTS == dag.max_active_runs >= 1


def test_airflow_has_a_slot_for_each_of_them(stack: Stack) -> None:
    """Every stream's minutes, a backfill's, the audit and the reconciling run."""
    slots = int(airflow.environment(stack)["AIRFLOW__CORE__PARALLELISM"])
    for_minutes = PipelineSettings(start_date=START).runs_of_each(len(stack.streams)) * len(stack.streams)
    assert slots >= for_minutes + backfills.SLOTS + 2


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(Layout.at(tmp_path), make_settings({}, {}, START))


def test_a_job_of_airflows_own_makes_the_pool_once_and_leaves_it_as_a_person_changed_it(
    parse: Callable[..., Parsed], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow import plugins_manager
    from airflow.jobs import job
    from airflow.models.pool import Pool

    pools: dict[str, int] = {}
    monkeypatch.setattr(Pool, "get_pool", pools.get)
    monkeypatch.setattr(Pool, "create_or_update_pool", lambda name, slots, *_, **__: pools.update({name: slots}))
    (plugin,) = (each for each in plugins_manager._get_plugins()[0] if each.name == "etar")
    _, of_pool = plugin.listeners
    of_pool.on_starting(object())
    assert pools == {}
    # Airflow's own, which calls it before it knows which job it is.
    monkeypatch.setattr(job, "get_listener_manager", lambda: SimpleNamespace(hook=of_pool))
    job.Job()
    assert pools == {backfills.POOL: backfills.SLOTS}
    pools[backfills.POOL] = 4
    job.Job()
    assert pools == {backfills.POOL: 4}


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
        (NotSettledError("behind"), "retry"),
        (ConnectionError("away"), "retry"),
    ],
)
def test_what_cannot_help_is_not_retried(dag: Any, error: Exception, action: str) -> None:
    for task in dag.tasks:
        assert task.retry_policy.evaluate(error, 1, 10).action.value == action


def test_a_spark_that_hangs_ends(dag: Any) -> None:
    assert dag.get_task("minute").execution_timeout == PipelineSettings(start_date=START).settle_timeout + timedelta(
        minutes=10
    )


def test_the_ledger_learns_of_every_failure(dag: Any) -> None:
    """What the callback writes: tests/integration/pipeline."""
    (callback,) = dag.get_task("minute").on_failure_callback
    assert (callback.__func__, callback.__self__.stream.name) == (MinuteSteps.note_failure, DEFAULT_STREAM)


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
        steps.extract(run, None)
    with pytest.raises(NotOneMinuteError, match="airflow dags test etar_pipeline_payments"):
        steps.report(run, 0, None)
    steps.note_failure({"dag_run": run})  # the task has said it; there is no row to write it to


def test_each_stream_that_is_switched_on_has_a_dag_of_its_own(parse: Callable[..., Parsed], folders: str) -> None:
    parsed = parse("etar_pipeline", streams="payments user_interactions", folders=folders)
    assert parsed.import_errors == {}
    assert set(parsed.dags) == {"etar_pipeline_payments", "etar_pipeline"}, "`trips` is off, the faulty ones are too"
    for dag_id, stream in (("etar_pipeline", "user_interactions"), ("etar_pipeline_payments", "payments")):
        dag = parsed.dags[dag_id]
        assert dag.tags == {"etar", stream}
        assert f"of `{stream}`" in dag.doc_md
        assert f"airflow dags test {dag_id} 2026" in dag.doc_md
        (task,) = dag.tasks
        (callback,) = task.on_failure_callback
        assert callback.__self__ == MinuteSteps(task.stream)
        assert task.stream.name == stream, "its own"


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
        assert {task.max_active_tis_per_dag for task in dag.tasks} == {2}, "with a backfill's"


def test_a_stream_with_a_fault_is_left_out_and_says_so_in_the_list_of_dags(
    parse: Callable[..., Parsed], folders: str
) -> None:
    parsed = parse("etar_pipeline", streams="all", folders=folders)
    assert parsed.import_errors == {}
    own = {stream.dag_id for stream in catalogue(StreamSettings(streams_folders="streams")).streams.values()}
    sound = {"etar_pipeline_payments", "etar_pipeline_trips", *own}
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
    kept_of_dag = ("dag_id", "catchup", "max_active_runs", "timetable", "start_date", "tags")
    kept_of_task = (
        "task_id", "task_type", "downstream_task_ids", "retries", "retry_delay", "max_retry_delay",
        "retry_exponential_backoff", "execution_timeout", "max_active_tis_per_dag", "properties_file",
    )  # fmt: skip
    tasks = [{key: task["__var"][key] for key in kept_of_task if key in task["__var"]} for task in serialized["tasks"]]
    return {key: serialized[key] for key in kept_of_dag} | {"tasks": tasks}


def test_the_definition_is_the_pinned_one(dag: Any) -> None:
    """Changed on purpose? Write ``definition(dag)`` into the snapshot beside this file."""
    assert json.loads(json.dumps(definition(dag))) == json.loads(SNAPSHOT.read_text())

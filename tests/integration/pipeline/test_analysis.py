"""The analysis by a Spark that stays, and the whole task of a minute: the real operators, asking the real server."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etar.clients import object_store_client
from etar.ledger import Stage, State
from etar.minute import MinuteWindow
from etar.pipeline.tasks import analysis
from etar.pipeline.tasks.analysis import AnalysisFailedError, AnalysisOperator, AnalysisRefusedError
from etar.pipeline.tasks.pipeline import MinuteOperator
from etar.settings import ObjectStoreSettings
from etar.streams import default_stream
from spark_apps.analysis_server import EXIT_SPARK_ENDED
from stack.parts import Stack, spark
from stack.processes import exists
from tests.conftest import running_part
from tests.integration.pipeline.world import ROWS, Minute
from tests.interactions import Report
from tests.ports import free_ports

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")

Analyse = Callable[..., None]


@pytest.fixture(scope="module")
def server(object_store: ObjectStoreSettings, parts_stack: Stack) -> Iterator[int]:
    """The process id of the module's own."""
    with running_part("spark", parts_stack) as pid:
        yield pid


@pytest.fixture
def store(object_store: ObjectStoreSettings) -> Any:
    return object_store_client(object_store)


@pytest.fixture
def analyse(
    parts_stack: Stack, object_store: ObjectStoreSettings, airflow_connection: Callable[[str, dict[str, object]], None]
) -> Analyse:
    """``analyse(window, …)`` runs the task over these minutes; keywords change its connection."""

    def run(*windows: MinuteWindow, arguments: tuple[str, ...] = (), **changes: object) -> None:
        airflow_connection("etar_spark", spark.airflow_connection(parts_stack) | changes)
        bucket = object_store.bucket
        asked = [
            argument
            for window in windows
            for argument in (
                *("--stream", default_stream().name, "--minute", str(window)),
                *("--source", f"s3a://{bucket}/{default_stream().extract_key(window)}"),
                *("--result", f"s3a://{bucket}/{default_stream().result_key(window)}"),
            )
        ]
        AnalysisOperator(
            task_id="analyse", conn_id="etar_spark", application="", application_args=[*asked, *arguments]
        ).execute({})

    return run


def put_extract(store: Any, bucket: str, window: MinuteWindow, rows: int) -> None:
    """Rows of ``rows - 1`` events: the last is a duplicate."""
    table = pa.table(
        {
            "event_id": pa.array([bytes([min(row, rows - 2)]) for row in range(rows)], pa.binary()),
            "user_id": pa.array([bytes([row % 3]) for row in range(rows)], pa.binary()),
            "event_type": ["view"] * rows,
            "status": ["success", *["error"] * (rows - 1)],
            "_partition": pa.array([0] * rows, pa.int32()),
            "_offset": pa.array(range(rows), pa.int64()),
        }
    )
    body = io.BytesIO()
    pq.write_table(table, body)
    store.put_object(Bucket=bucket, Key=default_stream().extract_key(window), Body=body.getvalue())


def result(store: Any, bucket: str, window: MinuteWindow) -> Report:
    answer = store.get_object(Bucket=bucket, Key=default_stream().result_key(window))
    return Report.model_validate(json.loads(answer["Body"].read()))


@pytest.mark.usefixtures("server")
def test_each_minute_is_counted_by_itself(analyse: Analyse, store: Any, object_store: ObjectStoreSettings) -> None:
    windows = {WINDOW: 7, WINDOW.next: 4}
    for window, rows in windows.items():
        put_extract(store, object_store.bucket, window, rows)
    analyse(*windows)
    for window, rows in windows.items():
        report = result(store, object_store.bucket, window)
        assert (report.window, report.rows_read, report.total_events) == (window, rows, rows - 1)
        assert (report.total_errors, report.unique_users) == (rows - 2, 3)


@pytest.mark.usefixtures("server")
def test_a_minute_without_its_extract_fails_the_task_and_stops_no_other(
    analyse: Analyse, store: Any, object_store: ObjectStoreSettings
) -> None:
    missing, there = MinuteWindow.parse("2026-11-21T11:00Z"), MinuteWindow.parse("2026-11-21T11:01Z")
    put_extract(store, object_store.bucket, there, 5)
    with pytest.raises(AnalysisFailedError, match=f"{missing}: .*{missing.slug}.*"):
        analyse(missing, there)
    assert result(store, object_store.bucket, there).rows_read == 5


@pytest.mark.usefixtures("server")
def test_a_failed_tasks_log_has_the_end_of_sparks_own_and_says_where_all_of_it_is(
    analyse: Analyse, store: Any, object_store: ObjectStoreSettings, parts_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = MinuteWindow.parse("2026-11-21T11:02Z")
    store.put_object(Bucket=object_store.bucket, Key=default_stream().extract_key(broken), Body=b"PAR1, it says")
    # Not caplog: Airflow, once it is imported, leads logs past it.
    said: list[str] = []
    monkeypatch.setattr(analysis._log, "error", lambda message, *values: said.append(message % values))
    with pytest.raises(AnalysisFailedError, match=str(broken)):
        analyse(broken)
    where, *lines = said
    assert str(parts_stack.layout.log("spark")) in where
    assert any("ERROR" in line and "Exception" in line for line in lines), lines
    assert any(broken.slug in line for line in lines), "it is of this analysis"

    put_extract(store, object_store.bucket, broken, 4)
    said.clear()
    analyse(broken)
    assert said == [], "one that succeeds leaves the log as it was"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"password": "another"}, "401: .*token"),
        ({"password": ""}, "401: .*token"),
        ({"arguments": ("--no-such",)}, "422: .*--no-such"),
    ],
)
def test_another_token_and_other_arguments_are_refused(analyse: Analyse, given: dict[str, Any], says: str) -> None:
    with pytest.raises(AnalysisRefusedError, match=says):
        analyse(WINDOW, **given)


def test_a_spark_that_is_away_is_worth_another_try(analyse: Analyse) -> None:
    with pytest.raises(AnalysisFailedError, match="does not answer"):
        analyse(WINDOW, port=free_ports(1)[0])


def test_it_ends_with_its_jvm(own_stack: Stack) -> None:
    with running_part("spark", own_stack) as pid:
        server = psutil.Process(pid)
        (jvm,) = (child for child in server.children(recursive=True) if child.name() == "java")
        jvm.kill()
        assert server.wait(30) == EXIT_SPARK_ENDED


def test_it_ends_with_nothing_left(own_stack: Stack) -> None:
    with running_part("spark", own_stack) as pid:
        server = psutil.Process(pid)
        family = server.children(recursive=True)
        assert "java" in {child.name() for child in family}
        server.terminate()
        assert server.wait(30) == -signal.SIGTERM  # uvicorn raises it again when all is done
        assert not [child for child in family if exists(child.pid)]


# -- the whole task of a minute


@pytest.fixture
def run_task(
    parts_stack: Stack, airflow_connection: Callable[[str, dict[str, object]], None]
) -> Callable[..., dict[str, Any]]:
    """``run_task(minute, …)`` runs the task of ``etar_pipeline``; keywords change Spark's connection."""

    def run(minute: Minute, **changes: object) -> dict[str, Any]:
        airflow_connection("etar_spark", spark.airflow_connection(parts_stack) | changes)
        task = MinuteOperator(task_id="minute", stream=default_stream(), conn_id="etar_spark", application="")
        return task.execute({"dag_run": minute.run})

    return run


whole = pytest.mark.usefixtures(
    "kafka", "warehouse_connection", "ledger_connection", "policy", "connected", "s3_connection"
)


@whole
@pytest.mark.usefixtures("server")
def test_a_minute_is_reported_by_one_task_and_twice_the_same(minute: Minute, run_task: Callable[..., Any]) -> None:
    for _ in range(2):
        assert run_task(minute) == {"minute": str(minute.window), "rows": ROWS, "revision": 1}
        published, entry = minute.published(), minute.entry()
        assert published is not None
        assert entry is not None
        assert (published["rows_read"], published["total_events"]) == (
            ROWS,
            len({each.event for each in minute.records}),
        )
        assert (entry.state, entry.revision, list(entry.stages)) == (State.REPORTED, 1, list(Stage))
        assert all(times.ended_at for times in entry.stages.values())
        costs = {stage: times.cost for stage, times in entry.stages.items()}
        assert all(cost and cost.cpu_seconds and cost.cpu_seconds > 0 for cost in costs.values())
        of_extract = (ROWS, entry.object_size)
        assert [(cost.rows, cost.bytes) for cost in costs.values() if cost] == [
            (None, None),
            of_extract,
            of_extract,
            (1, len(result(minute.s3, minute.bucket, minute.window).model_dump_json())),
        ]


@whole
def test_an_empty_minute_goes_without_spark(
    empty_minute: MinuteWindow, minute: Minute, run_task: Callable[..., Any]
) -> None:
    minute.lose_all(known_reason=True)
    assert run_task(minute, port=free_ports(1)[0]) == {"minute": str(empty_minute), "rows": 0, "revision": 1}
    entry = minute.entry()
    assert entry is not None
    assert list(entry.stages) == [Stage.SETTLE, Stage.EXTRACT, Stage.REPORT]


@whole
def test_without_spark_the_minute_stays_extracted_and_another_try_reports_it(
    minute: Minute, run_task: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(AnalysisFailedError, match="does not answer"):
        run_task(minute, port=free_ports(1)[0])
    entry = minute.entry()
    assert entry is not None
    assert (entry.state, list(entry.stages)[-1], minute.published()) == (State.EXTRACTED, Stage.ANALYSE, None)
    request.getfixturevalue("server")
    assert run_task(minute)["revision"] == 1

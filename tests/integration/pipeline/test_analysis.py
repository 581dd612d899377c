"""The task `analyse` with a Spark that stays: the real operator, asking the real server."""

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
from etar.minute import MinuteWindow
from etar.pipeline.tasks.analysis import AnalysisFailedError, AnalysisOperator, AnalysisRefusedError
from etar.settings import ObjectStoreSettings
from etar.streams import default_stream
from spark_apps.analysis_server import EXIT_SPARK_ENDED
from stack.parts import Stack, spark
from stack.processes import exists
from tests.conftest import running_part
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

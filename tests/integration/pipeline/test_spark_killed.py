"""The analysis as Airflow runs it, spark-submit with the real program, and its JVM killed around the result's write.

No scenario (``tests/scenarios``): the kill has to come within milliseconds of a write, and Spark takes ten seconds a
run.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from etar.clients import object_store_client
from etar.minute import MinuteWindow
from etar.settings import ObjectStoreSettings
from etar.streams import default_stream
from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import Stack, spark
from tests.integration.pipeline.test_extract import extract, insert_many
from tests.interactions import Report

APP = REPOSITORY / "spark_apps" / "minute_report.py"

# The program itself, with its JVM killed where the result is written, before or after it.
KILLED = """
import os, signal, sys
from spark_apps import minute_report as app

write = app.write_object

def killed(spark, uri, content):
    if {after}:
        write(spark, uri, content)
    os.kill(spark._jvm.java.lang.ProcessHandle.current().pid(), signal.SIGKILL)
    if not {after}:
        write(spark, uri, content)

app.write_object = killed
sys.exit(app.main(sys.argv[1:]))
"""


def submit(stack: Stack, store: ObjectStoreSettings, program: Path, window: MinuteWindow) -> int:
    arguments = [
        *("--stream", default_stream().name, "--minute", str(window)),
        *("--source", f"s3a://{store.bucket}/{default_stream().extract_key(window)}"),
        *("--result", f"s3a://{store.bucket}/{default_stream().result_key(window)}"),
    ]
    credentials = store.access_key_id, store.secret_access_key.get_secret_value()
    command = [str(VENV_BIN / "spark-submit"), "--master", "local[2]"]
    done = subprocess.run(
        [*command, "--properties-file", str(spark.properties_file(stack)), str(program), *arguments],
        env=os.environ | spark.environment(*credentials) | {"PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        capture_output=True,
        timeout=250,
        check=False,
    )
    return done.returncode


def result(s3: Any, store: ObjectStoreSettings, window: MinuteWindow) -> Report | None:
    try:
        answer = s3.get_object(Bucket=store.bucket, Key=default_stream().result_key(window))
    except s3.exceptions.NoSuchKey:
        return None
    return Report.model_validate(json.loads(answer["Body"].read()))


@pytest.fixture
def extracted(empty_minute: MinuteWindow, client: Client, object_store: ObjectStoreSettings) -> MinuteWindow:
    """A minute of 1,000 events, with its extract in the object store."""
    insert_many(client, empty_minute, 1_000)
    extract(empty_minute, client, object_store_client(object_store), object_store)
    return empty_minute


@pytest.mark.parametrize("after", [False, True])
def test_a_killed_jvm_leaves_a_whole_result_or_none(
    extracted: MinuteWindow, object_store: ObjectStoreSettings, parts_stack: Stack, tmp_path: Path, after: bool
) -> None:
    s3 = object_store_client(object_store)
    program = tmp_path / "killed.py"
    program.write_text(KILLED.format(after=after))

    assert submit(parts_stack, object_store, program, extracted) != 0
    left = result(s3, object_store, extracted)
    assert (left is not None) is after

    if not after:
        assert submit(parts_stack, object_store, APP, extracted) == 0
        left = result(s3, object_store, extracted)
    assert left is not None
    assert (left.window, left.rows_read, left.total_events) == (extracted, 1_000, 1_000)

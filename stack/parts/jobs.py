"""The long-lived jobs that streams bring with them (``[[jobs]]`` of ``stream.toml``): a Spark each, on this machine."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from etar.job_progress import SILENT_AFTER
from etar.settings import ObjectStoreSettings
from etar.streams import Job, Stream
from stack import jvm
from stack.parts import spark
from stack.parts.base import Part, Stack, write_if_changed
from stack.parts.kafka import topic_of
from stack.parts.postgres import job_tables_of
from stack.parts.warehouse import table_of

_CORES = 2
_HEAP_MB = 480
"""The least that Spark takes."""

_SMALL = ("-Xms128m", "-Xmn40m", "-XX:MinHeapFreeRatio=5", "-XX:MaxHeapFreeRatio=20")
"""For a heap that is given back: what a micro-batch leaves behind is gone with the next one."""


def parts(stream: Stream) -> tuple[Part, ...]:
    """The jobs of one stream."""
    return tuple(_part(stream, job) for job in stream.jobs)


def _beat(stack: Stack, job: Job) -> Path:
    return stack.layout.run / f"{job.name}.beat"


def _goes_on(stack: Stack, job: Job) -> bool:
    return time.time() - _beat(stack, job).stat().st_mtime < SILENT_AFTER.total_seconds()


def _command(stack: Stack, stream: Stream, job: Job) -> list[str]:
    bucket = stack.settings.of(ObjectStoreSettings).bucket
    return [
        sys.executable, "-m", "spark_apps.run_job", f"{stream.name}/{job.name}",
        "--checkpoints", f"s3a://{bucket}/{stream.checkpoints_key(job)}",
        "--beat", str(_beat(stack, job)),
    ]  # fmt: skip


def _environment(stack: Stack, job: Job) -> dict[str, str]:
    file = stack.layout.data("spark") / f"{job.name}.properties"
    more = {"spark.driver.memory": f"{_HEAP_MB}m"}
    java = spark.java_options(*jvm.SPARK_DRIVER.reading(), *_SMALL)
    write_if_changed(file, spark.properties(stack.settings["ETAR_S3_ENDPOINT_URL"], java, more))
    submit = ("--master", f"local[{_CORES}]", "--properties-file", str(file), "pyspark-shell")
    return (
        stack.settings.starting_with(
            "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_REPORT_STORE_", "ETAR_PIPELINE_", "ETAR_JOBS_"
        )
        | spark.environment(*spark.credentials(stack))
        # Not an arena for each of a hundred threads, each of which keeps what it once took.
        | {"PYSPARK_SUBMIT_ARGS": shlex.join(submit), "MALLOC_ARENA_MAX": "2"}
    )


def _part(stream: Stream, job: Job) -> Part:
    return Part(
        name=job.name,
        needs=(topic_of(stream), table_of(stream), job_tables_of(stream), "compatibility", "bucket"),
        prepare=lambda stack: _beat(stack, job).unlink(missing_ok=True),
        command=lambda stack: _command(stack, stream, job),
        environment=lambda stack: _environment(stack, job),
        ready=lambda stack: _goes_on(stack, job),
        stop_seconds=30,
        stream=stream.name,
    )

"""Make the class archive of a program: ``python -m stack.class_archives NAME``; see ``stack/jvm.py``.

The program runs as a stack runs it, in a folder of its own, and does once what it is there for.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from etar.clients import object_store_client
from etar.made_up_rows import made_up_rows
from etar.settings import ObjectStoreSettings
from etar.streams import default_stream
from stack import jvm
from stack.configuration import PORTS, prepare_settings
from stack.jvm import ClassArchive
from stack.launch import environment_of
from stack.layout import REPOSITORY, Layout
from stack.lifecycle import is_ready
from stack.parts import Part, Stack, connect, kafka, object_store, registry, spark
from stack.waiting import wait_until

ROWS = 100
_STARTED_WITHIN = 300
_WRITTEN_WITHIN = 300


def write_events(file: Path) -> None:
    """``ROWS`` events of one minute, each once, as an extract has them."""
    pq.write_table(made_up_rows(default_stream(), ROWS), file, compression="zstd")


def _analyse(archive: ClassArchive) -> None:
    """The job of a Spark driver is the analysis, on a few rows: from S3 and to it, whose client is a third of it."""
    with _stack() as stack, _running(object_store.OBJECT_STORE, stack):
        object_store.BUCKET.action(stack)
        settings = stack.settings.of(ObjectStoreSettings)
        events = stack.layout.root / "events.parquet"
        write_events(events)
        extract, result = (f"{folder}/class-archive" for folder in ("extracts", "results"))
        object_store_client(settings).upload_file(str(events), settings.bucket, extract)
        properties = spark.properties(settings.endpoint_url, spark.java_options(archive.writing()))
        (stack.layout.root / "spark.properties").write_text(properties)
        submit = [
            str(spark.spark_home() / "bin" / "spark-submit"),
            "--master", "local[2]",
            "--properties-file", str(stack.layout.root / "spark.properties"),
            str(REPOSITORY / "spark_apps" / "minute_report.py"),
            "--stream", default_stream().name,
            "--minute", "2026-01-01T00:00Z",
            "--source", f"s3a://{settings.bucket}/{extract}",
            "--result", f"s3a://{settings.bucket}/{result}",
        ]  # fmt: skip
        subprocess.run(submit, env=os.environ | spark.environment(*spark.credentials(stack)), check=True)


def _run_kafka(archive: ClassArchive) -> None:
    with _stack() as stack, _running(kafka.BROKERS[0], stack, archive.writing()):
        kafka.topic_step(default_stream()).action(stack)


def _run_registry(archive: ClassArchive) -> None:
    with _stack() as stack, _running(registry.REGISTRY, stack, archive.writing()):
        registry.COMPATIBILITY_STEP.action(stack)


def _run_connect(archive: ClassArchive) -> None:
    worker = connect.workers((default_stream(),))[0]
    with _stack() as stack, _running(kafka.BROKERS[0], stack), _running(worker, stack, archive.writing()):
        pass


@contextmanager
def _stack() -> Iterator[Stack]:
    """Settings on free ports, and a folder; nothing of it runs."""
    with tempfile.TemporaryDirectory(prefix="etar-") as folder, ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        ports = {name: str(each.getsockname()[1]) for name, each in zip(PORTS, sockets, strict=True)}
        held.close()
        layout = Layout.at(Path(folder))
        layout.create()
        yield Stack(layout, prepare_settings(layout.settings_file, ports, datetime.now(UTC)))


@contextmanager
def _running(part: Part, stack: Stack, *java_options: str) -> Iterator[None]:
    """A part that answers, with more options for its Java; at the end it is asked to end, and writes its archive."""
    if part.prepare:
        part.prepare(stack)
    java, *rest = part.command(stack)
    process = subprocess.Popen([java, *java_options, *rest], env=environment_of(stack, part), cwd=REPOSITORY)

    def answers_or_ended() -> bool:
        return process.poll() is not None or is_ready(part, stack)

    try:
        wait_until(answers_or_ended, timeout=_STARTED_WITHIN, what=f"{part.name} to answer")
        if process.returncode is not None:
            raise RuntimeError(f"{part.name} ended with {process.returncode} instead of answering")
        yield
        process.terminate()
        process.wait(_WRITTEN_WITHIN)
    finally:
        process.kill()
        process.wait()


PROGRAMS: dict[str, tuple[ClassArchive, Callable[[ClassArchive], None]]] = {
    "spark-driver": (jvm.SPARK_DRIVER, _analyse),
    "kafka": (jvm.KAFKA, _run_kafka),
    "registry": (jvm.REGISTRY, _run_registry),
    "connect": (jvm.CONNECT, _run_connect),
}


def main(name: str) -> None:
    archive, run = PROGRAMS[name]
    archive.file.parent.mkdir(parents=True, exist_ok=True)
    for old in (archive.file, archive.draft):
        old.unlink(missing_ok=True)  # a program that reads one writes none
    run(archive)
    archive.draft.replace(archive.file)
    print(f"{archive.file}: {archive.file.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])

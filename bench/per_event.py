"""What one event costs: its bytes in each place, and the CPU time of each part on its way. The base of docs/scale.md.

    .venv/bin/python bench/per_event.py --events 600000

Starts Kafka, registry, warehouse and S3 server of its own in a temporary folder and sends made-up events of one past
minute through them, one stage after the other, so that each stage's CPU time is its own. CPU time hardly depends on
what else the machine does meanwhile; wall-clock times would. Spark is run on a small minute as well: the difference is
what the events cost, without its start.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from etar.clients import object_store_client, warehouse_client
from etar.extracts import Extract
from etar.kafka.offsets import TopicOffsets, settled
from etar.minute import MinuteWindow
from etar.pipeline.extract import extract_minute
from etar.settings import KafkaSettings, ObjectStoreSettings, WarehouseSettings
from etar.streams import default_stream
from stack.configuration import prepare_settings
from stack.layout import REPOSITORY, VENV_BIN, Layout
from stack.parts import Stack, part_named, spark
from stack.waiting import wait_until
from tests.conftest import running_part, stack_environment, temporary_folder

_STREAM = default_stream()
_SMALL = 6_000
_APP = REPOSITORY / "spark_apps" / "minute_report.py"


def cpu(pid: int) -> float:
    """CPU seconds of a process and of what it has started."""
    process = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def cpu_of_ended() -> float:
    """CPU seconds of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment(stack: Stack, *prefixes: str) -> dict[str, str]:
    return stack.base_environment | stack.settings.starting_with(*prefixes)


def produce(stack: Stack, window: MinuteWindow, events: int) -> float:
    """Send a minute's events; returns the CPU seconds of the producer."""
    before = cpu_of_ended()
    command = ("produce", "--rate", f"{events / 60:g}", "--for", "60s", "--start", str(window), "--workers", "1")
    subprocess.run(
        [str(VENV_BIN / "etar"), *command, "--seed", str(events)],
        env=environment(stack, "ETAR_KAFKA_", "ETAR_REGISTRY_") | {"ETAR_DIR": str(stack.layout.root)},
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return cpu_of_ended() - before


@contextmanager
def sink(stack: Stack) -> Iterator[int]:
    """The native sink, from its start until it has committed all that Kafka holds; yields its process id then."""
    part = part_named("sink", stack)
    with (
        stack.layout.log("sink").open("ab") as log,
        TopicOffsets.connect(_STREAM.topic, settings=stack.settings.of(KafkaSettings)) as offsets,
    ):
        process = subprocess.Popen(
            part.command(stack), env=stack.base_environment | part.environment(stack), cwd=REPOSITORY, stderr=log
        )
        try:
            target = offsets.end()
            wait_until(lambda: settled(target, offsets.committed(_STREAM.sink_group)), timeout=900, what="the sink")
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def extract(stack: Stack, window: MinuteWindow) -> Extract:
    store = stack.settings.of(ObjectStoreSettings)
    with warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600) as warehouse:
        return extract_minute(
            window,
            stream=_STREAM,
            warehouse=warehouse,
            store=object_store_client(store),
            bucket=store.bucket,
            grace=timedelta(seconds=2),
            retention=timedelta(hours=26),
            now=lambda: datetime.now(UTC),
        )


def analyse(stack: Stack, extracted: Extract) -> float:
    """Run Spark on a minute's extract; returns its CPU seconds."""
    before = cpu_of_ended()
    submit = [str(VENV_BIN / "spark-submit"), "--properties-file", str(spark.properties_file(stack)), str(_APP)]
    options = (
        *("--stream", _STREAM.name, "--minute", extracted.minute),
        *("--source", str(extracted.source), "--result", extracted.result),
    )
    subprocess.run(
        [*submit, *options],
        env=os.environ | spark.environment(*spark.credentials(stack)) | {"PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return cpu_of_ended() - before


def kafka_bytes(stack: Stack) -> int:
    folder: Path = stack.layout.data("kafka")
    return sum(file.stat().st_size for file in folder.glob(f"{_STREAM.topic}-*/*.log"))


def table_bytes(stack: Stack, window: MinuteWindow) -> int:
    with warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600) as client:
        client.command(f"OPTIMIZE TABLE {_STREAM.table} FINAL")
        partition = f"{window.start:%Y-%m-%d %H:%M:%S}"
        query = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND partition = {partition:String}"
        ((size,),) = client.query(query, parameters={"partition": partition}).result_rows
        return int(size)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=600_000)
    events = parser.parse_args().events
    now = datetime.now(UTC)
    small, large = (MinuteWindow.containing(now - timedelta(minutes=age)) for age in (20, 10))
    costs: dict[str, float] = {}
    sizes: dict[str, float] = {}
    with temporary_folder() as folder:
        layout = Layout.at(folder)
        layout.create()
        stack = Stack(layout, prepare_settings(layout.settings_file, stack_environment(), now))
        with (
            running_part("kafka", stack) as kafka,
            running_part("registry", stack),
            running_part("warehouse", stack) as warehouse,
            running_part("s3", stack),
        ):
            produce(stack, small, _SMALL)
            before, sent = cpu(kafka), kafka_bytes(stack)
            costs["producer"] = produce(stack, large, events)
            costs["Kafka, taking them in"] = cpu(kafka) - before
            sizes["Kafka"] = kafka_bytes(stack) - sent
            before_kafka, before = cpu(kafka), cpu(warehouse)
            with sink(stack) as pid:
                costs["sink"] = cpu(pid)
            costs["warehouse, inserts and merges"] = cpu(warehouse) - before
            costs["Kafka, giving them out"] = cpu(kafka) - before_kafka
            sizes["table"] = table_bytes(stack, large)
            extracted = extract(stack, small)
            before, mine = cpu(warehouse), sum(os.times()[:2])
            extracted_large = extract(stack, large)
            costs["warehouse, extract"] = cpu(warehouse) - before
            costs["extract"] = sum(os.times()[:2]) - mine
            sizes["Parquet"] = float(extracted_large.object_size or 0)
            costs["Spark"] = analyse(stack, extracted_large) - analyse(stack, extracted)
    for part, seconds in costs.items():
        rate = events / seconds
        print(f"{part:<30} {seconds / events * 1e6:>7.2f} us of CPU an event, {rate:>10,.0f} events a second a core")
    for place, size in sizes.items():
        print(f"{place:<30} {size / events:>7.1f} bytes an event")
    return 0


if __name__ == "__main__":
    sys.exit(main())

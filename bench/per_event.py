"""What one event costs: its bytes in each place, and the CPU time of each part on its way. The base of docs/scale.md.

    .venv/bin/python bench/per_event.py --events 600000 --against ../before

Starts Kafka, registry, warehouse and S3 server of its own in a temporary folder and sends made-up events of one past
minute through them, one stage after the other, so that each stage's CPU time is its own. CPU time hardly depends on
what else the machine does meanwhile; wall-clock times would. Spark is run on a small minute as well: the difference is
what the events cost, without its start. Another version measures itself, by its own copy of this program. Its traffic
need not be ours, so bytes are compared on the same rows: in a table by the statement of 16c29e7, as the stream's first
file still has it, and extracted as there. What is asked of both tables has each in its turn.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.measure import BEFORE, Bar, Row, in_turn, options_of_a_figure, tell
from etar.bootstrap.migrations import stream_migrations
from etar.clients import object_store_client, warehouse_client
from etar.extracts import Extract
from etar.kafka.offsets import TopicOffsets, settled
from etar.minute import MinuteWindow
from etar.pipeline.extract import extract_minute, selected
from etar.settings import KafkaSettings, ObjectStoreSettings, WarehouseSettings
from etar.streams import default_stream
from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import Stack, part_named, spark
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part

_STREAM = default_stream()
_SMALL = 6_000
_FEWER, _NO_SLOWER = Bar("ratio", at_most=0.6), Bar("ratio", at_most=1.05)
_BEFORE = "before"
_QUERIES = {
    "all columns": "SELECT sum(cityHash64(*)) FROM {table} FINAL",
    "rows by partition": "SELECT _partition, count(), max(_offset) FROM {table} FINAL GROUP BY _partition",
    "20 runs of a thousand offsets": "SELECT _partition, intDiv(_offset, 1000) % 20 AS run, groupUniqArray(_offset) "
    "FROM {table} WHERE _topic = 'user_interactions' AND _partition IN (0, 3) "
    "AND (intDiv(_offset, 1000) BETWEEN 5 AND 14) GROUP BY _partition, run",
}
"""What a table is asked: by nobody who needs not all of it; by verify; by the audit."""
_ASKED_OFTEN = ("rows by partition", "20 runs of a thousand offsets")
_TIMES = 5
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


def table_bytes(stack: Stack, window: MinuteWindow, table: str = _STREAM.table) -> int:
    with warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600) as client:
        client.command(f"OPTIMIZE TABLE {table} FINAL")
        partition = f"{window.start:%Y-%m-%d %H:%M:%S}"
        query = (
            "SELECT sum(bytes_on_disk) FROM system.parts "
            "WHERE active AND partition = {partition:String} AND table = {table:String}"
        )
        ((size,),) = client.query(query, parameters={"partition": partition, "table": table}).result_rows
        return int(size)


def as_before(stack: Stack, window: MinuteWindow) -> dict[str, float]:
    """Bytes by place of the minute's rows as 16c29e7 kept them; its table is there afterwards."""
    first = stream_migrations(_STREAM)[0].statements[0]
    every = replace(_STREAM, report_columns=None)
    with warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600) as client:
        client.command(first.replace(f"EXISTS {_STREAM.table}", f"EXISTS {_BEFORE}"))
        client.command(
            f"INSERT INTO {_BEFORE} SELECT * FROM {_STREAM.table} WHERE {window.predicate}", window.parameters
        )
        columns = selected(every, client.query(f"DESCRIBE TABLE {_BEFORE}").result_rows)
        answer = client.raw_stream(
            f"SELECT {columns} FROM {_BEFORE} FINAL ORDER BY _topic, _partition, _offset",
            settings={"output_format_parquet_compression_method": "zstd"},
            fmt="Parquet",
        )
        with answer:
            parquet = sum(map(len, iter(partial(answer.read, 1024 * 1024), b"")))
    return {"table": table_bytes(stack, window, _BEFORE), "Parquet": parquet}


def asked(stack: Stack, warehouse: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of the warehouse for each query, by table."""
    with warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600) as client:

        def cost(query: str, table: str) -> float:
            before = cpu(warehouse)
            for _ in range(_TIMES):
                client.query(query.format(table=table))
            return (cpu(warehouse) - before) / _TIMES

        return {
            name: in_turn({table: partial(cost, query, table) for table in (_STREAM.table, _BEFORE)}, _TIMES)
            for name, query in _QUERIES.items()
        }


class Measured(NamedTuple):
    """Of some events. ``costs``: CPU seconds by part; ``sizes``: bytes by place; ``before``: those of 16c29e7;
    ``asked``: as :func:`asked` gives it."""

    costs: dict[str, float]
    sizes: dict[str, float]
    before: dict[str, float]
    asked: dict[str, dict[str, list[float]]]


def measured(events: int) -> Measured:
    """What so many events of a minute cost."""
    now = datetime.now(UTC)
    small, large = (MinuteWindow.containing(now - timedelta(minutes=age)) for age in (20, 10))
    costs: dict[str, float] = {}
    sizes: dict[str, float] = {}
    with (
        new_stack() as stack,
        running_part("kafka", stack) as kafka,
        running_part("registry", stack),
        running_part("warehouse", stack) as warehouse,
        running_part("s3", stack),
    ):
        produce(stack, small, _SMALL)
        spent, sent = cpu(kafka), kafka_bytes(stack)
        costs["producer"] = produce(stack, large, events)
        costs["Kafka, taking them in"] = cpu(kafka) - spent
        sizes["Kafka"] = kafka_bytes(stack) - sent
        spent_of_kafka, spent = cpu(kafka), cpu(warehouse)
        with sink(stack) as pid:
            costs["sink"] = cpu(pid)
        costs["warehouse, inserts and merges"] = cpu(warehouse) - spent
        costs["Kafka, giving them out"] = cpu(kafka) - spent_of_kafka
        sizes["table"] = table_bytes(stack, large)
        extracted = extract(stack, small)
        spent, mine = cpu(warehouse), sum(os.times()[:2])
        extracted_large = extract(stack, large)
        costs["warehouse, extract"] = cpu(warehouse) - spent
        costs["extract"] = sum(os.times()[:2]) - mine
        sizes["Parquet"] = float(extracted_large.object_size or 0)
        costs["Spark"] = analyse(stack, extracted_large) - analyse(stack, extracted)
        before = as_before(stack, large)
        queries = asked(stack, warehouse)
    return Measured(costs, sizes, before, queries)


_COST = re.compile(r"^(.+?) +([\d.]+) (us of CPU|bytes) an event", re.MULTILINE)
"""How a version tells what it has measured: the part or the place, the figure, the unit."""


def measured_by(version: Path, events: int) -> dict[str, float]:
    """What another version tells of itself, by part and place."""
    command = [str(version / ".venv" / "bin" / "python"), "bench/per_event.py", "--events", str(events)]
    done = subprocess.run(command, cwd=version, capture_output=True, text=True, check=True)
    return {name: float(figure) for name, figure, _ in _COST.findall(done.stdout)}


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--events", type=int, default=600_000)
    options = parser.parse_args()
    events = options.events
    costs, sizes, before, queries = measured(events)
    for part, seconds in costs.items():
        rate = events / seconds
        print(f"{part:<30} {seconds / events * 1e6:>7.2f} us of CPU an event, {rate:>10,.0f} events a second a core")
    for place, size in sizes.items():
        print(f"{place:<30} {size / events:>7.1f} bytes an event")
    others = measured_by(options.against.resolve(), events) if options.against else {}
    against = options.against.name if options.against else ""
    same_rows = f"{BEFORE}, the same rows"
    rows = [
        Row(f"stored of an event, {place}", "bytes", size / events, same_rows, before[place] / events, bar=_FEWER)
        if place in before
        else Row(f"stored of an event, {place}", "bytes", size / events, against, others.get(place))
        for place, size in sizes.items()
    ]
    rows += [
        Row.of(
            f"warehouse, asked for {name}", "ms of CPU", *([each * 1e3 for each in by_table[table]]
            for table in (_STREAM.table, _BEFORE)), against=same_rows, bar=_NO_SLOWER if name in _ASKED_OFTEN else None,
        )
        for name, by_table in queries.items()
    ]  # fmt: skip
    rows += [
        Row(f"CPU of an event, {part}", "us", seconds / events * 1e6, against, others.get(part))
        for part, seconds in costs.items()
    ]
    return tell(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())

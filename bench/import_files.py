"""What `etar produce --input` costs a row, file to Kafka, in each format; against another version of etar.

    git worktree add ../before 16c29e7
    .venv/bin/python bench/import_files.py --rows 5000000 --against ../before

Starts Kafka and registry of its own. Both versions send the same files, one after the other, each into a topic of its
own, which is then read: the same records must be in all. Exits with 1 if they are not. The other version gets the JSON
lines unpacked (the commit above reads no gzip). CPU time hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from etar.settings import KafkaSettings
from stack.layout import REPOSITORY
from streams.user_interactions.event import EVENT_TYPES
from tests.conftest import new_stack, running_part, temporary_folder
from tests.integration.topics import make_topic

_PARTITIONS = 6
_ROWS_A_BATCH = 100_000
_COMMAND = "import typer; from producer.command import produce; typer.run(produce)"


class Cost(NamedTuple):
    """Seconds of one run, its process's start included."""

    cpu: float
    wall: float


def write_files(folder: Path, rows: int, now: datetime) -> dict[str, Path]:
    """The same rows as CSV, JSON lines (packed and not) and Parquet: 20,000 users, an id for each event."""
    random = Random(1)  # noqa: S311
    users = [str(UUID(int=random.getrandbits(128), version=4)) for _ in range(20_000)]
    files = {name: folder / f"rows.{name}" for name in ("csv", "jsonl", "jsonl.gz", "parquet")}
    start = now - timedelta(hours=2)
    csv_file = parquet_file = None
    with files["jsonl"].open("wb") as plain, gzip.open(files["jsonl.gz"], "wb", compresslevel=1) as packed:
        for first in range(0, rows, _ROWS_A_BATCH):
            batch = [
                {
                    "event_id": str(UUID(int=random.getrandbits(128), version=4)),
                    "user_id": random.choice(users),
                    "event_type": random.choice(EVENT_TYPES),
                    "event_time": (start + timedelta(milliseconds=number)).isoformat(timespec="milliseconds"),
                    "product_id": f"P{random.randrange(2000):05}",
                    "amount": random.randrange(100, 20_000) if random.random() < 0.5 else None,
                    "device": "mobile",
                    "country": "DE",
                }
                for number in range(first, min(rows, first + _ROWS_A_BATCH))
            ]
            for row in batch:
                line = json.dumps(row).encode() + b"\n"
                plain.write(line)
                packed.write(line)
            table = pa.Table.from_pylist(batch)
            csv_file = csv_file or pyarrow.csv.CSVWriter(files["csv"], table.schema)
            parquet_file = parquet_file or pq.ParquetWriter(files["parquet"], table.schema)
            csv_file.write_table(table)
            parquet_file.write_table(table)
    for writer in (csv_file, parquet_file):
        if writer is not None:
            writer.close()
    return files


def send(version: Path, file: Path, topic: str, environment: dict[str, str]) -> Cost:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, "-c", _COMMAND, "--input", str(file), "--topic", topic],
        env=environment | {"PYTHONPATH": f"{version}{os.pathsep}{version / 'plugins'}"},
        cwd=version, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.monotonic() - began)


def fingerprint(kafka: KafkaSettings, topic: str) -> tuple[int, int]:
    """How many records a topic holds, and the sum of their hashes: the same records, whatever their order."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "none", "enable.auto.commit": False})
    try:
        places = [TopicPartition(topic, partition, 0) for partition in range(_PARTITIONS)]
        total = sum(consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
        consumer.assign(places)
        records = hashes = 0
        while records < total:
            batch = consumer.consume(min(10_000, total - records), timeout=30)
            if not batch:
                raise TimeoutError(f"{topic}: {records} of {total} records came")
            for message in batch:
                digest = hashlib.blake2b(message.key() + message.value(), digest_size=8).digest()
                hashes = (hashes + int.from_bytes(digest, "big")) % 2**64
            records += len(batch)
        return records, hashes
    finally:
        consumer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--against", type=Path, help="checkout of another version", metavar="FOLDER")
    arguments = parser.parse_args()
    now = datetime.now(UTC)
    found: set[tuple[int, int]] = set()
    with temporary_folder() as folder, new_stack() as stack:
        files = write_files(folder, arguments.rows, now)
        environment = stack.base_environment | stack.settings.starting_with("ETAR_KAFKA_", "ETAR_REGISTRY_")
        kafka = stack.settings.of(KafkaSettings)
        with running_part("kafka", stack), running_part("registry", stack):
            for kind in ("csv", "jsonl.gz", "parquet"):
                costs = []
                versions = [(REPOSITORY, kind)]
                if arguments.against:
                    versions.append((arguments.against.resolve(), kind.removesuffix(".gz")))
                for number, (version, name) in enumerate(versions):
                    topic = f"import-{name}-{number}"
                    make_topic(kafka, topic, _PARTITIONS)
                    cost = send(version, files[name], topic, environment)
                    found.add(fingerprint(kafka, topic))
                    costs.append(cost)
                    per_row = (seconds / arguments.rows * 1e6 for seconds in cost)
                    print(f"{name:<10} {'here' if number == 0 else 'before':<7}", end="")
                    print("{:>7.1f} us of CPU a row {:>7.1f} us".format(*per_row), flush=True)
                if len(costs) == 2:
                    here, before = costs
                    print(f"{kind:<10} ratio {before.cpu / here.cpu:.1f} in CPU, {before.wall / here.wall:.1f} in time")
    print("the same records in all" if len(found) == 1 else f"NOT the same records in all: {found}")
    return 0 if len(found) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())

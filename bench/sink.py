"""How fast the native sink drains a topic: records a second of its processor time, and of a core that it has to itself.

    .venv/bin/python bench/sink.py --records 1500000 --runs 3 --against ../before

Starts Kafka, registry and warehouse of its own in a temporary folder and fills a topic once, with events of the first
stream. Each run drains all of it into a table of its own, with a process that may use one core; everything else has the
others. What is measured begins with the first commit, when the process has started and read the schema, and ends with
the last; then each record must be a row that can be read. The versions take turns; exits with 1 if a row is missing, or
the bar is not met.

With `--overload 20`, records then arrive for so many seconds at twice the rate that a sink of small batches sustains:
how far it falls behind is printed, and how long it takes to have caught up, with each record a row.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
from confluent_kafka import Producer

from bench.measure import BEFORE, Bar, Row, in_turn, options_of_a_figure, tell
from etar.clients import warehouse_client
from etar.kafka.offsets import TopicOffsets
from etar.settings import KafkaSettings, RegistrySettings, WarehouseSettings
from etar.streams import default_stream
from producer.block_encoding import BlockEncoding
from producer.wire import open_encoding
from stack.configuration import prepare_settings
from stack.layout import REPOSITORY, Layout
from stack.parts import Stack
from stack.waiting import wait_until
from streams.user_interactions.shop import EventFactory
from tests.conftest import running_part, stack_environment, temporary_folder
from tests.integration.topics import make_topic

BAR = 120_000
_TOPIC = "drained"
_AT_ONCE = 50_000
_SPREAD_MS = 600_000
"""Before now, over which the events' times are spread."""
_CONNECTORS = ("connect/sink.json", "connect/user_interactions_sink.json")
"""Where versions have the sink's configuration."""


class Drained(NamedTuple):
    """One run. ``engine_cpu``: the warehouse's processor time, microseconds a row."""

    per_cpu_second: float
    per_second: float
    engine_cpu: float
    readable: int


class Filling:
    """Fills a topic that it makes; ``size``: of the values so far, in bytes."""

    def __init__(self, stack: Stack, topic: str) -> None:
        kafka = stack.settings.of(KafkaSettings)
        make_topic(kafka, topic, default_stream().partitions)
        self.size = 0
        self._topic = topic
        encoding = open_encoding(stack.settings.of(RegistrySettings), default_stream(), topic)
        self._encoding = BlockEncoding(default_stream(), encoding)
        self._events = EventFactory(seed=1, errors=0.05)
        self._producer = Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 50, "compression.type": "lz4"}
        )

    def records(self, instants: npt.NDArray[np.int64]) -> list[tuple[bytes, bytes | None]]:
        """Value and key of events at these times."""
        made = self._encoding.encoded(self._events.block(instants), len(instants))
        return list(zip(made.values, made.keys, strict=True))

    def send(self, value: bytes, key: bytes | None) -> None:
        self.size += len(value)
        while True:
            try:
                self._producer.produce(self._topic, value, key)
                return
            except BufferError:
                self._producer.poll(0.1)

    def finish(self) -> None:
        if self._producer.flush(60):
            raise RuntimeError("Kafka did not take all records")


def fill(stack: Stack, records: int) -> int:
    """Returns the bytes of the records' values."""
    filling = Filling(stack, _TOPIC)
    instants = _now_ms() - _SPREAD_MS + np.arange(records) * _SPREAD_MS // records
    for first in range(0, records, _AT_ONCE):
        for value, key in filling.records(instants[first : first + _AT_ONCE]):
            filling.send(value, key)
    filling.finish()
    return filling.size


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def sink_of(
    version: Path, stack: Stack, name: str, core: int, *, topic: str = _TOPIC, **settings: str
) -> Iterator[psutil.Process]:
    """The sink of a checkout, which fills the table of this name, on one core."""
    template = next(version / each for each in _CONNECTORS if (version / each).exists())
    document = json.loads(template.read_text())
    document["name"] = f"{name}_sink"
    document["config"] |= {"topics": topic, "topic2TableMap": f"{topic}={name}"}
    connector = stack.layout.root / f"{name}.json"
    connector.write_text(json.dumps(document))
    environment = stack.base_environment | stack.settings.starting_with(
        "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_PIPELINE_", "ETAR_CONNECT_"
    )
    own = version / ".venv" / "bin" / "python"
    with stack.layout.log(name).open("ab") as log:
        process = subprocess.Popen(
            [own if own.exists() else sys.executable, "-m", "connect.native_sink", "--connector", str(connector)],
            env=environment | settings | {"PYTHONPATH": f"{version / 'plugins'}:{version}"},
            cwd=version,
            stderr=log,
        )
        watched = psutil.Process(process.pid)
        watched.cpu_affinity([core])
        try:
            yield watched
        finally:
            process.terminate()
            process.wait(60)


def drain(version: Path, stack: Stack, warehouse_pid: int, name: str, core: int, **settings: str) -> Drained:
    with (
        warehouse_client(stack.settings.of(WarehouseSettings)) as client,
        TopicOffsets.connect(_TOPIC, settings=stack.settings.of(KafkaSettings)) as offsets,
    ):
        client.command(f"CREATE TABLE {name} AS {default_stream().table}")
        records = sum(offsets.end().values())
        with sink_of(version, stack, name, core, **settings) as sink:

            def come_to() -> tuple[int, float, float, float]:
                committed = sum(max(0, offset) for offset in offsets.committed(f"connect-{name}_sink").values())
                return committed, time.monotonic(), _cpu(sink), _cpu(psutil.Process(warehouse_pid))

            first = last = come_to()
            while last[0] < records:
                time.sleep(0.05)
                last = come_to()
                if not first[0]:
                    first = last
        ((readable,),) = client.query(f"SELECT uniqExact(_partition, _offset) FROM {name}").result_rows
        client.command(f"DROP TABLE {name}")
    done, wall, cpu, engine = (end - start for end, start in zip(last, first, strict=True))
    return Drained(done / cpu, done / wall, engine / done * 1e6, int(readable))


def overload(stack: Stack, warehouse_pid: int, core: int, seconds: int) -> bool:
    """Print what becomes of a sink to which twice as much comes as it sustains; whether it was all stored."""
    sustained = drain(REPOSITORY, stack, warehouse_pid, "sustained", core, **_SMALL_BATCHES).per_second
    topic = "overloaded"
    filling = Filling(stack, topic)
    ready = filling.records(np.full(_AT_ONCE, _now_ms()))
    log = stack.layout.log(topic)
    with (
        warehouse_client(stack.settings.of(WarehouseSettings)) as client,
        TopicOffsets.connect(topic, settings=stack.settings.of(KafkaSettings)) as offsets,
    ):

        def behind() -> int:
            return sum(offsets.end().values()) - sum(offsets.committed(f"connect-{topic}_sink").values())

        client.command(f"CREATE TABLE {topic} AS {default_stream().table}")
        with sink_of(REPOSITORY, stack, topic, core, topic=topic, **_SMALL_BATCHES) as sink:
            wait_until(lambda: "reading partitions" in log.read_text(), timeout=60, what="the sink to begin")
            began = time.monotonic()
            sent = 0
            lags: list[int] = []
            while (since := time.monotonic() - began) < seconds:
                while sent < 2 * sustained * since:
                    filling.send(*ready[sent % _AT_ONCE])
                    sent += 1
                if since > len(lags) + 1:
                    lags.append(behind())
            filling.finish()
            rate, ended = sent / (time.monotonic() - began), time.monotonic()
            peak = behind()
            wait_until(lambda: not behind(), timeout=300, what=f"the sink to catch up ({log})")
            caught_up = time.monotonic() - ended
            memory = sink.memory_info().rss / 1e6
        rows = client.query(f"SELECT uniqExact(_partition, _offset) FROM {topic}").result_rows[0][0]
    print(
        f"overload: sustained {sustained:,.0f} a second; {sent:,} records at {rate:,.0f} a second "
        f"({rate / sustained:.1f} times); behind, each second: {lags}, at the end {peak:,}; caught up "
        f"{caught_up:.1f} s later; {rows:,} readable; {memory:.0f} MB; "
        f"warnings: {log.read_text().count(' WARNING ') + log.read_text().count(' ERROR ')}"
    )
    return bool(rows == sent)


_SMALL_BATCHES = {"ETAR_SINK_BATCH_ROWS": "2000"}


def _cpu(process: psutil.Process) -> float:
    """Seconds, of all its threads."""
    return sum(process.cpu_times()[:2])


def rows(ours: Sequence[Drained], before: Sequence[Drained]) -> list[Row]:
    least = Bar("ours", at_least=BAR)
    measures: dict[tuple[str, str], tuple[Callable[[Drained], float], Bar | None]] = {
        ("records drained of the sink's processor time", "/s"): (lambda run: run.per_cpu_second, least),
        ("records drained, the sink on one core", "/s"): (lambda run: run.per_second, least),
        ("the engine's processor time for a row", "µs"): (lambda run: run.engine_cpu, None),
    }
    return [
        Row.of(figure, unit, [*map(measure, ours)], [*map(measure, before)], against=BEFORE, bar=bar)
        for (figure, unit), (measure, bar) in measures.items()
    ]


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="of each version")
    parser.add_argument("--overload", type=int, default=0, metavar="SECONDS")
    asked = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    # What is started from here on, but the sink, has the other cores.
    os.sched_setaffinity(0, cores[1:] or cores)
    versions = {"here": REPOSITORY} | ({"before": asked.against.resolve()} if asked.against else {})
    with temporary_folder() as folder:
        layout = Layout.at(folder)
        layout.create()
        stack = Stack(layout, prepare_settings(layout.settings_file, stack_environment(), datetime.now(UTC)))
        with running_part("kafka", stack), running_part("registry", stack), running_part("warehouse", stack) as pid:
            size = fill(stack, asked.records) / asked.records
            names = (f"drained_{number}" for number in itertools.count())

            def drained(version: Path) -> Drained:
                run = drain(version, stack, pid, next(names), cores[0])
                print(
                    f"{version.name:<12}{run.per_cpu_second:>10,.0f} records a second of CPU{run.per_second:>10,.0f} a "
                    f"second ({run.per_second * size / 1e6:.0f} MB/s); the engine {run.engine_cpu:.1f} us of CPU a "
                    f"row; {run.readable:,} readable",
                    flush=True,
                )
                return run

            found = in_turn({name: partial(drained, version) for name, version in versions.items()}, asked.runs)
            withstood = not asked.overload or overload(stack, pid, cores[0], asked.overload)
    missed = tell(rows(found["here"], found.get("before", [])), asked.json)
    whole = all(run.readable == asked.records for runs in found.values() for run in runs)
    return missed if whole and withstood else 1


if __name__ == "__main__":
    sys.exit(main())

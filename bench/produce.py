"""What a made-up event of `etar produce` costs, made and encoded and acknowledged by Kafka; against other ways.

    .venv/bin/python bench/produce.py --events 5000000 --runs 5 --against .build/bench/16c29e7

Starts Kafka and registry of its own. Each way sends into topics of its own at a rate that nobody reaches, one way after
the other and that as many times as there are runs: this version with one worker, another version, and
``bench/plain/producer.py``, which serializes each event by itself. Slow ways get fewer events. Of each: events for a
second of CPU of all its processes, without their start, which a run of a few events measures; events and MB for a
second on the clock; and the broker's CPU.

Nothing else should run on the machine: CPU seconds suffer a little, seconds on the clock much. Exits with 1 when a
record was lost or a bar is missed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, TopicPartition

from bench.measure import BEFORE, Bar, Row, in_turn, options_of_a_figure, tell
from etar.settings import KafkaSettings
from stack.configuration import prepare_settings
from stack.layout import REPOSITORY, Layout
from stack.parts import Stack
from tests.conftest import running_part, stack_environment, temporary_folder
from tests.integration.topics import delete_topics, make_topic

_PARTITIONS = 6
_RATE = 10_000_000
"""Events a second: more than any way makes."""
_FEW = 100
_COMMAND = "import typer; from producer.command import produce; typer.run(produce)"
_BAR_RATIO = 20.0
_BAR_CPU, _BAR_CLOCK = Bar("ours", at_least=280_000), Bar("ours", at_least=500_000)


class Run(NamedTuple):
    """A run of one way."""

    events: int
    cpu: float
    """Seconds of its processes, from their start on."""
    broker: float
    """CPU seconds of Kafka meanwhile."""
    seconds: float
    """On the clock, without the start of its processes."""
    size: float
    """Bytes of a record's key and value."""


class Figures(NamedTuple):
    """What a way gives: events for a second of its CPU; events and MB for one on the clock; and microseconds of the
    broker's CPU an event."""

    a_cpu_second: float
    a_second: float
    mb_a_second: float
    broker: float


class Ways:
    """Sends by each way, to a Kafka that runs."""

    def __init__(self, stack: Stack, kafka: int, against: Path | None, workers: int) -> None:
        self._kafka = psutil.Process(kafka)
        self._settings = stack.settings.of(KafkaSettings)
        self._environment = stack.base_environment | stack.settings.starting_with("ETAR_KAFKA_", "ETAR_REGISTRY_")
        self._topics = 0
        self.all: dict[str, Callable[[int], Run]] = {"etar": lambda events: self._etar(REPOSITORY, events, workers)}
        if against:
            self.all[BEFORE] = lambda events: self._etar(against, events, workers)
        self.all["plain"] = self._plain

    def _etar(self, version: Path, events: int, workers: int) -> Run:
        asked = ("--rate", f"{_RATE}", "--for", f"{events / _RATE:.7f}s", "--workers", f"{workers}")
        with self._topic() as topic:
            own = version / ".venv" / "bin" / "python"
            python = own if own.exists() else sys.executable
            cpu, broker, printed = self._measured([python, "-c", _COMMAND, *asked, "--topic", topic], version)
            account = json.loads(printed)
            began, ended = (datetime.fromisoformat(account[name]) for name in ("started_at", "ended_at"))
            if account["acknowledged"] != events:
                raise SystemExit(f"{version}: {account['acknowledged']} of {events} acknowledged")
            return Run(events, cpu, broker, (ended - began).total_seconds(), self._record_bytes(topic, events))

    def _plain(self, events: int) -> Run:
        with self._topic() as topic:
            program = [sys.executable, "-m", "bench.plain.producer", "--events", f"{events}", "--topic", topic]
            cpu, broker, printed = self._measured(program, REPOSITORY)
            said = json.loads(printed)
            if said["acknowledged"] != events:
                raise SystemExit(f"plain: {said['acknowledged']} of {events} acknowledged")
            return Run(events, cpu, broker, said["seconds"], self._record_bytes(topic, events))

    def _measured(self, program: Sequence[str | Path], version: Path) -> tuple[float, float, str]:
        """CPU seconds of a program and of Kafka, and what it printed."""
        before, broker = resource.getrusage(resource.RUSAGE_CHILDREN), sum(self._kafka.cpu_times()[:2])
        done = subprocess.run(
            program,
            env=self._environment | {"PYTHONPATH": f"{version}{os.pathsep}{version / 'plugins'}"},
            cwd=version, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return cpu, sum(self._kafka.cpu_times()[:2]) - broker, done.stdout

    @contextmanager
    def _topic(self) -> Iterator[str]:
        self._topics += 1
        name = f"produce-{self._topics}"
        make_topic(self._settings, name, _PARTITIONS)
        yield name
        delete_topics(self._settings, [name])

    def _record_bytes(self, topic: str, events: int) -> float:
        """Mean of some records' keys and values; checks that Kafka holds as many as were acknowledged."""
        consumer = Consumer(
            {"bootstrap.servers": self._settings.bootstrap_servers, "group.id": "none", "enable.auto.commit": False}
        )
        try:
            places = [TopicPartition(topic, partition, 0) for partition in range(_PARTITIONS)]
            held = sum(consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
            if held != events:
                raise SystemExit(f"{topic} holds {held} records, and {events} were acknowledged")
            consumer.assign(places)
            some = consumer.consume(min(events, 1000), timeout=30)
            return sum(len(each.key()) + len(each.value()) for each in some) / len(some)
        finally:
            consumer.close()


def figures(runs: list[Run], start: Run) -> list[Figures]:
    return [
        Figures(
            run.events / (run.cpu - start.cpu),
            run.events / run.seconds,
            run.events * run.size / run.seconds / 1e6,
            (run.broker - start.broker) / run.events * 1e6,
        )
        for run in runs
    ]


def rows(found: Mapping[str, list[Figures]], workers: int) -> list[Row]:
    """Ours against each other way."""
    ours = found["etar"]
    bars = {BEFORE: Bar("ratio", at_least=_BAR_RATIO)}
    made = [
        Row.of("made-up events", "a CPU second", _each(ours, "a_cpu_second"), [], against="", bar=_BAR_CPU),
        Row.of(
            "made-up events of a process", "a second", [each.a_second / workers for each in ours], [], against="",
            bar=_BAR_CLOCK,
        ),
    ]  # fmt: skip
    for name, others in found.items():
        if name == "etar":
            continue
        for figure, unit, field, bar in (
            ("made-up events", "a CPU second", "a_cpu_second", bars.get(name)),
            ("made-up events", "a second", "a_second", None),
            ("made-up events, keys and values", "MB/s", "mb_a_second", None),
            ("Kafka, taking a made-up event", "us of CPU", "broker", None),
        ):
            made.append(Row.of(figure, unit, _each(ours, field), _each(others, field), against=name, bar=bar))
    return made


def _each(found: list[Figures], field: str) -> list[float]:
    return [getattr(each, field) for each in found]


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--events-of-others", type=int, default=200_000, help="of the slow ways")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    with temporary_folder() as folder:
        layout = Layout.at(folder)
        layout.create()
        stack = Stack(layout, prepare_settings(layout.settings_file, stack_environment(), datetime.now(UTC)))
        with running_part("kafka", stack) as kafka, running_part("registry", stack):
            ways = Ways(stack, kafka, asked.against and asked.against.resolve(), asked.workers).all
            starts = {name: way(_FEW) for name, way in ways.items()}
            variants = {
                name: partial(way, asked.events if name == "etar" else asked.events_of_others)
                for name, way in ways.items()
            }
            runs = in_turn(variants, asked.runs, warm_ups=0)
    return tell(rows({name: figures(runs[name], starts[name]) for name in ways}, asked.workers), asked.json)


if __name__ == "__main__":
    sys.exit(main())

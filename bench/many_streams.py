"""What more streams cost: the processor time and memory of a whole stack with one stream, and with several like it.

    .venv/bin/python bench/many_streams.py --streams 5 --rate 100 --minutes 5

One stack after the other, each in a folder of its own: first as many minutes with one stream, then with all. Of the
minutes that were measured each must have its report, of each stream, and `etar verify --all` must be exact; exits with
1 if not. Let nothing else run: what the machine does besides makes a stack wait, and its tasks look longer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import psutil

from cli.reports import api_client
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings
from etar.streams import DEFAULT_STREAM
from stack import lifecycle
from stack.layout import REPOSITORY, VENV_BIN, Layout
from stack.parts import Stack
from stack.processes import memory_mb, processor_seconds
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.conftest import stack_environment

_WARM_UP = timedelta(minutes=2)
"""After the start, before anything is measured: the first minutes load what later ones find loaded."""

_REPORTED_WITHIN = 300.0
"""Seconds for the reports of the last minutes."""


class Cost(NamedTuple):
    """Of a whole stack."""

    cpu: float
    """Seconds a minute."""
    memory: float
    """MB, pages that are shared counted once; mean of a look every ten seconds."""
    sound: bool
    """Every minute of every stream was reported, and the account is exact."""


@contextmanager
def running(folder: Path, streams: int, rate: float) -> Iterator[Stack]:
    """A stack with the first stream and others like it, each with demo traffic of ``rate`` events a second."""
    own = folder / "streams"
    names = [DEFAULT_STREAM, *(f"shop_{number}" for number in range(2, streams + 1))]
    own.mkdir(parents=True)
    for name in names[1:]:
        (own / name).mkdir()
        (own / name / "stream.toml").write_text(f'[stream]\nname = "{name}"\nlike = "{DEFAULT_STREAM}"\n')
    environment = {
        **os.environ,
        **stack_environment(),
        "ETAR_STREAMS": " ".join(names),
        "ETAR_STREAMS_FOLDERS": f"streams:{own}",
        "ETAR_DEMO_RATE": f"{rate:g}",
    }
    stack = lifecycle.start(Layout.at(folder / "stack"), environment, lambda _: None)
    try:
        yield stack
    finally:
        lifecycle.stop(stack, lambda _: None)


def measured(stack: Stack, minutes: int) -> tuple[float, float, list[MinuteWindow]]:
    """CPU seconds a minute, MB, and the whole minutes over which they were measured."""
    time.sleep(_WARM_UP.total_seconds())
    first = MinuteWindow.containing(datetime.now(UTC)).next
    end = MinuteWindow(first.start + timedelta(minutes=minutes))
    supervisor = Supervisor(stack).pid()
    _until(first.start)
    before = processor_seconds(supervisor)
    looks = []
    while datetime.now(UTC) < end.start:
        looks.append(memory_mb(supervisor))
        time.sleep(10)
    return (processor_seconds(supervisor) - before) / minutes, fmean(looks), list(MinuteWindow.between(first, end))


def is_sound(stack: Stack, minutes: list[MinuteWindow]) -> bool:
    """Whether each of the minutes is reported, of each stream, and the account is exact."""
    with api_client(stack.settings.of(ReportReadSettings)) as client:

        def missing() -> list[str]:
            found = []
            for stream in stack.streams:
                asked = {"stream": stream.name, "from": f"{minutes[0]}", "to": f"{minutes[-1].next}", "limit": "1440"}
                reported = {report["minute"] for report in client.get("/reports", params=asked).json()}
                found += [
                    f"{stream.name} {minute}"
                    for minute in minutes
                    if f"{minute.start:%Y-%m-%dT%H:%M:%SZ}" not in reported
                ]
            return found

        try:
            wait_until(
                lambda: not missing(),
                timeout=_REPORTED_WITHIN,
                what="every minute of every stream to be reported",
                interval=5,
            )
        except TimeoutError as error:
            print(f"{error}: {', '.join(missing())}", file=sys.stderr)
            return False
    command = [str(VENV_BIN / "etar"), "verify", "--all", "--json", "--dir", str(stack.layout.root)]
    command += ["--from", str(minutes[0]), "--to", str(minutes[-1].next)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr or done.stdout[-2000:], file=sys.stderr)
    return done.returncode == 0


def cost_of(streams: int, rate: float, minutes: int) -> Cost:
    with tempfile.TemporaryDirectory(prefix="etar-") as folder, running(Path(folder), streams, rate) as stack:
        cpu, memory, windows = measured(stack, minutes)
        return Cost(cpu, memory, is_sound(stack, windows) if rate else True)


def _until(instant: datetime) -> None:
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second of each stream; 0 for none")
    parser.add_argument("--minutes", type=int, default=5)
    asked = parser.parse_args()
    counts = dict.fromkeys((1, asked.streams))
    costs = {count: cost_of(count, asked.rate, asked.minutes) for count in counts}
    for count, cost in costs.items():
        sound = "every minute reported, the account exact" if cost.sound else "NOT every minute reported and exact"
        print(f"{count} streams at {asked.rate:g}/s: {cost.cpu:.1f} CPU s a minute, {cost.memory:.0f} MB; {sound}")
    one, all_ = costs[1], costs[asked.streams]
    print(f"ratio: CPU {all_.cpu / one.cpu:.2f}, memory {all_.memory / one.memory:.2f}")
    print(json.dumps({"cpus": psutil.cpu_count(), "costs": {count: cost._asdict() for count, cost in costs.items()}}))
    return 0 if all(cost.sound for cost in costs.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

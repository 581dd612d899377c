"""What more streams cost: the processor time and memory of a whole stack with one stream, and with several like it.

    .venv/bin/python bench/many_streams.py --streams 5 --rate 100 --minutes 5

Both stacks run at once, so that what else the machine does meets both alike. Of the minutes that were measured each
must have its report, of each stream, and `etar verify --all` must be exact; exits with 1 if not.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from bench.measure import Bar, Row, options_of_a_figure, tell
from cli.reports import api_client
from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings, ReportStoreSettings
from etar.streams import DEFAULT_STREAM
from stack import lifecycle
from stack.configuration import read_settings
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
    parts: Mapping[str, float]
    """The same by part, those of all streams of one kind together."""
    memory: float
    """MB, pages that are shared counted once; mean of a look every ten seconds."""
    fresh: float
    """Seconds from a minute's end to its report, median of all streams."""
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
    layout = Layout.at(folder / "stack")
    try:
        yield lifecycle.start(layout, environment, lambda _: None)
    finally:
        # Also of one that did not come up.
        lifecycle.stop(Stack(layout, read_settings(layout.settings_file)), lambda _: None)


class _Spent(NamedTuple):
    cpu: float
    parts: Mapping[str, float]


def _spent(supervisor: Supervisor) -> _Spent:
    """CPU seconds so far, of all and of each kind of part."""
    parts: dict[str, float] = {}
    for name, state in supervisor.states().items():
        kind = next((kind for kind in ("sink", "demo-producer") if name.startswith(kind)), name)
        parts[kind] = parts.get(kind, 0.0) + processor_seconds(state.pid)
    return _Spent(processor_seconds(supervisor.pid()), parts)


def measured(stacks: Mapping[int, Stack], minutes: int) -> tuple[dict[int, tuple[_Spent, float]], list[MinuteWindow]]:
    """By the number of streams CPU seconds a minute and MB, and the whole minutes over which they were measured."""
    time.sleep(_WARM_UP.total_seconds())
    first = MinuteWindow.containing(datetime.now(UTC)).next
    end = MinuteWindow(first.start + timedelta(minutes=minutes))
    supervisors = {count: Supervisor(stack) for count, stack in stacks.items()}
    time.sleep(max(0.0, (first.start - datetime.now(UTC)).total_seconds()))
    before = {count: _spent(supervisor) for count, supervisor in supervisors.items()}
    looks: dict[int, list[float]] = {count: [] for count in stacks}
    while datetime.now(UTC) < end.start:
        for count, supervisor in supervisors.items():
            looks[count].append(memory_mb(supervisor.pid()))
        time.sleep(10)
    found = {}
    for count, supervisor in supervisors.items():
        after, since = _spent(supervisor), before[count]
        parts = {name: (spent - since.parts.get(name, 0.0)) / minutes for name, spent in after.parts.items()}
        found[count] = _Spent((after.cpu - since.cpu) / minutes, parts), fmean(looks[count])
    return found, list(MinuteWindow.between(first, end))


def freshness(stack: Stack, minutes: Sequence[MinuteWindow]) -> float:
    """Seconds from a minute's end to its first report, median over the minutes of all streams; NaN without any."""
    with closing(report_store_connection(stack.settings.of(ReportStoreSettings))) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM min(published_at) - minute) - 60 FROM reports WHERE minute = ANY(%s) "
            "GROUP BY stream, minute",
            ([window.start for window in minutes],),
        ).fetchall()
    return float(median(seconds for (seconds,) in rows)) if rows else math.nan


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


def costs_of(counts: Sequence[int], rate: float, minutes: int) -> dict[int, Cost]:
    with ExitStack() as open_:
        stacks = {}
        for count in counts:
            folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="etar-")))
            stacks[count] = open_.enter_context(running(folder, count, rate))
        found, windows = measured(stacks, minutes)
        costs = {}
        for count, stack in stacks.items():
            sound = is_sound(stack, windows)
            spent, memory = found[count]
            costs[count] = Cost(*spent, memory, freshness(stack, windows), sound)
        return costs


def by_part(one: Cost, more: Cost, further: int) -> str:
    """CPU seconds a minute of each part, with what each of the ``further`` streams adds, as Markdown."""
    lines = ["| part | one stream | all | each further |", "|---|---|---|---|"]
    added = {name: (spent - one.parts.get(name, 0.0)) / further for name, spent in more.parts.items()}
    for name in sorted(added, key=lambda each: -added[each]):
        lines.append(f"| {name} | {one.parts.get(name, 0.0):.2f} | {more.parts[name]:.2f} | {added[name]:.2f} |")
    return "\n".join(lines)


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--streams", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second of each stream")
    parser.add_argument("--minutes", type=int, default=5)
    asked = parser.parse_args()
    costs = costs_of((1, asked.streams), asked.rate, asked.minutes)
    for count, cost in costs.items():
        sound = "every minute reported, the account exact" if cost.sound else "NOT every minute reported and exact"
        told = f"{cost.cpu:.1f} CPU s a minute, {cost.memory:.0f} MB, reports after {cost.fresh:.1f} s"
        print(f"{count} streams at {asked.rate:g}/s: {told}; {sound}")
    one, all_ = costs[1], costs[asked.streams]
    print(by_part(one, all_, asked.streams - 1))
    what = f"{asked.streams} streams at {asked.rate:g} events/s each"
    rows = [
        Row(what, "s of CPU a minute", all_.cpu, "one stream", one.cpu, bar=Bar("ratio", at_most=1.5)),
        Row(what, "MB", all_.memory, "one stream", one.memory, bar=Bar("ratio", at_most=1.4)),
    ]
    return tell(rows, asked.json) or int(not all(cost.sound for cost in costs.values()))


if __name__ == "__main__":
    sys.exit(main())

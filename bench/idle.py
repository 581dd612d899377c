"""Processor time and memory of a whole stack to which nothing is sent, by the minute.

    .venv/bin/python bench/idle.py --minutes 5 --against ../before

Both versions' stacks run at once, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.measure import Bar, Row, options_of_a_figure, tell
from bench.whole_stack import whole_stack
from stack.layout import REPOSITORY

_WARM_UP_SECONDS = 120.0
"""The first minutes load what later ones find loaded."""


class Idle(NamedTuple):
    cpu: float
    """Seconds a minute."""
    memory_mb: float


def idle(versions: Mapping[str, Path], minutes: int) -> dict[str, Idle]:
    with ExitStack() as running:
        stacks = {
            name: running.enter_context(whole_stack(version, ETAR_DEMO_RATE="0")) for name, version in versions.items()
        }
        time.sleep(_WARM_UP_SECONDS)
        before = {name: stack.processor_seconds() for name, stack in stacks.items()}
        looks: dict[str, list[float]] = {name: [] for name in stacks}
        for _ in range(minutes):
            time.sleep(60)
            for name, stack in stacks.items():
                looks[name].append(stack.memory_mb())
        return {
            name: Idle((stack.processor_seconds() - before[name]) / minutes, statistics.fmean(looks[name]))
            for name, stack in stacks.items()
        }


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--minutes", type=int, default=5)
    asked = parser.parse_args()
    against = asked.against.name if asked.against else ""
    found = idle({"": REPOSITORY} | ({against: asked.against.resolve()} if asked.against else {}), asked.minutes)
    ours, other = found[""], found.get(against) if against else None
    cpu, memory = other and other.cpu, other and other.memory_mb
    rows = [
        Row("an idle minute", "s of CPU", ours.cpu, bar=Bar("ours", at_most=20)),
        Row("an idle minute", "s of CPU", ours.cpu, against, cpu, bar=Bar("ratio", at_most=0.5)),
        Row("memory of an idle stack", "MB", ours.memory_mb, against, memory, bar=Bar("ours", at_most=4000)),
    ]
    return tell(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())

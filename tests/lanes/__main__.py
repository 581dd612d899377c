"""``python -m tests.lanes [each-change|long]``: run a plan's lanes side by side and say what they found.

Logs and junit files are in ``.build/test-results``. Exit code: 0 if every part passed, 130 after an interrupt, else 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stack.layout import BUILD
from tests.lanes.plan import PLANS
from tests.lanes.running import INTERRUPTED, Running
from tests.lanes.summary import lines


def say(message: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {message}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lanes", description=__doc__)
    parser.add_argument("plan", nargs="?", choices=sorted(PLANS), default="each-change")
    parser.add_argument("--results", type=Path, default=BUILD / "test-results", help="where logs and junit files go")
    asked = parser.parse_args(arguments)

    plan = PLANS[asked.plan]
    for lane in plan.lanes:
        does = ", ".join(part.name for part in lane.parts) or "what is shared"
        say(f"{lane.name}: {does}{f', after {lane.after}' if lane.after else ''}; logs in {asked.results}")
    if plan.shared:
        say(f"then, whichever is free: {', '.join(part.name for part in plan.shared)}")
    running = Running(asked.results, say)
    began = time.monotonic()
    ended = running.run(plan)
    for line in lines(ended, time.monotonic() - began):
        print(line)
    if running.interrupted:
        return INTERRUPTED
    return 0 if all(part.ok for part in ended) else 1


if __name__ == "__main__":
    sys.exit(main())

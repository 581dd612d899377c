"""How soon after its end a minute's report is published, of a whole stack under load; by ``report_latency.py``.

    .venv/bin/python bench/freshness.py --rate 2000 --minutes 10 --against ../before

Each version's stack runs alone, and each is measured by the version's own copy of that program.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from bench.measure import Bar, Row, options_of_a_figure, tell
from bench.whole_stack import whole_stack
from stack.layout import REPOSITORY

WARM_UP_SECONDS = 120.0
_TOLD = re.compile(r"records a second: (?P<minutes>\d+) minutes, .* median +(?P<median>[\d.]+) .*max +(?P<max>[\d.]+)")


def freshness(version: Path, *, spark: str, rate: float, minutes: int) -> dict[str, float]:
    """Seconds after a minute's end, ``median`` and ``max``, and ``p95`` where the version tells it.

    Raises:
        RuntimeError: not every minute was reported, or the account is not exact; with what the program said.
    """
    with whole_stack(version, ETAR_DEMO_RATE="0", ETAR_STACK_SPARK=spark) as stack:
        time.sleep(WARM_UP_SECONDS)
        return report_latency(version, stack.folder, rate=rate, minutes=minutes)


def report_latency(version: Path, folder: Path, *, rate: float, minutes: int) -> dict[str, float]:
    """What ``bench/report_latency.py`` of a version says of a stack that runs; as :func:`freshness`."""
    command = [str(version / ".venv" / "bin" / "python"), "bench/report_latency.py", "--dir", str(folder)]
    command += ["--rate", f"{rate:g}", "--minutes", str(minutes)]
    done = subprocess.run(command, cwd=version, capture_output=True, text=True, check=False)
    told = _TOLD.search(done.stdout)
    if done.returncode or not told:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    p95 = re.search(r"p95 +([\d.]+)", told[0])
    found = {"median": float(told["median"]), "max": float(told["max"])}
    return found | ({"p95": float(p95[1])} if p95 else {})


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--minutes", type=int, default=10)
    asked = parser.parse_args()
    load = {"rate": asked.rate, "minutes": asked.minutes}
    warm = freshness(REPOSITORY, spark="resident", **load)
    other = freshness(asked.against.resolve(), spark="local", **load) if asked.against else {}
    submitted = freshness(REPOSITORY, spark="local", **load)
    against = asked.against.name if asked.against else ""
    title = f"report at {asked.rate:,.0f} events/s, after its minute's end"
    rows = [
        Row(f"{title}, p50", "s", warm["median"], against, other.get("median"), bar=Bar("ratio", at_most=0.25)),
        Row(f"{title}, p50", "s", warm["median"], bar=Bar("ours", at_most=5)),
        Row(f"{title}, p95", "s", warm["p95"], bar=Bar("ours", at_most=7)),
        Row(f"{title}, p50, spark-submit", "s", submitted["median"], bar=Bar("ours", at_most=10)),
        Row(f"{title}, p95, spark-submit", "s", submitted["p95"], bar=Bar("ours", at_most=13)),
    ]
    return tell(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())

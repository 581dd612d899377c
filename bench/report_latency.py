"""Seconds from a minute's end to its report, under load and idle, on a stack that runs.

    .venv/bin/python bench/report_latency.py --dir .etar --rate 2000 --minutes 10

Sends whole minutes of events, waits for their reports, and prints how long after the minute's end each was published,
the same for as many idle minutes before, and what ``etar verify`` says of the range. Start the stack without demo
traffic (``ETAR_DEMO_RATE=0 make up``): it would be load of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.context import PLACES, use_settings_of
from cli.reports import api_client
from cli.verify import show
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportReadSettings, get_settings
from producer.options import Mix, ProduceOptions
from producer.run import produce


def latencies(first: MinuteWindow, end: MinuteWindow) -> list[float]:
    """Seconds from each minute's end to the first revision of its report, for the minutes that have one."""
    found = []
    with api_client(get_settings(ReportReadSettings)) as client:
        for window in MinuteWindow.between(first, end):
            answer = client.get("/report", params={"minute": str(window), "revision": 1})
            if answer.is_success:
                report = PublishedReport.model_validate_json(answer.text)
                found.append((report.published_at - window.end).total_seconds())
    return found


def describe(name: str, seconds: list[float]) -> str:
    if not seconds:
        return f"{name}: no minute reported"
    return (
        f"{name}: {len(seconds)} minutes, seconds after the minute's end: "
        f"min {min(seconds):.1f}  median {statistics.median(seconds):.1f}  p95 {_p95(seconds):.1f}  "
        f"max {max(seconds):.1f}"
    )


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path(".etar"))
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--minutes", type=int, default=10)
    args = parser.parse_args()
    use_settings_of(args.dir, *PLACES, "ETAR_REGISTRY_")

    first = MinuteWindow.containing(datetime.now(UTC)).next
    end = MinuteWindow(first.start + args.minutes * MINUTE)
    account_file = args.dir / "accounts" / f"bench-{first.slug}.json"
    account = produce(
        ProduceOptions(
            rate=args.rate,
            duration=args.minutes * MINUTE,
            start=first.start,
            mix=Mix(duplicates=0.01, malformed=0.002),
            account=account_file,
        )
    )
    print(f"{account.acknowledged:,} records acknowledged of {account.generated:,}")
    give_up = datetime.now(UTC) + timedelta(minutes=5)
    while len(loaded := latencies(first, end)) < args.minutes and datetime.now(UTC) < give_up:
        time.sleep(2)
    idle = latencies(MinuteWindow(first.start - args.minutes * MINUTE), first.previous)
    print(describe("idle", idle))
    print(describe(f"at {args.rate:g} records a second", loaded))
    if idle and loaded:
        print(f"ratio of the medians, loaded to idle: {statistics.median(loaded) / statistics.median(idle):.2f}")
    return 0 if show(first, end, account=account_file) and len(loaded) == args.minutes else 1


if __name__ == "__main__":
    sys.exit(main())

"""How fresh the newest report stays, and how long it takes, while minutes that were missed are made up for.

    .venv/bin/python bench/catch_up.py --dir .etar --minutes 60 --rate 50

Sends the events of so many past minutes at once, as after an outage, with live traffic beside them, and watches until
every past minute's report has them. Prints how long that took, the oldest that the newest report was meanwhile, and how
long after its arrival a late event was in a report. Start the stack for it with that past in its range:

    ETAR_DEMO_RATE=0 ETAR_PIPELINE_START_DATE=$(date -u -d '-65 min' +%Y-%m-%dT%H:%MZ) make up
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from pydantic import TypeAdapter

from cli.context import PLACES, use_settings_of
from cli.reports import api_client
from cli.verify import show
from etar.ledger import LedgerEntry, State
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportReadSettings, get_settings
from producer.options import ProduceOptions
from producer.run import produce
from stack.layout import VENV_BIN

_LEDGER = TypeAdapter(list[LedgerEntry])
_EVERY_SECONDS = 2.0


def rows_reported(client: httpx.Client, first: MinuteWindow, end: MinuteWindow) -> int:
    """Rows in the reports of ``[first, end)``."""
    range_: dict[str, str | int] = {"from": str(first), "to": str(end), "state": str(State.REPORTED), "limit": 1440}
    answer = client.get("/minutes", params=range_).raise_for_status()
    return sum(entry.received or 0 for entry in _LEDGER.validate_json(answer.content))


def age_of_newest(client: httpx.Client) -> float:
    """Seconds since the end of the newest minute that has a report."""
    newest = PublishedReport.model_validate_json(client.get("/report").raise_for_status().content)
    return (datetime.now(UTC) - newest.window.end).total_seconds()


@contextmanager
def live_traffic(folder: Path, rate: float) -> Iterator[None]:
    """Events of now, beside those of the past."""
    command = ["etar", "produce", "--rate", f"{rate:g}", "--workers", "1", "--dir", str(folder)]
    live = subprocess.Popen([str(VENV_BIN / command[0]), *command[1:]], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        live.terminate()
        live.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path(".etar"))
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=50, help="Events a second, of the past minutes and of now")
    args = parser.parse_args()
    use_settings_of(args.dir, *PLACES, "ETAR_REGISTRY_")

    end = MinuteWindow.containing(datetime.now(UTC) - 3 * MINUTE)
    first = MinuteWindow(end.start - args.minutes * MINUTE)
    ages: list[float] = []
    with api_client(get_settings(ReportReadSettings)) as client, live_traffic(args.dir, args.rate):
        while not client.get("/report").is_success:
            time.sleep(_EVERY_SECONDS)
        before = rows_reported(client, first, end)
        quiet = []
        for _ in range(30):
            quiet.append(age_of_newest(client))
            time.sleep(_EVERY_SECONDS)
        account = produce(
            ProduceOptions(rate=args.rate, duration=args.minutes * MINUTE, start=first.start, workers=1, seed=1)
        )
        arrived = time.monotonic()
        give_up = arrived + 60 * args.minutes
        while rows_reported(client, first, end) < before + account.acknowledged and time.monotonic() < give_up:
            ages.append(age_of_newest(client))
            time.sleep(_EVERY_SECONDS)
        took = time.monotonic() - arrived
    print(f"{account.acknowledged:,} events of {args.minutes} past minutes in their reports {took:.0f} s after arrival")
    print(f"newest report, seconds since its minute's end: at most {max(ages):.0f}, before that {max(quiet):.0f}")
    print(f"ratio of the medians, catching up to quiet: {statistics.median(ages) / statistics.median(quiet):.2f}")
    return 0 if show(first, end) else 1


if __name__ == "__main__":
    sys.exit(main())

"""How fresh the newest report stays, and how long it takes, while minutes that were missed are made up for.

    .venv/bin/python bench/catch_up.py --dir .etar --minutes 60 --rate 50

Sends late events for one reported minute, a few times, and then the events of so many past minutes at once, as after
an outage, all with live traffic beside them; each time it watches until the reports have them. Prints how long after
their arrival that was, and the oldest that the newest report was meanwhile. Exits with 1 if late events took more than
two minutes, if the newest report was ever older than that, or if the account is not exact. Without ``--dir`` it
starts a stack; one of your own must have that past in its range:

    ETAR_DEMO_RATE=0 ETAR_PIPELINE_START_DATE=$(date -u -d '-65 min' +%Y-%m-%dT%H:%MZ) make up
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from pydantic import TypeAdapter

from bench.measure import Bar, Row, options_of_a_figure, tell
from bench.whole_stack import whole_stack
from cli.context import PLACES, use_settings_of
from cli.reports import api_client
from cli.verify import show
from etar.ledger import LedgerEntry, State
from etar.minute import MINUTE, MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportReadSettings, get_settings
from producer.options import ProduceOptions
from producer.run import produce
from stack.layout import REPOSITORY, VENV_BIN

_LEDGER = TypeAdapter(list[LedgerEntry])
_EVERY_SECONDS = 2.0
_BAR_SECONDS = 120.0
_LATE_TRIES = 3
_LATE_FOR = timedelta(seconds=2)


@dataclass(frozen=True)
class Watched:
    """Seconds until the reports had the rows; and meanwhile, each time, since the newest report's minute had ended."""

    seconds: float
    ages: list[float]


def reported(client: httpx.Client, first: MinuteWindow, end: MinuteWindow) -> list[LedgerEntry]:
    """The minutes of ``[first, end)`` that are reported."""
    range_: dict[str, str | int] = {"from": str(first), "to": str(end), "state": str(State.REPORTED), "limit": 1440}
    return _LEDGER.validate_json(client.get("/minutes", params=range_).raise_for_status().content)


def rows_reported(client: httpx.Client, first: MinuteWindow, end: MinuteWindow) -> int:
    """Rows in the reports of ``[first, end)``."""
    return sum(entry.received or 0 for entry in reported(client, first, end))


def age_of_newest(client: httpx.Client) -> float:
    """Seconds since the end of the newest minute that has a report."""
    newest = PublishedReport.model_validate_json(client.get("/report").raise_for_status().content)
    return (datetime.now(UTC) - newest.window.end).total_seconds()


def send_and_watch(
    client: httpx.Client, options: ProduceOptions, first: MinuteWindow, end: MinuteWindow, *, give_up_seconds: float
) -> Watched:
    """Send events of ``[first, end)`` and wait until the reports have as many rows more."""
    before = rows_reported(client, first, end)
    wanted = before + produce(options).acknowledged
    arrived = time.monotonic()
    ages = [age_of_newest(client)]
    while rows_reported(client, first, end) < wanted and time.monotonic() - arrived < give_up_seconds:
        time.sleep(_EVERY_SECONDS)
        ages.append(age_of_newest(client))
    return Watched(time.monotonic() - arrived, ages)


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
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--dir", type=Path, help="of a stack that runs")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=50, help="Events a second, of the past minutes and of now")
    args = parser.parse_args()
    with ExitStack() as own:
        if args.dir is None:
            begin = datetime.now(UTC) - (args.minutes + 5) * MINUTE
            args.dir = own.enter_context(
                whole_stack(
                    REPOSITORY, ETAR_DEMO_RATE="0", ETAR_PIPELINE_START_DATE=begin.isoformat(timespec="minutes")
                )
            )
        return measure(args)


def measure(args: argparse.Namespace) -> int:
    use_settings_of(args.dir, *PLACES, "ETAR_REGISTRY_")
    end = MinuteWindow.containing(datetime.now(UTC) - 3 * MINUTE)
    first = MinuteWindow(end.start - args.minutes * MINUTE)
    with api_client(get_settings(ReportReadSettings)) as client, live_traffic(args.dir, args.rate):
        print(f"waiting until the {args.minutes} minutes from {first} on are reported", flush=True)
        while len(reported(client, first, end)) < args.minutes:
            time.sleep(_EVERY_SECONDS)
        late = [
            send_and_watch(
                client,
                ProduceOptions(rate=args.rate, duration=_LATE_FOR, start=first.start, workers=1, seed=2 + number),
                first,
                end,
                give_up_seconds=3 * _BAR_SECONDS,
            )
            for number in range(_LATE_TRIES)
        ]
        caught_up = send_and_watch(
            client,
            ProduceOptions(rate=args.rate, duration=args.minutes * MINUTE, start=first.start, workers=1, seed=1),
            first,
            end,
            give_up_seconds=60 * args.minutes,
        )
    slowest = max(watched.seconds for watched in late)
    quiet = [age for watched in late for age in watched.ages]
    oldest = max(quiet + caught_up.ages)
    print(f"late events of one minute in its report at most {slowest:.0f} s after arrival, of {_LATE_TRIES} times")
    print(f"events of {args.minutes} past minutes in their reports {caught_up.seconds:.0f} s after arrival")
    print(f"newest report, seconds since its minute's end: at most {max(caught_up.ages):.0f}, before {max(quiet):.0f}")
    print(
        "ratio of the medians, catching up to before: "
        f"{statistics.median(caught_up.ages) / statistics.median(quiet):.2f}"
    )
    in_time = max(slowest, oldest) <= _BAR_SECONDS
    print(f"within {_BAR_SECONDS:g} s: {'yes' if in_time else 'NO'}")
    exact = show(first, end)
    of_real_time = args.minutes * 60 / caught_up.seconds
    title = f"catch-up of {args.minutes} minutes at {args.rate:g} events/s, of real time"
    missed = tell([Row(title, "x", of_real_time, bar=Bar("ours", at_least=10))], args.json)
    return 0 if in_time and exact and not missed else 1


if __name__ == "__main__":
    sys.exit(main())

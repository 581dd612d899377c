"""How much later the newest minute is reported while a backfill has ten runs under way, of a whole stack under load.

    .venv/bin/python bench/backfill.py --rate 2000 --minutes 10

The same stack twice: alone, then while the minutes of the first time are reported again, and again, by Airflow's own
backfill. Each time by ``report_latency.py``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.freshness import WARM_UP_SECONDS, report_latency
from bench.measure import Bar, Row, options_of_a_figure, tell
from bench.whole_stack import whole_stack
from cli.context import existing_stack
from cli.repair import Airflow
from etar.minute import MINUTE, MinuteWindow
from stack.layout import REPOSITORY

RUNS = 10
_LOOK_SECONDS = 2.0


class Backfills(Airflow):
    """One after the other, of the default stream's minutes ``[first, end)``."""

    def create(self, first: MinuteWindow, end: MinuteWindow) -> int:
        """The id of a backfill of every minute, that is reported or not."""
        asked = {
            "dag_id": "etar_pipeline",
            "from_date": first.start.isoformat(),
            "to_date": end.previous.start.isoformat(),
            "max_active_runs": RUNS,
            "reprocess_behavior": "completed",
        }
        return int(self._ask("POST", "/api/v2/backfills", asked)["id"])

    def is_done(self, number: int) -> bool:
        return self._ask("GET", f"/api/v2/backfills/{number}")["completed_at"] is not None


@contextmanager
def under_way(folder: Path, first: MinuteWindow, end: MinuteWindow) -> Iterator[list[int]]:
    """A backfill at any time; yields the numbers of those that were made so far.

    Raises:
        AirflowUnavailableError: Airflow did not take one, which the figure would not be about then.
    """
    made: list[int] = []
    failed: list[Exception] = []
    stop = threading.Event()

    def keep_on() -> None:
        try:
            with Backfills(existing_stack(folder)) as backfills:
                made.append(backfills.create(first, end))
                while not stop.wait(_LOOK_SECONDS):
                    if backfills.is_done(made[-1]):
                        made.append(backfills.create(first, end))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=keep_on)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--minutes", type=int, default=RUNS)
    asked = parser.parse_args()
    with whole_stack(REPOSITORY, ETAR_DEMO_RATE="0") as stack:
        time.sleep(WARM_UP_SECONDS)
        first = MinuteWindow.containing(datetime.now(UTC)).next
        alone = report_latency(REPOSITORY, stack.folder, rate=asked.rate, minutes=asked.minutes)
        end = MinuteWindow(first.start + asked.minutes * MINUTE)
        # Its last revision, and what is late: the backfill is to meet a stack that is at rest.
        time.sleep(timedelta(minutes=2).total_seconds())
        with under_way(stack.folder, first, end) as made:
            beside = report_latency(REPOSITORY, stack.folder, rate=asked.rate, minutes=asked.minutes)
    title = f"report at {asked.rate:,.0f} events/s, {RUNS} runs of a backfill under way"
    rows = [
        Row(f"{title}, p95", "s", beside["p95"], "without", alone["p95"], bar=Bar("ratio", at_most=1.3)),
        Row(f"{title}, p50", "s", beside["median"], "without", alone["median"]),
        Row("backfills begun meanwhile", "", len(made), bar=Bar("ours", at_least=1)),
    ]
    return tell(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())

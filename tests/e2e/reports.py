"""Reports and the ledger of a running stack as its API gives them, and the reports that there should be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from cli.reports import api_client
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings
from stack.waiting import wait_until
from streams.user_interactions.event import EVENT_TYPES

if TYPE_CHECKING:
    from tests.e2e.conftest import Etar

REPORTED_WITHIN = 180
# A late event is in a revision two minutes after its arrival; a busy machine takes longer.
REVISED_WITHIN = 180


def wait_for_report(etar: Etar, window: MinuteWindow) -> dict:
    return _wait_for(
        etar,
        "/report",
        {"minute": str(window)},
        lambda _: True,
        timeout=REPORTED_WITHIN,
        what=f"the report of {window}",
    )


def wait_for_counts(etar: Etar, window: MinuteWindow, counts: dict) -> dict:
    """The minute's report once it counts this: what a busy machine delayed is in the minute's next revision."""
    wait_for_report(etar, window)
    return _wait_for(
        etar,
        "/report",
        {"minute": str(window)},
        lambda report: counts.items() <= report.items(),
        timeout=REVISED_WITHIN,
        what=f"the report of {window} to have {counts}",
    )


def wait_for_ledger(
    etar: Etar, window: MinuteWindow, reached: Callable[[dict], bool] = lambda _: True, what: str = "to be reported"
) -> dict:
    """The minute's ledger row with its history, once it is reported and ``reached`` says so."""
    return _wait_for(
        etar,
        f"/minutes/{window}",
        {},
        lambda row: row["state"] == "reported" and reached(row),
        timeout=REVISED_WITHIN,
        what=f"{window}: {what}",
    )


def _wait_for(
    etar: Etar,
    path: str,
    parameters: dict[str, str],
    reached: Callable[[dict], bool],
    *,
    timeout: float,
    what: str,
) -> dict:
    """What the report API has there, once ``reached`` says so. Through HTTP: a command takes a second at every look."""
    found: dict = {}

    def there() -> bool:
        try:
            answer = api.get(path, params=parameters)
        except httpx.TransportError:
            return False
        if answer.status_code == httpx.codes.NOT_FOUND or answer.is_server_error:
            return False
        found.clear()
        found.update(answer.raise_for_status().json())
        return reached(found)

    with api_client(etar.stack.settings.of(ReportReadSettings)) as api:
        try:
            wait_until(there, timeout=timeout, what=what, interval=0.5)
        except TimeoutError as error:
            pytest.fail(f"{error}: the last that {path} had was\n{found}")
    return found


def expected_reports(log: list[dict]) -> dict[MinuteWindow, dict]:
    """Reports computed from the producer's event log alone: no code of the pipeline, no part of the stack."""
    kept = ("event", "late", "duplicate")
    rows = [line for line in log if line["kind"] in kept]
    rows_read: Counter[MinuteWindow] = Counter()
    unique: dict[MinuteWindow, dict[str, dict]] = defaultdict(dict)
    for row in rows:
        window = MinuteWindow.containing(datetime.fromtimestamp(row["event_time"] / 1000, UTC))
        rows_read[window] += 1
        unique[window][row["event_id"]] = row
    reports = {}
    for window, events in unique.items():
        types = {name: {"success": 0, "error": 0} for name in EVENT_TYPES}
        for event in events.values():
            types[event["event_type"]][event["status"]] += 1
        reports[window] = {
            "event_types": types,
            "rows_read": rows_read[window],
            "total_errors": sum(outcomes["error"] for outcomes in types.values()),
            "total_events": len(events),
            "unique_users": len({event["user_id"] for event in events.values()}),
        }
    return reports

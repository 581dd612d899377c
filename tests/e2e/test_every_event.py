"""Every event accounted for, on the whole stack: gaps, late events, losses, a bad record that is replayed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from etar.clients import object_store_client, report_store_connection, warehouse_client
from etar.minute import MinuteWindow
from etar.settings import ObjectStoreSettings, ReportStoreSettings, WarehouseSettings
from etar.streams import USER_INTERACTIONS
from stack.waiting import wait_until
from tests.e2e.conftest import REVISED_WITHIN, Etar, Traffic
from tests.e2e.inspection import airflow_api
from tests.e2e.reports import wait_for_ledger

# Above all that a test waits for, with the fixtures that it is the first to need: the stack, three minutes of traffic.
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def first_minute(etar: Etar) -> MinuteWindow:
    """The first minute that this deployment reports: some minutes before the stack was started."""
    return MinuteWindow.parse(etar.stack.settings["ETAR_PIPELINE_START_DATE"])


def send(etar: Etar, folder: Path, window: MinuteWindow, count: int) -> MinuteWindow:
    """Events of ``window``, through the producer; the minute after the one they arrived in."""
    lines = [
        json.dumps(
            {
                "event_id": str(uuid4()),
                "user_id": str(uuid4()),
                "session_id": str(uuid4()),
                "event_type": "view",
                "status": "success",
                "event_time": (window.start + timedelta(seconds=1 + number)).isoformat(),
                "device": "mobile",
                "country": "DE",
            }
        )
        for number in range(count)
    ]
    file = folder / "events.jsonl"
    file.write_text("\n".join(lines) + "\n")
    etar.run("produce", "--input", str(file))
    return MinuteWindow.containing(datetime.now(UTC)).next


def verify(etar: Etar, window: MinuteWindow) -> dict:
    return etar.json("verify", "--from", str(window), "--to", str(window.next), check=False)


def test_minutes_that_no_run_took_are_reported(etar: Etar, first_minute: MinuteWindow) -> None:
    row = wait_for_ledger(etar, first_minute)
    assert row["run_id"].startswith("etar_reconcile/")
    assert (row["received"], row["revision"]) == (0, 1)
    assert etar.json("report", "--minute", str(first_minute))["total_events"] == 0


def test_late_events_revise_their_minute(etar: Etar, first_minute: MinuteWindow, tmp_path: Path) -> None:
    window = first_minute.next
    wait_for_ledger(etar, window)
    send(etar, tmp_path, window, 3)
    row = wait_for_ledger(etar, window, lambda row: row["received"] == 3, "to be revised")
    assert (row["received"], row["late_events"], row["duplicates"]) == (3, 3, 0)
    # In one revision, or in one for each batch in which they were stored.
    received = [revision["received"] for revision in row["revisions"]]
    assert (received[0], received[-1]) == (0, 3)
    assert received == sorted(received)
    assert etar.json("report", "--minute", str(window))["total_events"] == 3
    assert verify(etar, window)["difference"] == 0


def test_a_revision_shows_in_airflow_as_what_it_is(etar: Etar, first_minute: MinuteWindow) -> None:
    row = wait_for_ledger(etar, first_minute.next, lambda row: row["revision"] > 1, "to be revised")
    dag, _, run = row["run_id"].partition("/")
    with airflow_api(etar) as api:
        tasks = api.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances").raise_for_status()
    assert dag == "etar_reconcile"
    assert {each["task_id"] for each in tasks.json()["task_instances"]} == {"find", "extract", "analyse", "report"}


def test_verify_repairs_what_the_table_lost(etar: Etar, first_minute: MinuteWindow, tmp_path: Path) -> None:
    window = first_minute.next.next
    arrived = send(etar, tmp_path, window, 5)
    wait_for_ledger(etar, window, lambda row: row["received"] == 5, "to have them")
    range_ = ("--from", str(window), "--to", str(arrived))
    # Until the minute of their arrival is over, and settled, it cannot be compared.
    etar.exact_account(*range_)
    wait_until(
        lambda: is_audited(etar, window), timeout=REVISED_WITHIN, what=f"the auditor to close {window}", interval=2
    )
    warehouse_client(etar.stack.settings.of(WarehouseSettings)).command(
        f"ALTER TABLE user_interactions DELETE WHERE {window.predicate}",
        parameters=window.parameters,
        settings={"mutations_sync": 1},
    )
    assert etar.json("verify", *range_, check=False)["difference"] >= 5
    etar.run("verify", "--repair", *range_, timeout=600)
    assert verify(etar, window)["difference"] == 0
    assert etar.json("report", "--minute", str(window))["total_events"] == 5


def is_audited(etar: Etar, window: MinuteWindow) -> bool:
    """Whether the auditor has closed all that the table holds of the minute, and will not look at it by itself."""
    settings = etar.stack.settings
    with report_store_connection(settings.of(ReportStoreSettings)) as connection:
        marks: dict[int, int] = dict(
            connection.execute(
                'SELECT "partition", max(end_offset) FROM audited_offsets WHERE stream = %s GROUP BY "partition"',
                [USER_INTERACTIONS.name],
            ).fetchall()
        )
    last = warehouse_client(settings.of(WarehouseSettings)).query(
        f"SELECT _partition, max(_offset) FROM user_interactions WHERE {window.predicate} GROUP BY _partition",
        parameters=window.parameters,
    )
    return all(marks.get(partition, 0) > offset for partition, offset in last.result_rows)


def test_verify_repairs_a_lost_extract(etar: Etar, first_minute: MinuteWindow) -> None:
    window = first_minute.next.next
    before = etar.json("report", "--minute", str(window))
    store = object_store_client(etar.stack.settings.of(ObjectStoreSettings))
    store.delete_object(Bucket="etar", Key=f"extracts/user_interactions/{window.slug}.parquet")
    assert verify(etar, window)["difference"] > 0
    arguments = ("verify", "--repair", "--from", str(window), "--to", str(window.next))
    etar.run(*arguments, timeout=600)
    assert etar.json("report", "--minute", str(window)) == before, "the same rows are the same revision"


def dead_letters(etar: Etar) -> int:
    counts = json.loads(etar.run("dead-letters", "list", "--summary", "--json", "--state", "all").stdout)
    return sum(sum(states.values()) for states in counts.values())


def test_a_bad_record_is_fixed_and_replayed(etar: Etar, traffic: Traffic, first_minute: MinuteWindow) -> None:
    wait_until(
        lambda: dead_letters(etar) == traffic.account.malformed,
        timeout=60,
        what=f"{traffic.account.malformed} dead letters",
        interval=2,
    )
    lines = etar.run("dead-letters", "list", "--reason", "too_late", "--json", "--limit", "0").stdout.splitlines()
    letter = json.loads(lines[0])
    name = f"{letter['partition']}:{letter['offset']}"
    window = first_minute.next.next.next
    moment = int((window.start + timedelta(seconds=30)).timestamp() * 1000)
    patch = json.dumps([{"op": "replace", "path": "/event_time", "value": moment}])
    before = wait_for_ledger(etar, window)
    etar.run("dead-letters", "replay", name, "--patch", patch, "--apply")
    after = wait_for_ledger(etar, window, lambda row: row["received"] != before["received"], "to have it")
    assert after["unique_events"] == before["unique_events"] + 1
    assert json.loads(etar.run("dead-letters", "show", name, "--json").stdout)["state"] == "replayed"
    assert etar.run("dead-letters", "replay", name, "--apply", check=False).returncode == 1, "once is enough"
    assert verify(etar, window)["difference"] == 0

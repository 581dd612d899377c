"""Every event accounted for, on the whole stack: late events, losses, a bad record that is replayed."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from etar.clients import object_store_client, report_store_connection, warehouse_client
from etar.minute import MinuteWindow
from etar.settings import ObjectStoreSettings, ReportStoreSettings, WarehouseSettings
from etar.streams import default_stream
from stack.waiting import wait_until
from tests.e2e.conftest import Etar, Late
from tests.e2e.inspection import airflow_api
from tests.e2e.reports import REVISED_WITHIN, wait_for_counts, wait_for_ledger, wait_for_report

# Above all that a test waits for, with the fixtures that it is the first to need: the stack, two minutes of traffic.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def revised(late: Late) -> MinuteWindow:
    return next(iter(late.events))


def verify(etar: Etar, window: MinuteWindow) -> dict:
    return etar.json("verify", "--from", str(window), "--to", str(window.next), check=False)


def test_late_events_revise_their_minute(etar: Etar, late: Late, revised: MinuteWindow) -> None:
    sent = late.events[revised]
    row = wait_for_ledger(etar, revised, lambda row: row["received"] == sent, "to be revised")
    assert (row["received"], row["late_events"], row["duplicates"]) == (sent, sent, 0)
    # In one revision, or in one for each batch in which they were stored.
    received = [revision["received"] for revision in row["revisions"]]
    assert (received[0], received[-1]) == (0, sent)
    assert received == sorted(received)
    assert wait_for_report(etar, revised)["total_events"] == sent
    assert verify(etar, revised)["difference"] == 0


def test_a_revision_shows_in_airflow_as_what_it_is(etar: Etar, revised: MinuteWindow) -> None:
    row = wait_for_ledger(etar, revised, lambda row: row["revision"] > 1, "to be revised")
    dag, _, run = row["run_id"].partition("/")
    with airflow_api(etar) as api:
        tasks = api.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances").raise_for_status()
    assert dag == "etar_reconcile"
    assert {each["task_id"] for each in tasks.json()["task_instances"]} == {
        "find",
        "extract",
        "analyse",
        "report",
        "conclude",
    }


def test_a_bad_record_is_fixed_and_replayed(etar: Etar, late: Late) -> None:
    row = wait_for_ledger(etar, late.replayed, lambda row: row["received"] > 0, "to have it")
    assert (row["received"], row["unique_events"]) == (1, 1)
    assert json.loads(etar.run("dead-letters", "show", late.letter, "--json").stdout)["state"] == "replayed"
    assert etar.run("dead-letters", "replay", late.letter, "--apply", check=False).returncode == 1, "once is enough"
    assert verify(etar, late.replayed)["difference"] == 0


@dataclass(frozen=True)
class Repair:
    """What one `etar verify --repair` had to repair: rows of one minute, the extract of another.

    Args:
        found: by minute, what `etar verify` said before.
        report: of the minute whose extract was lost, from before.
    """

    rows_of: MinuteWindow
    extract_of: MinuteWindow
    found: dict[str, dict]
    report: dict


@pytest.fixture(scope="module")
def repair(etar: Etar, late: Late) -> Repair:
    _, rows_of, extract_of = late.events
    for window in (rows_of, extract_of):
        wait_for_counts(etar, window, {"rows_read": late.events[window]})
    # Up to the minute of their arrival, which has to be over, and settled, to be compared.
    range_ = ("--from", str(rows_of), "--to", str(late.end))
    etar.exact_account(*range_)
    wait_until(
        lambda: is_audited(etar, rows_of), timeout=REVISED_WITHIN, what=f"the auditor to close {rows_of}", interval=1
    )
    warehouse_client(etar.stack.settings.of(WarehouseSettings)).command(
        f"ALTER TABLE user_interactions DELETE WHERE {rows_of.predicate}",
        parameters=rows_of.parameters,
        settings={"mutations_sync": 1},
    )
    store = object_store_client(etar.stack.settings.of(ObjectStoreSettings))
    store.delete_object(Bucket="etar", Key=f"extracts/user_interactions/{extract_of.slug}.parquet")
    report = wait_for_report(etar, extract_of)
    found = etar.json("verify", *range_, check=False)
    etar.run("verify", "--repair", *range_, timeout=600)
    return Repair(rows_of, extract_of, {minute["minute"]: minute for minute in found["minutes"]}, report)


def is_audited(etar: Etar, window: MinuteWindow) -> bool:
    """Whether the auditor has closed all that the table holds of the minute, and will not look at it by itself."""
    settings = etar.stack.settings
    with report_store_connection(settings.of(ReportStoreSettings)) as connection:
        marks: dict[int, int] = dict(
            connection.execute(
                'SELECT "partition", max(end_offset) FROM audited_offsets WHERE stream = %s GROUP BY "partition"',
                [default_stream().name],
            ).fetchall()
        )
    last = warehouse_client(settings.of(WarehouseSettings)).query(
        f"SELECT _partition, max(_offset) FROM user_interactions WHERE {window.predicate} GROUP BY _partition",
        parameters=window.parameters,
    )
    return all(marks.get(partition, 0) > offset for partition, offset in last.result_rows)


def test_verify_repairs_what_the_table_lost(etar: Etar, late: Late, repair: Repair) -> None:
    window = repair.rows_of
    assert repair.found[str(window)]["lost_rows"] == late.events[window]
    assert verify(etar, window)["difference"] == 0
    assert wait_for_report(etar, window)["total_events"] == late.events[window]


def test_verify_repairs_a_lost_extract(etar: Etar, repair: Repair) -> None:
    window = repair.extract_of
    assert repair.found[str(window)]["difference"] > 0
    assert verify(etar, window)["difference"] == 0
    assert wait_for_report(etar, window) == repair.report, "the same rows are the same revision"

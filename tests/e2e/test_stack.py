"""The stack on real parts, from the producer's acknowledgements to the reports.

What needs no traffic comes first, while it is sent.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import psutil
import pytest

from etar.clients import object_store_client
from etar.minute import MINUTE, MinuteWindow
from etar.settings import ObjectStoreSettings
from stack.parts import parts_of
from stack.waiting import wait_until
from streams.user_interactions.event import EVENT_TYPES
from tests.e2e.conftest import MINUTES, RATE, Etar, Traffic
from tests.e2e.inspection import (
    LOOPBACK,
    airflow_api,
    airflow_database,
    listening,
    processes,
    shown_secrets,
    state_of_run,
)
from tests.e2e.reports import expected_reports, wait_for_counts, wait_for_ledger, wait_for_report

# Above all that a test waits for, with the fixtures that it is the first to need: the stack, two minutes of traffic.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("sending")]


def test_status_says_what_runs(etar: Etar) -> None:
    etar.healthy()
    status = etar.json("status")
    assert {part["name"] for part in status["parts"]} == {part.name for part in parts_of(etar.stack)}
    for part in status["parts"]:
        assert set(part) == {"name", "state", "pid", "address", "memory_mb"}
        assert psutil.pid_exists(part["pid"])
        assert part["memory_mb"] > 5
    assert sum(part["memory_mb"] for part in status["parts"]) < 4000


def test_up_on_a_running_stack_changes_nothing(etar: Etar) -> None:
    before = {part["name"]: part["pid"] for part in etar.healthy()["parts"]}
    etar.run("up", "--detach", timeout=600)
    assert {part["name"]: part["pid"] for part in etar.healthy()["parts"]} == before


def test_every_server_listens_on_loopback_only(etar: Etar) -> None:
    addresses = listening(processes(etar))
    assert addresses
    assert addresses <= LOOPBACK


def test_logs_of_a_part_are_shown(etar: Etar) -> None:
    assert "Uvicorn running" in etar.run("logs", "report-api", "-n", "100000").stdout
    unknown = etar.run("logs", "nothing", check=False)
    assert unknown.returncode == 1
    assert "airflow-scheduler" in unknown.stderr


def test_minutes_that_no_run_took_are_reported(etar: Etar, first_minute: MinuteWindow) -> None:
    row = wait_for_ledger(etar, first_minute)
    assert row["run_id"].startswith("etar_reconcile/")
    assert (row["received"], row["revision"]) == (0, 1)
    assert etar.json("report", "--minute", str(first_minute))["total_events"] == 0
    assert etar.json("minutes", str(first_minute)) == row


def test_a_run_over_no_whole_minute_fails_and_says_how_to_ask(etar: Etar, first_minute: MinuteWindow) -> None:
    # Dates that no other run has.
    start, moment = first_minute.start + MINUTE / 2, first_minute.start + MINUTE / 4
    interval = {"data_interval_start": start.isoformat(), "data_interval_end": (start + MINUTE).isoformat()}
    asked: list[tuple[dict, str]] = [
        ({"logical_date": None}, "no data interval"),
        ({"logical_date": start.isoformat(), **interval}, f"{start:%H:%M:%S}"),
        (dict.fromkeys(("logical_date", *interval), moment.isoformat()), f"{moment:%H:%M:%S}"),
    ]
    runs = "/api/v2/dags/etar_pipeline/dagRuns"
    with airflow_api(etar) as api:
        started = {api.post(runs, json=ask).raise_for_status().json()["dag_run_id"]: seen for ask, seen in asked}
        for run, seen in started.items():
            ends(api, run, "failed")
            log = api.get(f"{runs}/{run}/taskInstances/minute/logs/1", headers={"Accept": "application/json"}).text
            assert seen in log
            assert "Give the END of the minute" in log


def ends(api: httpx.Client, run: str, expected: str) -> None:
    def ended() -> bool:
        state = state_of_run(api, "etar_pipeline", run)
        assert state in {None, "queued", "running", expected}
        return state == expected

    wait_until(ended, timeout=240, what=f"{run} to be a {expected}", interval=0.5)


# What is sent late is revised, and audited, while the tests below run.
@pytest.mark.usefixtures("late")
def test_reports_equal_an_independent_count(etar: Etar, traffic: Traffic) -> None:
    assert traffic.account.ok
    assert traffic.account.acknowledged == RATE * 60 * MINUTES == len(traffic.log)
    expected = expected_reports(traffic.log)
    assert sorted(expected) == list(MinuteWindow.between(traffic.first, traffic.end))
    for window, counts in expected.items():
        report = wait_for_counts(etar, window, counts)
        assert report["source_object"].endswith(f"extracts/user_interactions/{window.slug}.parquet")


def test_an_empty_minute_has_a_zero_report(etar: Etar, traffic: Traffic) -> None:
    report = wait_for_report(etar, traffic.first.previous)
    assert (report["total_events"], report["rows_read"], report["source_object"]) == (0, 0, None)
    assert set(report["event_types"]) == set(EVENT_TYPES)


@dataclass(frozen=True)
class DagsTest:
    """`airflow dags test` of a minute that had this report; ``said`` is what it prints."""

    running: subprocess.Popen[bytes]
    said: Path
    before: dict


@pytest.fixture(scope="module")
def dags_test(etar: Etar, traffic: Traffic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsTest]:
    """Of the first minute, while other tests run."""
    window = traffic.first
    before = wait_for_report(etar, window)
    # `airflow dags test` deletes the run of its date, which is the next minute's own: not while that one works.
    wait_for_report(etar, window.next)
    with airflow_api(etar) as api:
        wait_until(
            lambda: all_ended(api, window.end), timeout=60, what=f"the run of {window.next} to end", interval=0.5
        )
    said = tmp_path_factory.mktemp("dags-test") / "said.txt"
    command = ("exec", "airflow", "dags", "test", "etar_pipeline", window.end.isoformat())
    with etar.started(*command, log=said) as running:
        yield DagsTest(running, said, before)


def all_ended(api: httpx.Client, date: datetime) -> bool:
    """Whether no run of this logical date is at work."""
    asked = {"logical_date_gte": date.isoformat(), "logical_date_lte": date.isoformat()}
    runs = api.get("/api/v2/dags/etar_pipeline/dagRuns", params=asked).raise_for_status().json()["dag_runs"]
    return all(run["state"] in ("success", "failed") for run in runs)


@pytest.mark.usefixtures("dags_test")
def test_a_task_that_is_cleared_makes_the_same_report(etar: Etar, traffic: Traffic) -> None:
    window = traffic.first.next
    wait_for_report(etar, window)
    etar.exact_account("--from", str(window), "--to", str(window.next))
    interval = {"data_interval_start": window.start.isoformat(), "data_interval_end": window.end.isoformat()}
    # The minute's own run has the date of its start.
    asked = {"logical_date": (window.start + MINUTE / 3).isoformat(), **interval}
    dag = "/api/v2/dags/etar_pipeline"
    with airflow_api(etar) as api:
        run = api.post(f"{dag}/dagRuns", json=asked).raise_for_status().json()["dag_run_id"]
        ends(api, run, "success")
        before = reported(etar, window)
        clear = {"dag_run_id": run, "task_ids": ["minute"], "only_failed": False, "dry_run": False}
        api.post(f"{dag}/clearTaskInstances", json=clear).raise_for_status()
        ends(api, run, "success")
        assert reported(etar, window) == before


def reported(etar: Etar, window: MinuteWindow) -> tuple[dict, dict]:
    """The minute's report, and what the ledger says of it that does not change with each run."""
    row = wait_for_ledger(etar, window)
    for changing in ("run_id", "stages", "updated_at", "settled_offsets", "revisions"):
        del row[changing]
    return wait_for_report(etar, window), row


def test_dags_test_runs_one_past_minute(etar: Etar, traffic: Traffic, dags_test: DagsTest) -> None:
    ended = dags_test.running.wait(240)
    said = dags_test.said.read_text()
    assert ended == 0, said
    assert "state=success" in said
    assert wait_for_report(etar, traffic.first) == dags_test.before, "the same rows are the same revision"


def test_airflow_leads_from_a_minutes_run_to_all_that_is_known_of_it(etar: Etar, traffic: Traffic) -> None:
    window, name = traffic.first, f"scheduled__{traffic.first}"
    wait_for_report(etar, window)
    run = f"/api/v2/dags/etar_pipeline/dagRuns/{name}"
    with airflow_api(etar) as api:
        assert api.get("/api/v2/plugins/importErrors").raise_for_status().json()["total_entries"] == 0
        assert shown_inside_airflow(api) == {"etar dashboard": "nav", "Minute": "dag_run"}
        links = api.get(f"{run}/taskInstances/minute/links").raise_for_status().json()["extra_links"]
        (address,) = links.values()
        dashboard = f"http://127.0.0.1:{etar.stack.settings.port('DASHBOARD')}"
        page = f"{dashboard}/user_interactions-minutes?day={window.start:%Y-%m-%d}&minute={window.start:%H:%M}"
        led = api.get(address)
        assert (led.status_code, led.headers["location"]) == (307, page)
        assert httpx.get(address).status_code == 401, "for those who may see the run"
        log = api.get(f"{run}/taskInstances/minute/logs/1", headers={"Accept": "application/json"}).text
        for said in (f"etar minutes {window}", f"s3://etar/extracts/user_interactions/{window.slug}.parquet", page):
            assert said in log
        assert told_of(api, name) == [{"stream": "user_interactions", "minute": str(window), "revision": 1}]


def shown_inside_airflow(api: httpx.Client) -> dict[str, str]:
    """Our pages, and where in Airflow's UI they are."""
    plugins = api.get("/api/v2/plugins").raise_for_status().json()["plugins"]
    (ours,) = (plugin for plugin in plugins if plugin["name"] == "etar")
    return {view["name"]: view["destination"] for view in ours["external_views"]}


def told_of(api: httpx.Client, run: str = "") -> list[dict]:
    """The asset events of the default stream's reports: of a run, or of all."""
    asked = {"source_run_id": run} if run else {}
    events = api.get("/api/v2/assets/events", params=asked | {"limit": "1000"}).raise_for_status().json()
    of_reports = "etar://reports/user_interactions"
    return [event["extra"] for event in events["asset_events"] if event["uri"] == of_reports]


def test_nothing_is_missing_and_backfill_says_so(etar: Etar, traffic: Traffic) -> None:
    last = traffic.end.previous
    wait_for_report(etar, last)
    found = etar.json("backfill", "--missing", "--dry-run", str(traffic.first), str(last))
    assert (found["minutes"], found["refused"], found["left"]) == ([], [], MINUTES - 1)


def test_backfill_reports_the_same_again(etar: Etar, traffic: Traffic) -> None:
    last = traffic.end.previous
    before = [wait_for_report(etar, window) for window in MinuteWindow.between(traffic.first, traffic.end)]
    etar.run(
        "exec", "airflow", "backfill", "create", "--dag-id", "etar_pipeline",
        "--from-date", traffic.first.start.isoformat(), "--to-date", last.start.isoformat(),
        "--reprocess-behavior", "completed",
    )  # fmt: skip
    wait_until(lambda: backfill_is_done(etar), timeout=240, what="the backfill to end", interval=1)
    after = [wait_for_report(etar, window) for window in MinuteWindow.between(traffic.first, traffic.end)]
    assert after == before, "the same rows are the same revision"
    with airflow_api(etar) as api:
        told = [(event["minute"], event["revision"]) for event in told_of(api)]
    assert len(told) == len(set(told)), "of each revision once"
    assert etar.json("verify", "--from", str(traffic.first), "--to", str(traffic.end))["difference"] == 0


def backfill_is_done(etar: Etar) -> bool:
    with airflow_database(etar) as connection:
        runs = connection.execute(
            "SELECT d.state, count(*) FROM backfill_dag_run b JOIN dag_run d ON d.id = b.dag_run_id GROUP BY 1"
        ).fetchall()
        pools = connection.execute(
            "SELECT DISTINCT t.pool FROM backfill_dag_run b JOIN dag_run d ON d.id = b.dag_run_id "
            "JOIN task_instance t ON (t.dag_id, t.run_id) = (d.dag_id, d.run_id)"
        ).fetchall()
    states: dict[str, int] = dict(runs)
    assert "failed" not in states
    assert ("etar_backfill",) in pools or not runs, "the newest minute's places are left to it"
    return states == {"success": MINUTES}


def test_verify_proves_the_account(etar: Etar, traffic: Traffic) -> None:
    # One minute more: a bad record is counted when it arrives, and the last may arrive just after the minute's end.
    wait_for_report(etar, traffic.end)
    range_ = ("--from", str(traffic.first), "--to", str(traffic.end.next))
    verified = etar.exact_account(*range_, "--account", str(traffic.account_file))
    assert verified["ok"] is True
    assert verified["difference"] == 0
    assert len(verified["minutes"]) == MINUTES + 1
    bad = sum(minute["dead_letters"] for minute in verified["minutes"])
    rows = sum(minute["parquet_rows"] or 0 for minute in verified["minutes"])
    assert bad == traffic.account.malformed > 0
    assert rows + bad == traffic.account.acknowledged


def test_verify_finds_a_missing_extract(etar: Etar, traffic: Traffic) -> None:
    store = object_store_client(etar.stack.settings.of(ObjectStoreSettings))
    key = f"extracts/user_interactions/{traffic.first.slug}.parquet"
    extract = store.get_object(Bucket="etar", Key=key)["Body"].read()
    store.delete_object(Bucket="etar", Key=key)
    try:
        found = etar.run("verify", "--from", str(traffic.first), "--to", str(traffic.end), check=False)
    finally:
        store.put_object(Bucket="etar", Key=key, Body=extract)
    assert found.returncode == 1
    assert str(traffic.first) in found.stdout


def test_no_secret_in_the_process_list_or_the_logs(etar: Etar) -> None:
    assert shown_secrets(etar) == []

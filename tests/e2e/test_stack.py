"""One minute, end to end: the stack on real parts, from the producer's acknowledgements to the reports."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest

from etar.clients import object_store_client
from etar.minute import MINUTE, MinuteWindow
from etar.report import EVENT_TYPES
from etar.settings import ObjectStoreSettings
from stack.lifecycle import enabled_parts
from stack.processes import left_behind
from stack.supervision import Supervisor
from stack.waiting import wait_until
from tests.chaos.targets import everything
from tests.e2e.conftest import MINUTES, RATE, WELL_WITHIN, Etar, Traffic
from tests.e2e.inspection import (
    LOOPBACK,
    airflow_api,
    airflow_database,
    listening,
    processes,
    shown_secrets,
    state_of_run,
)
from tests.e2e.reports import expected_reports, wait_for_counts, wait_for_report

# Above all that a test waits for, with the fixtures that it is the first to need: the stack, three minutes of traffic.
pytestmark = pytest.mark.timeout(2400)


def test_status_says_what_runs(etar: Etar) -> None:
    etar.healthy()
    status = etar.json("status")
    assert {part["name"] for part in status["parts"]} == {part.name for part in enabled_parts(etar.stack)}
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


def test_no_secret_in_the_process_list_or_the_logs(etar: Etar) -> None:
    assert shown_secrets(etar) == []


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


def test_dags_test_runs_one_past_minute(etar: Etar, traffic: Traffic) -> None:
    window = traffic.first
    before = wait_for_report(etar, window)
    run = etar.run("exec", "airflow", "dags", "test", "etar_pipeline", window.end.isoformat())
    assert "state=success" in run.stdout + run.stderr
    assert etar.json("report", "--minute", str(window)) == before, "the same rows are the same revision"


def test_each_task_cleared_three_times_makes_the_same_report(etar: Etar, traffic: Traffic) -> None:
    window = traffic.first.next
    wait_for_report(etar, window)
    etar.exact_account("--from", str(window), "--to", str(window.next))
    interval = {"data_interval_start": window.start.isoformat(), "data_interval_end": window.end.isoformat()}
    # The minute's own run has the date of its start.
    asked = {"logical_date": (window.start + MINUTE / 3).isoformat(), **interval}
    dag = "/api/v2/dags/etar_pipeline"
    with airflow_api(etar) as api:
        run = api.post(f"{dag}/dagRuns", json=asked).raise_for_status().json()["dag_run_id"]
        succeeds(api, run)
        before = reported(etar, window)
        for _ in range(3):
            for task in ("settle", "extract", "analyse", "report"):
                clear = {"dag_run_id": run, "task_ids": [task], "only_failed": False, "dry_run": False}
                api.post(f"{dag}/clearTaskInstances", json=clear).raise_for_status()
                succeeds(api, run)
            assert reported(etar, window) == before


def succeeds(api: httpx.Client, run: str) -> None:
    def ended() -> bool:
        state = state_of_run(api, "etar_pipeline", run)
        assert state != "failed"
        return state == "success"

    wait_until(ended, timeout=240, what=f"{run} to succeed", interval=1)


def reported(etar: Etar, window: MinuteWindow) -> tuple[dict, dict]:
    """The minute's report, and what the ledger says of it that does not change with each run."""
    row = etar.json("minutes", str(window))
    for changing in ("run_id", "stages", "updated_at", "settled_offsets", "revisions"):
        del row[changing]
    return etar.json("report", "--minute", str(window)), row


def no_interval(_: Traffic) -> tuple[dict, str]:
    return {"logical_date": None}, "no data interval"


def half_a_minute_off(traffic: Traffic) -> tuple[dict, str]:
    start, end = traffic.first.start + MINUTE / 2, traffic.first.end + MINUTE / 2
    interval = {"data_interval_start": start.isoformat(), "data_interval_end": end.isoformat()}
    return {"logical_date": end.isoformat(), **interval}, f"{start:%H:%M:%S}"


def no_width(traffic: Traffic) -> tuple[dict, str]:
    at = traffic.first.start + MINUTE / 4  # no other run has this date
    return dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end"), at.isoformat()), f"{at:%H:%M:%S}"


@pytest.mark.parametrize("ask", [no_interval, half_a_minute_off, no_width])
def test_a_run_over_no_whole_minute_fails_and_says_how_to_ask(
    etar: Etar, traffic: Traffic, ask: Callable[[Traffic], tuple[dict, str]]
) -> None:
    asked, seen = ask(traffic)
    runs = "/api/v2/dags/etar_pipeline/dagRuns"
    with airflow_api(etar) as api:
        run = api.post(runs, json=asked).raise_for_status().json()["dag_run_id"]
        wait_until(
            lambda: state_of_run(api, "etar_pipeline", run) == "failed",
            timeout=180,
            what=f"{run} to fail",
            interval=1,
        )
        log = api.get(f"{runs}/{run}/taskInstances/settle/logs/1", headers={"Accept": "application/json"}).text
    assert seen in log
    assert "Give the END of the minute" in log


def test_backfill_reports_the_same_again(etar: Etar, traffic: Traffic) -> None:
    last = traffic.end.previous
    before = [wait_for_report(etar, window) for window in MinuteWindow.between(traffic.first, traffic.end)]
    etar.run(
        "exec", "airflow", "backfill", "create", "--dag-id", "etar_pipeline",
        "--from-date", traffic.first.start.isoformat(), "--to-date", last.start.isoformat(),
        "--reprocess-behavior", "completed",
    )  # fmt: skip
    wait_until(lambda: backfill_is_done(etar), timeout=240, what="the backfill to end", interval=2)
    after = [etar.json("report", "--minute", str(report["minute"])) for report in before]
    assert after == before, "the same rows are the same revision"
    assert etar.json("verify", "--from", str(traffic.first), "--to", str(traffic.end))["difference"] == 0


def backfill_is_done(etar: Etar) -> bool:
    with airflow_database(etar) as connection:
        runs = connection.execute(
            "SELECT d.state, count(*) FROM backfill_dag_run b JOIN dag_run d ON d.id = b.dag_run_id GROUP BY 1"
        ).fetchall()
    states: dict[str, int] = dict(runs)
    assert "failed" not in states
    return states == {"success": MINUTES}


@pytest.mark.parametrize("name", ["warehouse", "sink", "report-api", "kafka"])
def test_a_killed_part_comes_back_by_itself(etar: Etar, traffic: Traffic, name: str) -> None:
    before = next(part for part in etar.healthy()["parts"] if part["name"] == name)
    psutil.Process(before["pid"]).send_signal(signal.SIGKILL)

    def back() -> bool:
        status = etar.json("status", check=False)
        part = next(part for part in status["parts"] if part["name"] == name)
        return status["healthy"] and part["pid"] != before["pid"]

    wait_until(back, timeout=WELL_WITHIN, what=f"{name} to come back", interval=1)


def test_logs_of_a_part_are_shown(etar: Etar) -> None:
    assert "Uvicorn running" in etar.run("logs", "report-api", "-n", "1000").stdout
    unknown = etar.run("logs", "nothing", check=False)
    assert unknown.returncode == 1
    assert "airflow-scheduler" in unknown.stderr


def test_everything_killed_at_once_loses_nothing(etar: Etar, traffic: Traffic) -> None:
    """kill -9 of every process of the stack, and of the producer, in the middle of traffic and of a minute's run."""
    wait_until(lambda: datetime.now(UTC).second < 30, timeout=60, what="the first half of a minute")
    window = MinuteWindow.containing(datetime.now(UTC))
    with etar.started("produce", "--rate", str(RATE)) as producer:
        wait_until(lambda: datetime.now(UTC) >= window.end + timedelta(seconds=5), timeout=90, what="the minute's run")
        producer.kill()
        kill_everything(etar)
    etar.run("up", "--detach", timeout=600)
    end = window.next.next
    for reported in MinuteWindow.between(traffic.first, end):
        wait_for_report(etar, reported)
    # What was sent just before the crash is stored after it, and revises its minute if that was reported meanwhile.
    verified = etar.exact_account("--from", str(traffic.first), "--to", str(end))
    assert verified["difference"] == 0
    rows = {minute["minute"]: minute["parquet_rows"] for minute in verified["minutes"][-2:]}
    assert all(count > 0 for count in rows.values()), rows


def kill_everything(etar: Etar) -> None:
    supervisor = psutil.Process(Supervisor(etar.stack).pid())
    # Before the victims: what is started in between is no member, and what ends in between is not compared.
    family = {supervisor, *supervisor.children(recursive=True)}
    victims = everything(etar.stack)
    # PostgreSQL's children write over their environment; they end when their parent does.
    unmarked = set(names_of_running(family - set(victims)))
    assert unmarked <= {"postgres"}, "every process of a stack has to be found after a crash"
    assert len(victims) > 10
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=30)


def names_of_running(members: Iterable[psutil.Process]) -> Iterator[str]:
    for process in members:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process.name()


def test_down_leaves_no_process_behind(etar: Etar) -> None:
    etar.run("down")
    assert left_behind(etar.stack.layout) == []
    assert etar.json("status", check=False)["healthy"] is False


def test_clean_asks_before_it_deletes(etar: Etar) -> None:
    kept = etar.run("clean", check=False)
    assert kept.returncode == 1
    assert "Delete" in kept.stdout
    assert etar.stack.layout.settings_file.exists()
    etar.run("clean", "--yes")
    assert not etar.folder.exists()

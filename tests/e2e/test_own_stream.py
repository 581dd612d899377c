"""A stream of a user's own, from a file of its events to its report: what streams/README.md walks through."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from confluent_kafka import Producer

from cli.reports import api_client
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings
from stack.waiting import wait_until
from tests.e2e.conftest import Etar, started_stack
from tests.e2e.reports import REPORTED_WITHIN

ROWS = 400
SPAN = timedelta(minutes=3)
FIELDS = ("ride", "picked_up_at", "city", "passengers", "fare")

pytestmark = pytest.mark.timeout(900)


def write_rides(file: Path, end: datetime) -> dict[MinuteWindow, Decimal]:
    """``ROWS`` rides of the minutes before ``end``, whose fares have two digits; the sum of them by minute."""
    random = Random(12)
    fares: dict[MinuteWindow, Decimal] = {}
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(FIELDS)
        for number in range(ROWS):
            at = end - SPAN + SPAN * number / ROWS
            fare = Decimal(random.randint(300, 9_999)) / 100
            minute = MinuteWindow.containing(at)
            fares[minute] = fares.get(minute, Decimal(0)) + fare
            ride = UUID(int=random.getrandbits(128), version=4)
            passengers = random.choice(["1", "2", ""])
            rows.writerow(
                [ride, f"{at:%Y-%m-%d %H:%M:%S}", random.choice(["Bonn", "Berlin"]), passengers, f"{fare:.2f}"]
            )
    return fares


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def etar(folder: Path) -> Iterator[Etar]:
    """A stack of the first stream and of one that `etar stream new` made of a file; a third folder has a fault."""
    streams = folder / "streams"
    (streams / "broken").mkdir(parents=True)
    (streams / "broken" / "stream.toml").write_text("[stream")
    write_rides(folder / "sample.csv", datetime.now(UTC))
    folders = {"ETAR_STREAMS_FOLDERS": f"streams:{streams}"}
    outside = Etar(folder / "no-stack", folders)
    outside.run(
        "stream", "new", "rides", "--like", f"{folder}/sample.csv", "--id", "ride", "--time", "picked_up_at", "--yes"
    )
    outside.run("stream", "check", "rides")
    with started_stack({"ETAR_STREAMS": "user_interactions rides broken", **folders}) as etar:
        yield etar


def reports(etar: Etar, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, dict]:
    with api_client(etar.stack.settings.of(ReportReadSettings)) as client:
        answer = client.get("/reports", params={"stream": "rides", "from": str(first), "to": str(end)})
    return {MinuteWindow.parse(each["minute"][:16] + "Z"): each for each in answer.raise_for_status().json()}


def test_a_file_of_events_is_reported_to_the_cent_and_accounted_for(etar: Etar, folder: Path) -> None:
    fares = write_rides(folder / "rides.csv", datetime.now(UTC))
    first, end = min(fares), max(fares).next

    etar.run("produce", "--stream", "rides", "--input", f"{folder}/rides.csv", "--account", f"{folder}/account.json")

    def sums() -> dict[MinuteWindow, Decimal]:
        found = reports(etar, first, end)
        # The report of a minute without rides has no sum yet: only Spark knows what the SELECT has.
        return {minute: Decimal(each["sum_of_fare"]) for minute, each in found.items() if "sum_of_fare" in each}

    wait_until(
        lambda: {minute: total for minute, total in sums().items() if minute in fares} == fares,
        timeout=2 * REPORTED_WITHIN,
        what="the fares of each minute",
        interval=3,
    )
    account = etar.exact_account("--stream", "rides", "--from", str(first), "--to", str(end))
    assert account["stream"] == "rides"
    assert account["totals"]["events"] == ROWS
    assert isinstance(reports(etar, first, end)[first]["sum_of_fare"], str)
    assert etar.exact_account("--stream", "user_interactions")["ok"]


def test_a_folder_with_a_fault_is_named_and_costs_no_other(etar: Etar) -> None:
    status = etar.json("status", check=False)
    assert {part["name"] for part in status["parts"]} >= {"sink", "sink-rides"}
    assert {part["state"] for part in status["parts"]} == {"healthy"}
    (fault,) = status["stream_faults"]
    assert "broken/stream.toml" in fault
    assert not status["healthy"]
    listed = etar.run("exec", "airflow", "dags", "list", "--output", "json").stdout
    dags = {each["dag_id"] for each in json.loads(listed.splitlines()[-1])}
    assert dags >= {"etar_pipeline", "etar_pipeline_rides", "etar_pipeline_broken", "etar_audit", "etar_reconcile"}


def test_its_bad_records_are_dead_letters_of_its_own(etar: Etar) -> None:
    # Quiet: it lives until it is collected, longer than the broker.
    producer = Producer({"bootstrap.servers": etar.stack.settings["ETAR_KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0})
    producer.produce("rides", value=b'{"ride": ')
    producer.produce("rides", value=b"no JSON")
    assert producer.flush(30) == 0

    def letters(stream: str) -> list[str]:
        listed = etar.run("dead-letters", "list", "--stream", stream, "--json").stdout
        return [json.loads(line)["reason"] for line in listed.splitlines()]

    wait_until(lambda: len(letters("rides")) == 2, timeout=120, what="two dead letters", interval=2)
    assert sorted(letters("rides")) == ["not_json", "truncated"]
    assert letters("user_interactions") == []

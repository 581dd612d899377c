"""A stream of a user's own, from a file of its events to its report: what streams/README.md walks through. Beside it
one of the repository's that is not on by itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

import httpx
import pytest
from confluent_kafka import Producer

from cli.reports import api_client
from etar.clients import warehouse_client
from etar.kafka.offsets import TopicOffsets
from etar.minute import MinuteWindow
from etar.settings import KafkaSettings, ReportReadSettings, WarehouseSettings
from producer.account import Account
from producer.kinds import Kind
from stack import lifecycle
from stack.parts import parts_of
from stack.waiting import wait_until
from tests.e2e.conftest import Etar, started_stack
from tests.e2e.reports import REPORTED_WITHIN

ROWS = 400
SPAN = timedelta(minutes=3)
RIDES = "user_interactions rides broken"
ON = f"{RIDES} transactions"
FIELDS = ("ride", "picked_up_at", "city", "passengers", "fare")

pytestmark = pytest.mark.timeout(900)


def write_rides(file: Path, end: datetime, *, seed: int = 12) -> dict[MinuteWindow, Decimal]:
    """``ROWS`` rides of the minutes before ``end``, whose fares have two digits; the sum of them by minute."""
    random = Random(seed)
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
    with started_stack({"ETAR_STREAMS": ON, **folders}) as etar:
        yield etar


@pytest.fixture(scope="module")
def fares(etar: Etar, folder: Path) -> dict[MinuteWindow, Decimal]:
    """Those of each minute of a file that was sent."""
    return send_rides(etar, folder / "rides.csv")


@dataclass(frozen=True)
class Sales:
    """What was sent of ``transactions``: the producer's account of it, and each sale once."""

    account: Path
    unique: list[dict]
    bad: int

    @property
    def by_minute(self) -> dict[MinuteWindow, list[dict]]:
        minutes: dict[MinuteWindow, list[dict]] = {}
        for sale in self.unique:
            at = datetime.fromtimestamp(sale["timestamp"] / 1000, UTC)
            minutes.setdefault(MinuteWindow.containing(at), []).append(sale)
        return minutes


@pytest.fixture(scope="module")
def sales(etar: Etar, folder: Path) -> Sales:
    """Some seconds of made-up ones, with every kind of bad record."""
    account, log = folder / "sales.account.json", folder / "sales.jsonl"
    etar.run(
        "produce", "--stream", "transactions", "--rate", "200", "--for", "4s", "--seed", "14", "--duplicates", "0.1",
        "--malformed", "0.1", "--account", str(account), "--event-log", str(log),
    )  # fmt: skip
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    good = [each for each in sent if not Kind(each["kind"]).malformed]
    return Sales(account, list({each["transaction_id"]: each for each in good}.values()), len(sent) - len(good))


def send_rides(etar: Etar, file: Path, *, seed: int = 12) -> dict[MinuteWindow, Decimal]:
    fares = write_rides(file, datetime.now(UTC), seed=seed)
    etar.run("produce", "--stream", "rides", "--input", str(file), "--account", f"{file}.account.json")
    return fares


def wait_for_sums(etar: Etar, fares: Mapping[MinuteWindow, Decimal]) -> None:
    found: dict[MinuteWindow, Decimal] = {}

    def there() -> bool:
        try:
            bodies = reports(etar, min(fares), max(fares).next)
        # A stack that has just started on a busy machine may not answer yet, as in `tests.e2e.reports`.
        except httpx.TransportError:
            return False
        # The report of a minute without rides has no sum yet: only Spark knows what the SELECT has.
        sums = {minute: Decimal(body["sum_of_fare"]) for minute, body in bodies.items() if "sum_of_fare" in body}
        found.clear()
        found.update((minute, total) for minute, total in sums.items() if minute in fares)
        return found == fares

    try:
        wait_until(there, timeout=2 * REPORTED_WITHIN, what="the fares of each minute", interval=3)
    except TimeoutError as error:
        pytest.fail(f"{error}: {dict(fares)}; the last that there was is {found}")


def counted_rides(etar: Etar, events: int) -> dict:
    """The exact account once its totals have all ``events``: they are of what *arrived* in minutes that are due.

    The last rides arrive in the minute after theirs where sending them takes until then.
    """
    accounts: list[dict] = []

    def counted() -> int:
        accounts[:] = [etar.exact_account("--stream", "rides")]
        return accounts[0]["totals"]["events"]

    wait_until(lambda: counted() >= events, timeout=REPORTED_WITHIN, what=f"{events} rides in the account", interval=5)
    assert accounts[0]["totals"]["events"] == events
    return accounts[0]


def stored_rides(etar: Etar) -> int:
    """Rows of the table, each once."""
    with warehouse_client(etar.stack.settings.of(WarehouseSettings)) as client:
        return int(client.query("SELECT count() FROM rides FINAL").result_rows[0][0])


def dags(etar: Etar, *options: str) -> set[str]:
    listed = etar.run("exec", "airflow", "dags", "list", "--output", "json", *options).stdout
    # Airflow warns on the same lines, of a file that took long for one.
    (rows,) = (line for line in listed.splitlines() if line.startswith("[{"))
    return {each["dag_id"] for each in json.loads(rows)}


def reports(etar: Etar, first: MinuteWindow, end: MinuteWindow, *, stream: str = "rides") -> dict[MinuteWindow, dict]:
    with api_client(etar.stack.settings.of(ReportReadSettings)) as client:
        answer = client.get("/reports", params={"stream": stream, "from": str(first), "to": str(end)})
    return {MinuteWindow.parse(each["minute"][:16] + "Z"): each for each in answer.raise_for_status().json()}


def windows(
    etar: Etar, minutes: Collection[MinuteWindow]
) -> dict[MinuteWindow, tuple[dict[str, Decimal], bool, Decimal]]:
    """Of each of these live windows: sales by category where there are some, whether it is final, and how much of them
    the job has not counted."""
    with api_client(etar.stack.settings.of(ReportReadSettings)) as client:
        answer = client.get("/windows", params={"stream": "transactions"}).raise_for_status().json()
    return {
        minute: (
            {
                name: now
                for name, group in window["groups"].items()
                if (now := Decimal(group["values"]["total_sales"]["now"]))
            },
            window["final"],
            Decimal(window["totals"]["total_sales"]["difference"]),
        )
        for window in answer["windows"]
        if (minute := MinuteWindow.parse(window["start"][:16] + "Z")) in minutes
    }


def test_a_file_of_events_is_reported_to_the_cent_and_accounted_for(
    etar: Etar,
    sales: Sales,  # sent by now, so that its minutes are over when the next test asks for them
    fares: dict[MinuteWindow, Decimal],
) -> None:
    first, end = min(fares), max(fares).next

    wait_for_sums(etar, fares)
    assert counted_rides(etar, ROWS)["stream"] == "rides"
    assert isinstance(reports(etar, first, end)[first]["sum_of_fare"], str)
    assert etar.exact_account("--stream", "user_interactions")["ok"]


def test_sales_by_category_are_reported_to_the_cent_and_accounted_for(etar: Etar, sales: Sales) -> None:
    wanted = {
        minute: {
            category: sum((Decimal(each["amount"]) for each in sold if each["product_category"] == category), Decimal())
            for category in {each["product_category"] for each in sold}
        }
        for minute, sold in sales.by_minute.items()
    }

    def found() -> dict[MinuteWindow, dict[str, Decimal]]:
        try:
            bodies = reports(etar, min(wanted), max(wanted).next, stream="transactions")
        except httpx.TransportError:
            return {}
        return {
            minute: {name: Decimal(sum_) for name, sum_ in body["sales_by_category"].items() if Decimal(sum_)}
            for minute, body in bodies.items()
        }

    wait_until(lambda: found() == wanted, timeout=REPORTED_WITHIN, what="the sales of each minute", interval=3)
    wait_until(
        lambda: windows(etar, wanted) == {minute: (sold, True, Decimal()) for minute, sold in wanted.items()},
        timeout=REPORTED_WITHIN,
        what="the live windows to be final and the job to have counted the same",
        interval=2,
    )
    account = etar.exact_account("--stream", "transactions", "--account", str(sales.account))
    assert account["totals"]["acknowledged"] == Account.read(sales.account).acknowledged
    letters = etar.run("dead-letters", "list", "--stream", "transactions", "--json", "--limit", "0").stdout
    assert len(letters.splitlines()) == sales.bad > 0


def test_a_folder_with_a_fault_is_named_and_costs_no_other(etar: Etar) -> None:
    status = etar.json("status", check=False)
    assert {part["name"] for part in status["parts"]} >= {"sink", "sink-rides", "sink-transactions"}
    assert {part["state"] for part in status["parts"]} == {"healthy"}
    (fault,) = status["stream_faults"]
    assert "broken/stream.toml" in fault
    assert not status["healthy"]
    assert dags(etar) >= {
        "etar_pipeline",
        "etar_pipeline_rides",
        "etar_pipeline_transactions",
        "etar_pipeline_broken",
        "etar_audit",
        "etar_reconcile",
    }


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


KEPT_PLACES = {"kafka", "registry", "postgres", "warehouse", "s3", "report-api", "sink"}


def test_a_stream_that_is_switched_off_keeps_what_it_has_and_goes_on_from_its_offsets(
    etar: Etar, folder: Path, fares: dict[MinuteWindow, Decimal]
) -> None:
    """The last of this stack: it is stopped here."""
    rides = etar.stack.catalogue.named("rides")
    wait_for_sums(etar, fares)
    past, stored = reports(etar, min(fares), max(fares).next), stored_rides(etar)
    etar.run("down")

    # As `etar up` does it, without the parts that take most of a start and have nothing to do with it here.
    minutes = {part.name for part in parts_of(etar.stack)} - KEPT_PLACES
    off = {"ETAR_STREAMS": "user_interactions"}
    lifecycle.start(etar.stack.layout, etar.environment | off, print, without=minutes)
    listed = {each["name"]: each["on"] for each in etar.json("stream", "list", check=False)["streams"]}
    assert (listed["user_interactions"], listed["rides"]) == (True, False)
    assert "sink-rides" not in {part["name"] for part in etar.json("status", check=False)["parts"]}
    assert "etar_pipeline" in (made := dags(etar, "--local"))
    assert rides.dag_id not in made
    assert reports(etar, min(fares), max(fares).next) == past

    with TopicOffsets.connect(rides.topic, settings=etar.stack.settings.of(KafkaSettings)) as offsets:
        committed, before = offsets.committed(rides.sink_group), sum(offsets.end().values())
        more = send_rides(etar, folder / "more.csv", seed=13)
        assert sum(offsets.end().values()) - before == ROWS
        assert offsets.committed(rides.sink_group) == committed
    assert stored_rides(etar) == stored
    etar.run("down")

    Etar(etar.folder, {"ETAR_STREAMS": RIDES}).run("up", "--detach", timeout=600)
    both = {minute: fares.get(minute, Decimal(0)) + more.get(minute, Decimal(0)) for minute in {**fares, **more}}
    wait_for_sums(etar, both)
    assert stored_rides(etar) == stored + ROWS
    counted_rides(etar, 2 * ROWS)

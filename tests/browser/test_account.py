"""The page of a stream's account in a browser: each of its three answers, and the states in which there is none."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from tests.browser.conftest import dashboard, look_at
from tests.browser.test_dashboard import minutes_ago, notice
from tests.integration.dashboard.account_rows import closed, keep_closed, keep_reported
from tests.integration.dashboard.serving import serving
from tests.ports import free_ports

expect.set_options(timeout=30_000)

STREAM = "user_interactions"
PARTITIONS = 3


def answer(page: Page) -> Locator:
    return page.locator(".st-key-answer").get_by_test_id("stAlert")


def kind(page: Page) -> Locator:
    """Which of Streamlit's boxes the answer is in: its color."""
    return answer(page).locator("[data-testid^=stAlertContent]")


def flow(page: Page, name: str) -> Locator:
    """A part of the flow by its name."""
    return page.locator(".st-key-flow tr").filter(has=page.get_by_role("rowheader", name=name))


def keep_hour(store: ReportStoreSettings, end: MinuteWindow, **last: int) -> None:
    """An hour of records, most of them good, all accounted for; ``last``: otherwise in partition 2's last minute."""
    window = MinuteWindow.containing(end.start)
    minutes: list[MinuteWindow] = []
    for _ in range(60):
        window = window.previous
        minutes.insert(0, window)
    offsets = dict.fromkeys(range(PARTITIONS), 0)
    audited = []
    for window in minutes:
        for partition in range(PARTITIONS):
            odd = last if (window, partition) == (minutes[-1], PARTITIONS - 1) else {}
            counts = {"rows": 400 + 10 * partition, "dead_letters": 4, "too_late": 1} | odd
            audited.append(closed(window, partition, first=offsets[partition], **counts))
            offsets[partition] = audited[-1].offsets.end
        arrivals = {window: {partition: 400 + 10 * partition for partition in range(PARTITIONS)}}
        keep_reported(store, STREAM, window, arrivals, events=1_210, topic=PARTITIONS)
    keep_closed(store, STREAM, *audited)


def test_an_exact_hour_is_followed_from_kafka_to_reports(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    end = minutes_ago(10)
    keep_hour(empty_store, end)
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        page.goto(url)
        page.get_by_test_id("stMain").get_by_role("link", name="Account").click()

        expect(answer(page)).to_contain_text("Exact. Each of 74,520 records is accounted for.")
        expect(kind(page)).to_have_attribute("data-testid", "stAlertContentSuccess")
        expect(page.get_by_text("verified through")).to_contain_text(f"verified through {end.start:%H:%M}")
        for name, count in {
            "Acknowledged by Kafka": "74,520",
            "Events in reports": "72,600",
            "Duplicates": "1,200",
            "Too late": "180",
            "Bad records": "540",
            "Difference": "0",
        }.items():
            expect(flow(page, name).get_by_role("cell").nth(1)).to_have_text(count)
        expect(page.locator(".st-key-partitions tbody tr")).to_have_count(PARTITIONS)
        expect(page.locator(".st-key-partitions")).to_contain_text("✓ exact")
        expect(page.get_by_test_id("stCode")).to_have_count(0)
        look_at(page, "account")

        page.get_by_role("button", name="Earlier").press("Enter")
        expect(answer(page)).to_contain_text("Exact. No record arrived.")
        expect(page).to_have_url(re.compile(r"-account\?hours=1&to=\d{4}-\d\d-\d\dT\d\d%3A\d\dZ$"))
        page.get_by_role("button", name="Newest", disabled=False).click()
        expect(page).to_have_url(re.compile(r"-account\?hours=1$"))
        expect(answer(page)).to_contain_text("Exact. Each of 74,520 records is accounted for.")
        page.get_by_role("button", name="24 hours").click()
        expect(answer(page)).to_contain_text("Exact. Each of 74,520 records is accounted for.")
        expect(page).to_have_url(re.compile(r"-account\?hours=24$"))

        page.get_by_test_id("stMain").get_by_role("link", name="Reports of User interactions").click()
        expect(page).to_have_url(re.compile(r"^[^?]*$"))


def test_a_difference_is_named_with_its_partition_and_what_to_run(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    end = minutes_ago(20)
    keep_hour(empty_store, end, rows=425, lost=3)
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        page.goto(f"{url}/{STREAM}-account")

        expect(answer(page)).to_contain_text("Different. 8 records are not accounted for, of 74,528.")
        expect(kind(page)).to_have_attribute("data-testid", "stAlertContentError")
        expect(flow(page, "Difference")).to_contain_text("3 lost, 5 in no report (yet)")
        line = page.locator(".st-key-partitions tbody tr").nth(2)
        expect(line).to_contain_text("≠ different")
        expect(line).to_contain_text("3 records are in no place")
        command = f"etar verify --from {MinuteWindow(end.start).previous}"[:19]
        expect(page.get_by_test_id("stCode")).to_contain_text(command)
        expect(page.get_by_test_id("stCode")).to_contain_text(f"--to {end}")
        look_at(page, "account-different")


def test_what_cannot_be_told_is_not_verified_and_never_green(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    end = minutes_ago(10)
    keep_hour(empty_store, end)
    # The topic has a partition more than the auditor knows.
    keep_reported(empty_store, STREAM, end, {end: {3: 7}}, events=7, topic=4)
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        page.goto(f"{url}/{STREAM}-account")

        expect(answer(page)).to_contain_text("Not verified. Of partition 3 it cannot be told: see below.")
        expect(kind(page)).to_have_attribute("data-testid", "stAlertContentWarning")
        line = page.locator(".st-key-partitions tbody tr").nth(3)
        expect(line).to_contain_text("? not verified")
        expect(line).to_contain_text("the auditor has nothing of this partition")
        look_at(page, "account-not-verified")

        page.goto(f"{url}/{STREAM}-account?hours=6&to={minutes_ago(2)}")
        expect(answer(page)).to_contain_text(f"What arrived from {end} on is not audited yet")
        expect(kind(page)).to_have_attribute("data-testid", "stAlertContentWarning")


def test_the_states_without_an_answer(page: Page, empty_store: ReportStoreSettings, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with dashboard(f"http://127.0.0.1:{port}", tmp_path / "ui.log") as url:
        page.goto(f"{url}/{STREAM}-account?hours=7")
        expect(notice(page)).to_contain_text("The report API is away")
        expect(notice(page)).to_contain_text("There is nothing to show yet")
        expect(page.get_by_text("is no number of hours that can be shown")).to_be_visible()
        expect(answer(page)).to_have_count(0)
        look_at(page, "account-error")

        with serving(empty_store, tmp_path / "api.log", port=port):
            expect(notice(page)).to_contain_text("Nothing is audited yet")
            expect(answer(page)).to_have_count(0)
            look_at(page, "account-empty")
            page.evaluate("window.notReloaded = true")

            keep_hour(empty_store, minutes_ago(10))
            expect(answer(page)).to_contain_text("Exact")
            assert page.evaluate("window.notReloaded") is True

        expect(notice(page)).to_contain_text("Below is what it said at")
        expect(answer(page)).to_contain_text(re.compile(r"Not verified now\. At [\d:]+ UTC the answer was: exact\."))
        expect(kind(page)).to_have_attribute("data-testid", "stAlertContentWarning")
        expect(flow(page, "Acknowledged by Kafka")).to_contain_text("74,520")
        look_at(page, "account-stale")


def test_who_waits_for_the_first_answer_sees_that(page: Page, empty_store: ReportStoreSettings, tmp_path: Path) -> None:
    with (
        report_store_connection(empty_store) as holding,
        serving(empty_store, tmp_path / "api.log") as api,
        dashboard(api.url, tmp_path / "ui.log") as url,
    ):
        holding.execute("LOCK TABLE minute_revisions IN ACCESS EXCLUSIVE MODE")
        page.goto(f"{url}/{STREAM}-account")
        expect(page.get_by_text("Reading the books of the audit and of the reports")).to_be_visible()
        expect(answer(page)).to_have_count(0)
        holding.rollback()
        expect(notice(page)).to_contain_text("Nothing is audited yet")

"""The page of a stream's minutes in a browser: a day in cells, one minute in full, and the states in which it has
little to show."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from etar.ledger import State
from etar.minute import MinuteWindow
from etar.pipeline.standing import windows_of
from etar.settings import ReportStoreSettings
from tests.browser.conftest import dashboard, look_at
from tests.browser.test_dashboard import metric, minutes_ago, notice, publish
from tests.integration.dashboard.ledger_rows import keep_minutes, keep_revisions
from tests.integration.dashboard.serving import RunningApi, serving
from tests.ports import free_ports
from tests.unit.dashboard.samples import a_failed_entry, a_report, an_entry, an_open_entry

expect.set_options(timeout=30_000)

AIRFLOW = "http://127.0.0.1:9999/airflow"


def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def at(day: date, text: str) -> MinuteWindow:
    return MinuteWindow.parse(f"{day}T{text}Z")


def calendar(page: Page) -> Locator:
    return page.locator(".st-key-calendar")


def legend(page: Page) -> Locator:
    return page.locator(".st-key-legend")


def one(page: Page) -> Locator:
    return page.locator(".st-key-minute")


def click_on(page: Page, window: MinuteWindow) -> None:
    cells = calendar(page).locator(".nsewdrag")
    box = cells.bounding_box()
    assert box
    # The locator clicks, not the mouse: it waits until the cells stand still.
    cells.click(
        position={
            "x": box["width"] * (window.start.minute + 0.5) / 60,
            "y": box["height"] * (window.start.hour + 0.5) / 24,
        }
    )


def keep_yesterday(api: RunningApi, store: ReportStoreSettings) -> dict[str, MinuteWindow]:
    """A day of reports, but for four minutes whose rows the table still has; one minute was reported three times."""
    day = yesterday()
    named = {name: at(day, f"22:{minute}") for name, minute in NAMED.items()}
    entries = {window: an_entry(window) for window in windows_of(day)}
    revisions = []
    for number, late in enumerate((0, 1, 1_000), start=1):
        counts = {"received": 102 + late, "unique_events": 100 + late, "late_events": late}
        revisions.append(an_entry(named["revised"], revision=number, **counts))
        publish(api, a_report(named["revised"], views=86 + late))
    entries[named["revised"]] = revisions[-1]
    entries[named["failed"]] = a_failed_entry(named["failed"], error="PermanentError: the bucket is <gone>")
    entries[named["stalled"]] = an_open_entry(named["stalled"], State.EXTRACTED, updated_at=named["stalled"].end)
    del entries[named["missing"]]
    keep_minutes(store, *entries.values())
    keep_revisions(store, *revisions)
    return named


NAMED = {"revised": "10", "failed": "20", "missing": "30", "stalled": "40"}


def test_a_day_is_seen_at_a_glance_and_each_minute_in_full(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETAR_DASHBOARD_AIRFLOW_URL", AIRFLOW)
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        named = keep_yesterday(api, empty_store)
        page.goto(url)
        page.get_by_test_id("stMain").get_by_role("link", name="Minutes").click()
        page.get_by_role("button", name="Day before").click()

        expect(calendar(page)).to_contain_text("1,437 of 1,440 minutes reported")
        for text in ("Reported 1,436", "Revised 1", "Stalled 1", "Failed 1", "Missing 1"):
            expect(legend(page)).to_contain_text(text)
        expect(calendar(page).locator(".heatmaplayer image")).to_have_count(1)
        expect(one(page)).to_contain_text("Choose a minute")
        look_at(page, "minutes-day")

        click_on(page, named["failed"])
        expect(one(page)).to_contain_text(f"{named['failed']} · Failed")
        expect(one(page)).to_contain_text("PermanentError: the bucket is <gone>")
        again = f"etar report --range {named['failed']} {named['failed'].next}"
        expect(one(page).get_by_test_id("stCode").filter(has_text=again)).to_have_count(1)
        expect(page).to_have_url(re.compile(rf"-minutes\?day={yesterday()}&minute=22%3A20$"))
        look_at(page, "minutes-failed")

        page.get_by_role("button", name="Next that wants a look").press("Enter")
        expect(one(page)).to_contain_text(f"{named['missing']} · Missing")
        expect(one(page)).to_contain_text("no run has begun it")

        page.goto(f"{page.url.split('?')[0]}?day={yesterday()}&minute=22:10")
        expect(one(page)).to_contain_text(f"{named['revised']} · Revised")
        expect(metric(page, "received")).to_have_text("1,102")
        run = one(page).get_by_role("link", name="open it in Airflow")
        assert (run.get_attribute("href") or "").startswith(
            f"{AIRFLOW}/dags/etar_pipeline/runs/scheduled__{yesterday()}T22%3A11"
        )
        cells = one(page).locator(".st-key-revisions [role=gridcell]")
        expect(cells.filter(has_text="1,100 (+999)")).not_to_have_count(0)
        look_at(page, "minutes-revised")

        page.get_by_test_id("stMain").get_by_role("link", name="Reports of User interactions").click()
        expect(metric(page, "minute")).to_have_text("22:10")


def test_minutes_appear_without_a_reload_and_what_is_wrong_with_them_is_named(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    with dashboard(f"http://127.0.0.1:{port}", tmp_path / "ui.log") as url:
        address = f"{url}/user_interactions-minutes"
        page.goto(address)
        expect(notice(page)).to_contain_text("The report API is away")
        expect(notice(page)).to_contain_text("There is nothing to show yet")
        expect(calendar(page)).to_have_count(0)

        with serving(empty_store, tmp_path / "api.log", port=port):
            expect(notice(page)).to_contain_text("No minutes yet")
            page.evaluate("window.notReloaded = true")
            look_at(page, "minutes-empty")

            # Of another day, so that the newest one is as empty as it was.
            gone = at(yesterday() - timedelta(days=1), "10:31")
            keep_minutes(empty_store, a_failed_entry(gone, error="it left the table before it was reported"))
            expect(notice(page)).to_contain_text(f"No run has begun any minute after {gone}")
            expect(legend(page)).to_contain_text("Overdue")
            assert page.evaluate("window.notReloaded") is True

            page.goto(f"{address}?day={gone.start.date()}&minute=10:31")
            expect(notice(page)).to_contain_text("1 minute cannot be reported any more")
            for text in ("Cannot be reported 1", "Unknown 1,439"):
                expect(legend(page)).to_contain_text(text)
            expect(one(page)).to_contain_text(f"{gone} · Cannot be reported")
            expect(one(page)).to_contain_text("it left the table before it was reported")
            expect(one(page).get_by_test_id("stCode").filter(has_text="etar report")).to_have_count(0)
            look_at(page, "minutes-gone")

        expect(notice(page)).to_contain_text("Below is what it said at")
        expect(legend(page)).to_contain_text("Cannot be reported 1")
        look_at(page, "minutes-stale")


def test_an_address_that_names_no_minute_is_told_and_today_is_shown(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        keep_minutes(empty_store, an_entry(minutes_ago(2)))
        page.goto(f"{url}/user_interactions-minutes?day=2999-01-01&minute=noon")
        expect(page.get_by_text("2999-01-01 has not begun")).to_be_visible()
        expect(legend(page)).to_contain_text("Reported 1")

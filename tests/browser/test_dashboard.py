from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

from etar.clients import report_store_connection
from etar.ledger import State
from etar.minute import MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportStoreSettings
from tests.browser.conftest import dashboard, look_at
from tests.integration.dashboard.ledger_rows import keep_minutes
from tests.integration.dashboard.serving import RunningApi, serving
from tests.interactions import Report
from tests.ports import free_ports
from tests.unit.dashboard.samples import a_failed_entry, a_report, an_entry, an_open_entry

expect.set_options(timeout=30_000)


def minutes_ago(count: int) -> MinuteWindow:
    return MinuteWindow(MinuteWindow.containing(datetime.now(UTC)).start - timedelta(minutes=count))


def publish(api: RunningApi, report: Report) -> PublishedReport:
    answer = api.writer.post("/report", json=report.model_dump(mode="json"))
    assert answer.status_code == 201
    return PublishedReport.model_validate_json(answer.content)


def metric(page: Page, name: str) -> Locator:
    return page.locator(f".st-key-metric-{name}").get_by_test_id("stMetricValue")


def notice(page: Page) -> Locator:
    return page.locator(".st-key-notice").get_by_test_id("stAlert")


def test_the_newest_report_is_shown_in_numbers_and_charts(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        newest = minutes_ago(1)
        publish(api, a_report(newest, views=500, view_errors=1))
        second = publish(api, a_report(newest, views=12_345, view_errors=67))
        publish(api, a_report(newest.previous.previous, views=9))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        page.goto(url)

        expect(metric(page, "minute")).to_have_text(f"{newest.start:%H:%M}")
        expect(metric(page, "events")).to_have_text("12,422")
        expect(metric(page, "errors")).to_have_text("67")
        expect(metric(page, "error-rate")).to_have_text("0.54%")
        expect(metric(page, "unique-users")).to_have_text("6,211")
        expect(metric(page, "revision")).to_have_text("2")
        bars = page.locator(".st-key-event-types .js-plotly-plot")
        expect(bars).to_contain_text("12,412 · 67 errors")
        expect(bars).to_contain_text("Add to cart")
        # One bar of each of the six types, once for success and once for error.
        expect(bars.locator(".barlayer .trace")).to_have_count(2)
        expect(bars.locator(".barlayer .point")).to_have_count(12)
        lines = page.locator(".st-key-history .js-plotly-plot")
        expect(lines.locator(".scatterlayer .trace")).to_have_count(2)
        expect(page.locator(".st-key-history")).to_contain_text("Last 3 min")
        expect(page.locator(".st-key-last-updated")).to_contain_text(f"Last updated {second.published_at:%Y-%m-%d}")
        expect(page.locator(".st-key-last-updated")).to_contain_text("UTC as revision 2")
        expect(notice(page)).to_have_count(0)

        elsewhere = [each for each in asked if urlsplit(each).hostname not in ("127.0.0.1", None)]
        assert elsewhere == []
        look_at(page, "stream")


def test_reports_appear_without_a_reload_and_overdue_ones_are_named(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        page.goto(url)
        expect(notice(page)).to_contain_text("No reports yet")
        look_at(page, "stream-empty")
        page.evaluate("window.notReloaded = true")

        old, new = minutes_ago(10), minutes_ago(1)
        publish(api, a_report(old, views=100))
        expect(metric(page, "events")).to_have_text("114")
        expect(notice(page)).to_contain_text("Reports are overdue")
        expect(notice(page)).to_contain_text(str(old))

        publish(api, a_report(new, views=200))
        expect(metric(page, "events")).to_have_text("214")
        expect(notice(page)).to_have_count(0)

        publish(api, a_report(new, views=201))
        expect(metric(page, "revision")).to_have_text("2")
        expect(metric(page, "events")).to_have_text("215")
        assert page.evaluate("window.notReloaded") is True


def test_an_api_that_is_away_is_named_while_its_last_numbers_stay(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    with dashboard(f"http://127.0.0.1:{port}", tmp_path / "ui.log") as url:
        with serving(empty_store, tmp_path / "api.log", port=port) as api:
            publish(api, a_report(minutes_ago(1), views=300))
            page.goto(url)
            expect(metric(page, "events")).to_have_text("314")
            expect(notice(page)).to_have_count(0)

        expect(notice(page)).to_contain_text("The report API is away")
        expect(notice(page)).to_contain_text("Below is what it said at")
        expect(metric(page, "events")).to_have_text("314")
        look_at(page, "stream-stale")

        page.reload()  # who comes now sees the last numbers too
        expect(notice(page)).to_contain_text("The report API is away")
        expect(metric(page, "events")).to_have_text("314")

        with serving(empty_store, tmp_path / "api.log", port=port) as api:
            publish(api, a_report(minutes_ago(1), views=301))
            expect(metric(page, "events")).to_have_text("315")
            expect(notice(page)).to_have_count(0)


def test_the_account_shows_each_minute_and_what_is_not_reported(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        newest = minutes_ago(1)
        failed = newest.previous.previous
        publish(api, a_report(newest))
        keep_minutes(
            empty_store,
            an_entry(failed.previous.previous),
            an_entry(failed.previous, received=1_234_567, unique_events=1_234_560, duplicates=7, revision=2),
            a_failed_entry(failed),
            an_open_entry(newest, State.EXTRACTED, received=50),
        )

        page.goto(url)

        account = page.locator(".st-key-accounting")
        expect(account).to_contain_text("2 of 5 minutes reported · 1 extracted · 1 failed · 1 no run · 1 revised")
        expect(account).to_contain_text("1,234,669 received = 1,234,660 unique + 9 duplicates")
        bars = account.locator(".js-plotly-plot")
        # Four standings, then duplicates, late events and dead letters.
        expect(bars.locator(".barlayer .trace")).to_have_count(7)
        for name in ("Reported", "Revised", "Under way", "Not reported", "Duplicates", "Late", "Dead letters"):
            expect(bars).to_contain_text(name)
        # What is drawn on the canvas of the table stands in it as cells too, for screen readers.
        cells = account.get_by_test_id("stDataFrame").locator("[role=gridcell]")
        expect(cells.filter(has_text="1234567")).to_have_count(1)
        expect(cells.filter(has_text="failed")).to_have_count(1)
        expect(cells.filter(has_text="no run")).to_have_count(1)
        look_at(page, "stream-accounting")

        keep_minutes(empty_store, an_entry(newest, received=51, unique_events=50, duplicates=1))
        expect(account).to_contain_text("3 of 5 minutes reported · 1 failed · 1 no run · 1 revised")
        expect(notice(page)).to_have_count(0)


def test_a_ledger_that_cannot_be_read_leaves_the_reports_as_they_are(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path
) -> None:
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        publish(api, a_report(minutes_ago(1), views=400))
        page.goto(url)
        expect(metric(page, "events")).to_have_text("414")
        account = page.locator(".st-key-accounting")
        expect(account).to_have_count(0)  # nothing to say yet

        with report_store_connection(empty_store) as connection:
            connection.execute("ALTER TABLE minutes RENAME TO gone")
        expect(account).to_contain_text("The ledger cannot be read")
        expect(account).to_contain_text("has no tables yet")
        expect(notice(page)).to_have_count(0)

        publish(api, a_report(minutes_ago(1), views=401))
        expect(metric(page, "events")).to_have_text("415")

        with report_store_connection(empty_store) as connection:
            connection.execute("ALTER TABLE gone RENAME TO minutes")
        expect(account).to_have_count(0)

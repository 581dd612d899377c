"""The page of live windows in a browser: its numbers, what is streamed and what is final, new rows without a reload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from etar.alerts.numbers import Sample
from etar.alerts.silences import silence
from etar.clients import report_store_connection
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from tests.alert_looks import a_silence, grow_old, looked
from tests.browser.conftest import dashboard, look_at
from tests.browser.test_dashboard import metric, notice
from tests.integration.dashboard.serving import serving
from tests.live_windows import define_rides, keep, make_table, row

expect.set_options(timeout=30_000)

RIDES = "rides"


@pytest.fixture
def url(empty_store: ReportStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard of a stream with live windows, of which there is none yet, and of the first stream."""
    define_rides(tmp_path / "streams", RIDES, RIDES)
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", f"streams:{tmp_path / 'streams'}")
    monkeypatch.setenv("ETAR_STREAMS", f"user_interactions {RIDES}")
    make_table(empty_store, RIDES)
    with ExitStack() as running:
        api = running.enter_context(serving(empty_store, tmp_path / "api.log"))
        yield running.enter_context(dashboard(api.url, tmp_path / "ui.log"))


def test_windows_appear_grow_and_become_final_without_a_reload(
    page: Page, url: str, empty_store: ReportStoreSettings
) -> None:
    now = datetime.now(UTC)
    current = MinuteWindow.containing(now)
    before = current.previous

    page.goto(url)
    page.get_by_role("link", name="Rides by city").first.click()
    expect(notice(page)).to_contain_text("No windows yet")
    page.evaluate("window.notReloaded = true")
    look_at(page, "live-empty")

    keep(
        empty_store,
        RIDES,
        row(before, "Oslo", "100.50", 10, updated_at=now),
        row(current, "Oslo", "20.25", 2, updated_at=now),
        row(current, "Bodø", "1.00", 1, updated_at=now),
    )
    expect(notice(page)).to_have_count(0)
    expect(metric(page, "window")).to_have_text(f"{current.start:%H:%M}")
    expect(metric(page, "total")).to_have_text("21.25")
    expect(metric(page, "rides")).to_have_text("3")
    expect(metric(page, "total-total")).to_have_text("121.75")
    expect(metric(page, "rides-total")).to_have_text("13")
    expect(metric(page, "final")).to_have_text("0 of 2")
    bars = page.locator(".st-key-newest-window")
    expect(bars).to_contain_text(f"Window {current.start:%H:%M} UTC by city · streamed")
    expect(bars).to_contain_text("20.25 · 2")
    for city in ("Oslo", "Bergen", "Bodø"):
        expect(bars.locator(".ytick").get_by_text(city)).to_have_count(1)
    lines = page.locator(".st-key-windows-over-time .js-plotly-plot")
    # The total, and each city.
    expect(lines.locator(".scatterlayer .trace")).to_have_count(4)
    expect(lines.locator(".shapelayer path")).not_to_have_count(0)

    keep(
        empty_store,
        RIDES,
        row(before, "Oslo", "110.50", 11, streamed=("100.50", 10), revision=1, updated_at=now),
        row(current, "Oslo", "30.25", 3, updated_at=now),
    )
    expect(metric(page, "total")).to_have_text("31.25")
    expect(metric(page, "total-total")).to_have_text("141.75")
    expect(metric(page, "final")).to_have_text("1 of 2")
    assert page.evaluate("window.notReloaded") is True


def test_a_job_that_adds_nothing_is_named_and_a_table_that_is_gone(
    page: Page, url: str, empty_store: ReportStoreSettings
) -> None:
    then = datetime.now(UTC) - timedelta(hours=2)
    keep(empty_store, RIDES, row(MinuteWindow.containing(then), "Oslo", "1.00", 1, updated_at=then))
    page.goto(f"{url}/{RIDES}-live")
    expect(notice(page)).to_contain_text("Nothing new for 2 h")
    expect(metric(page, "total")).to_have_text("1.00")

    with report_store_connection(empty_store) as connection:
        connection.execute(b"DROP TABLE rides")
    expect(notice(page)).to_contain_text('relation "rides" does not exist')
    expect(metric(page, "total")).to_have_text("1.00")


def test_the_system_page_says_what_fires_and_what_nobody_knows(
    page: Page, url: str, empty_store: ReportStoreSettings
) -> None:
    rides = Stream(RIDES)
    of_rides = {"stream": RIDES}
    page.goto(f"{url}/system")
    alerts = page.locator(".st-key-alerts")
    expect(page.get_by_text("nobody has looked at the alerts yet")).to_be_visible()
    expect(alerts).to_contain_text("Not known")

    looked(empty_store, [rides], Sample("etar_minutes_missing", of_rides, 3), Sample("etar_kafka_up", {}, 1))
    expect(alerts).to_contain_text("1 firing, ")
    expect(alerts).to_contain_text("without data")
    expect(alerts).to_contain_text("Told to team.")
    expect(alerts).to_contain_text("MinutesMissing rides since 20")
    expect(alerts).to_contain_text("No run has taken 3 minutes of rides that are over")
    expect(page.locator(".st-key-numbers canvas").first).to_be_visible()
    with report_store_connection(empty_store) as connection:
        silence(connection, a_silence("MinutesMissing"))
    expect(alerts).to_contain_text("1 firing (1 silenced)")
    expect(alerts).to_contain_text("by me: known")
    look_at(page, "system")

    grow_old(empty_store, 61)
    expect(page.get_by_text("nobody has looked at the alerts for")).to_be_visible()
    expect(alerts).to_contain_text("Not known")


def test_a_hundred_windows(page: Page, url: str, empty_store: ReportStoreSettings) -> None:
    now = datetime.now(UTC)
    current = MinuteWindow.containing(now)
    cities = ("Oslo", "Bergen", "Bodø", "Tromsø", "Hamar", "Molde")
    rows = []
    for back in range(130):
        window = MinuteWindow(current.start - timedelta(minutes=back))
        for place, city in enumerate(cities):
            rides = 40 + 9 * place + (back * (place + 3)) % 17
            total = f"{rides * 21}.{back % 100:02}"
            streamed = (f"{rides * 21 - 21}.{back % 100:02}", rides - 1) if back % 40 == 30 and not place else None
            revision = None if back < 3 else 1 + (back % 40 == 30)
            rows.append(row(window, city, total, rides, streamed=streamed, revision=revision, updated_at=now))
    keep(empty_store, RIDES, *rows)

    page.goto(f"{url}/{RIDES}-live")
    expect(metric(page, "final")).to_have_text("97 of 100")
    expect(page.locator(".st-key-windows-over-time")).to_contain_text("Last 100 windows")
    lines = page.locator(".st-key-windows-over-time .js-plotly-plot")
    expect(lines.locator(".scatterlayer .trace")).to_have_count(7)
    page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()
    look_at(page, "live-hundred")

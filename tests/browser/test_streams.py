"""Several streams: an overview, and a page for each, made by its folder or of its reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings, get_settings
from tests.browser.conftest import dashboard, look_at
from tests.browser.test_dashboard import metric, publish
from tests.integration.dashboard.serving import RunningApi, serving
from tests.stream_folders import define
from tests.unit.dashboard.samples import a_report

RIDES_PAGE = """
from etar.page import Bars, Form, Line, Lines, Metric

METRICS = (Metric("fares", "Fares", Form.DECIMAL, "Of all rides"),)
CHARTS = (Bars("By city", "by_city", form=Form.DECIMAL), Lines((Line("fares", "Fares a minute", Form.DECIMAL),)))
"""


def newest() -> MinuteWindow:
    """A minute whose report is fresh now; the collecting of this file may be an hour ago."""
    return MinuteWindow(MinuteWindow.containing(datetime.now(UTC)).start - timedelta(minutes=2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the streams of a test are, beside the first one; all of them are switched on."""
    folder = tmp_path / "streams"
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", f"streams:{folder}")
    monkeypatch.setenv("ETAR_STREAMS", "all")
    monkeypatch.setenv("ETAR_DASHBOARD_OVERDUE_SECONDS", "3600")  # however long a busy machine takes
    get_settings.cache_clear()
    return folder


def post(api: RunningApi, stream: str, minute: MinuteWindow | None = None, **body: Any) -> None:
    events = 7 if body else 0
    envelope = {
        "stream": stream,
        "minute": f"{minute or newest()}",
        "total_events": events,
        "rows_read": events,
        "source_object": None,
    }
    answer = api.writer.post("/report", json=envelope | body)
    assert answer.status_code == 201, answer.text


def test_each_stream_has_a_line_on_the_overview_and_a_page(
    page: Page, empty_store: ReportStoreSettings, folder: Path, tmp_path: Path
) -> None:
    query = {"report.sql": "SELECT sum(amount) AS fares FROM events"}
    define(folder, "rides", **query, **{"page.py": RIDES_PAGE})
    define(folder, "plain", **query)
    define(folder, "silent", **query)
    define(folder, "askew", **query, **{"page.py": "METRICS, CHARTS = 3, ()"})
    define(folder, "broken", **{"stream.toml": "[stream"})
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        publish(api, a_report(newest(), views=400))
        post(api, "rides", fares="12345678901234567890.50", by_city={"berlin": "17.50", "bonn": "3.00"})
        post(api, "plain", fares="12.50", rides=3, by_city={"berlin": 2}, longest=[{"ride": "a", "minutes": 12}])
        post(api, "askew", fares="1.00")

        page.goto(url)

        overview = page.get_by_test_id("stMain")
        line = page.locator(".st-key-stream-rides")
        expect(line).to_contain_text("7 events")
        expect(line).to_contain_text("fresh newest minute ended")
        expect(page.locator(".st-key-stream-user_interactions")).to_contain_text("414 events")
        expect(page.locator(".st-key-stream-silent")).to_contain_text("waiting for its first minute")
        expect(overview).to_contain_text("etar · streams")
        expect(page.locator(".st-key-stream-broken")).to_contain_text("fault ")
        expect(page.locator(".st-key-stream-broken")).to_contain_text("is not TOML")

        look_at(page, "overview")

        line.get_by_role("link", name="Rides").click()
        expect(metric(page, "fares")).to_have_text("12,345,678,901,234,567,890.50")
        expect(page.locator(".st-key-by-city .js-plotly-plot")).to_contain_text("17.50")
        expect(page.locator(".st-key-history .js-plotly-plot")).to_contain_text("Fares a minute")
        assert page.url.endswith("/rides")

        page.goto(f"{url}/plain")
        expect(metric(page, "events")).to_have_text("7")
        expect(metric(page, "rides")).to_have_text("3")
        expect(page.locator(".st-key-by-city .js-plotly-plot")).to_contain_text("Berlin")
        cells = page.locator(".st-key-longest").get_by_test_id("stDataFrame").locator("[role=gridcell]")
        expect(cells.filter(has_text="12")).to_have_count(1)
        look_at(page, "stream-own")

        # A minute without events says nothing of what the others have.
        post(api, "plain", newest().next)
        expect(metric(page, "events")).to_have_text("0")
        expect(metric(page, "rides")).to_have_text("-")
        expect(page.locator(".st-key-history")).to_contain_text("Rides")

        page.goto(f"{url}/askew")
        expect(metric(page, "fares")).to_have_text("1.00")
        expect(page.get_by_test_id("stAlert").filter(has_text="is no tuple of etar.page's Metric")).to_have_count(1)


def test_a_stream_that_is_switched_off_keeps_its_page_while_it_has_reports(
    page: Page, empty_store: ReportStoreSettings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(folder, "rides", **{"report.sql": "SELECT sum(amount) AS fares FROM events"})
    monkeypatch.setenv("ETAR_STREAMS", "user_interactions")
    with serving(empty_store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        publish(api, a_report(newest()))
        page.goto(url)
        expect(metric(page, "events")).to_have_text("114")  # the only one: no overview before it

        post(api, "rides", fares="12.50")
        page.goto(f"{url}/rides")
        expect(metric(page, "fares")).to_have_text("12.50")

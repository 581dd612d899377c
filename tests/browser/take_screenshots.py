"""The screenshots of README and docs, of a running stack: ``.venv/bin/python -m tests.browser.take_screenshots [DIR]``.

Needs Debian's chromium. Let the stack run for half an hour first, so that there is something to see.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from cli.context import DEFAULT_FOLDER, existing_stack
from etar.streams import DEFAULT_STREAM
from stack.layout import REPOSITORY
from stack.parts import Stack, airflow
from tests.browser.conftest import ARGUMENTS, CHROMIUM

IMAGES = REPOSITORY / "docs" / "images"


def take_dashboard(browser: Browser, stack: Stack) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1300})
    page.goto(f"http://127.0.0.1:{stack.settings.port('DASHBOARD')}")
    page.get_by_text("Last updated").wait_for()
    page.locator(".st-key-history-chart svg.main-svg").first.wait_for()
    page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / "dashboard.png")


def take_minutes(browser: Browser, dashboard: str) -> None:
    """Of the newest day, with its first minute that wants a look, or else its newest."""
    page = browser.new_page(viewport={"width": 1280, "height": 1900})
    page.goto(f"{dashboard}/{DEFAULT_STREAM}-minutes")
    page.locator(".st-key-calendar .heatmaplayer image").wait_for()
    wanted = page.get_by_role("button", name="Next that wants a look")
    if wanted.is_enabled():
        wanted.click()
    else:
        at = page.get_by_label("Minute (UTC)")
        at.fill(f"{datetime.now(UTC) - timedelta(minutes=2):%H:%M}")
        at.press("Enter")
    page.locator(".st-key-steps canvas").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / "minutes.png")


def take_airflow(browser: Browser, stack: Stack) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    base = f"http://127.0.0.1:{stack.settings.port('AIRFLOW')}"
    login = json.loads(airflow.passwords_file(stack).read_text())
    page.goto(f"{base}/auth/login")
    page.locator("input[name=username]").fill(airflow.ADMIN)
    page.locator("input[name=password]").fill(login[airflow.ADMIN])
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "login" not in url)
    page.goto(f"{base}/dags/etar_pipeline")
    page.get_by_text("settle, extract").first.wait_for()
    # The grid shows as many runs as it has room for: pull its border to the right.
    page.mouse.move(316, 600)
    page.mouse.down()
    page.mouse.move(760, 600, steps=10)
    page.mouse.up()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / "airflow-grid.png")


def main() -> None:
    stack = existing_stack(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        take_dashboard(browser, stack)
        take_minutes(browser, f"http://127.0.0.1:{stack.settings.port('DASHBOARD')}")
        take_airflow(browser, stack)
        browser.close()


if __name__ == "__main__":
    main()

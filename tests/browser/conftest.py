"""A headless Chromium, and the dashboard on a report API and a database of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import running_server
from tests.integration.dashboard.serving import READ_TOKEN
from tests.ports import free_ports

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; the browser tests need Debian's Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


@contextmanager
def dashboard(api_url: str, log: Path, *, base_path: str = "") -> Iterator[str]:
    """The dashboard as it is run for real, but quicker to refresh; yields its address, without ``base_path``."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    environment = {
        "ETAR_API_URL": api_url,
        "ETAR_API_READ_TOKEN": READ_TOKEN,
        "ETAR_DASHBOARD_REFRESH_SECONDS": "0.5",
    }
    command = ["streamlit", "run", "dashboard/ui/app.py", "--server.headless", "true"]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port), "--server.baseUrlPath", base_path]
    with running_server(command, environment, log, answers_at=f"{url}{base_path}/_stcore/health"):
        yield url


def picture(page: Page, name: str) -> None:
    """For whoever wants to look: into the folder ``ETAR_TEST_PICTURES``."""
    if folder := os.environ.get("ETAR_TEST_PICTURES"):
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

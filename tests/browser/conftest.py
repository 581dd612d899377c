"""A headless Chromium, and the dashboard on a report API and a database of the test's own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from pydantic import SecretStr

from etar.migrations import apply_postgres
from etar.settings import ReportStoreSettings
from stack.layout import REPOSITORY
from stack.parts import Stack
from stack.parts.postgres import create_database
from stack.waiting import wait_until
from tests.conftest import free_ports
from tests.integration.dashboard.serving import READ_TOKEN

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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


@pytest.fixture
def empty_store(report_store: ReportStoreSettings, parts_stack: Stack) -> ReportStoreSettings:
    """A report store without a report: the shared one has minutes of other tests that are newer than any of today."""
    name, password = f"browser_{secrets.token_hex(8)}", secrets.token_hex(16)
    create_database(parts_stack, name, password)
    store = report_store.model_copy(update={"database": name, "user": name, "password": SecretStr(password)})
    apply_postgres(store, REPOSITORY / "sql" / "postgres")
    return store


@contextmanager
def dashboard(api_url: str, log: Path) -> Iterator[str]:
    """The dashboard as it is run for real, but quicker to refresh; yields its address."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "ETAR_API_URL": api_url,
        "ETAR_API_READ_TOKEN": READ_TOKEN,
        "ETAR_DASHBOARD_REFRESH_SECONDS": "0.5",
    }
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/ui/app.py", "--server.headless", "true"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--server.address", "127.0.0.1", "--server.port", str(port)],
            cwd=REPOSITORY,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/_stcore/health", timeout=10).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, timeout=60, what=f"the dashboard to answer ({log})")
        yield url
    finally:
        process.terminate()
        process.wait(20)

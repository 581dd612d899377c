"""A headless Chromium, and the dashboard on a report API and a database of the test's own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from stack.waiting import wait_until
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


DESK: ViewportSize = {"width": 1280, "height": 900}
# As high as a whole page, which scrolls in a part of itself: a picture has all of it, and axe sees it.
LOOKS: dict[str, ViewportSize] = {"phone": {"width": 390, "height": 3200}, "desk": {"width": 1280, "height": 2000}}
# Streamlit dims what is just drawn anew: twice a second here, and on a slow machine for most of the time.
AS_AT_REST = "* { transition: none !important } [data-stale], .stExpander, .stExpander * { opacity: 1 !important }"


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
    page = browser.new_page(viewport=DESK)
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


def look_at(page: Page, name: str) -> None:
    """Hold a page as it stands, light and dark, to axe's rules, and to the width of a phone.

    With ``ETAR_TEST_PICTURES`` its pictures are in that folder, for whoever wants to look.
    """
    folder = os.environ.get("ETAR_TEST_PICTURES")
    page.add_style_tag(content=AS_AT_REST)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        has_changed = partial(_is_drawn_in, page, scheme)
        wait_until(has_changed, timeout=30, what=f"the {scheme} theme of {name}")
        for of, size in LOOKS.items():
            page.set_viewport_size(size)
            wait_until(partial(_fits, page), timeout=30, what=f"{name} to fit in {size['width']} pixels ({of})")
            if folder:
                page.wait_for_load_state("networkidle")
                page.screenshot(path=Path(folder) / f"{name}-{of}-{scheme}.png", full_page=True)
        _hold_to_rules(page, f"{name}, {scheme}")
    page.set_viewport_size(DESK)


def _is_drawn_in(page: Page, scheme: str) -> bool:
    background = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    red, green, blue = (int(each) for each in re.findall(r"\d+", page.evaluate(background))[:3])
    return (red + green + blue < 3 * 128) is (scheme == "dark")


def _fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def _hold_to_rules(page: Page, name: str) -> None:
    """What a refresh takes away while axe reads is there again a moment later: a finding is one that stays."""
    found: list[str] = []

    def is_clean() -> bool:
        results = Axe().run(page, options={"resultTypes": ["violations"]})
        found[:] = [
            results.generate_report(each["id"])
            for each in results.response["violations"]
            if each["impact"] in ("serious", "critical") and not all(map(_is_of_a_spark_line, each["nodes"]))
        ]
        return not found

    try:
        wait_until(is_clean, timeout=20, what=name, interval=1)
    except TimeoutError:
        pytest.fail(f"axe on {name}:\n" + "\n".join(found))


def _is_of_a_spark_line(node: dict[str, Any]) -> bool:
    """Streamlit 1.67 draws that of a metric with Vega, which leaves groups of marks without a name; the number stands
    beside it."""
    return "metric_chart_" in node["html"] and 'role="graphics-symbol"' in node["html"]

"""Dashboard and API under a path of a reverse proxy: a real nginx, with the example of the docs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from etar.settings import ReportStoreSettings
from stack.layout import REPOSITORY
from tests.browser.conftest import dashboard
from tests.browser.test_dashboard import publish
from tests.conftest import running_program
from tests.integration.dashboard.serving import READ_TOKEN, bearer, serving
from tests.integration.dashboard.test_report_events import Listener
from tests.ports import free_ports
from tests.unit.dashboard.samples import MINUTE, a_report

EXAMPLE = REPOSITORY / "docs" / "nginx.conf"


@contextmanager
def proxy(folder: Path, *, api: str, ui: str) -> Iterator[str]:
    """The example in force, with these addresses in place of the default ones; yields its own."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        pytest.fail(
            "nginx is missing; this test needs it (Debian 12: apt-get install --no-install-recommends nginx-light)"
        )
    port = free_ports(1)[0]
    server = EXAMPLE.read_text().replace("127.0.0.1:8088", f"127.0.0.1:{port}")
    for known, mine in (("http://127.0.0.1:8000", api), ("http://127.0.0.1:8501", ui)):
        assert known in server
        server = server.replace(known, mine)
    places = "".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder / 'nginx.pid'}; events {{}}\nhttp {{ access_log off; {places}\n{server}}}\n"
    )
    command = [nginx, "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    with running_program(
        command, {}, folder / "nginx.log", answers_at=f"http://127.0.0.1:{port}/etar/api/openapi.json"
    ):
        yield f"http://127.0.0.1:{port}"


def test_under_a_path_of_a_proxy_everything_works(
    page: Page, empty_store: ReportStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        serving(empty_store, tmp_path / "api.log") as api,
        dashboard(api.url, tmp_path / "ui.log", base_path="/etar") as ui,
        proxy(tmp_path, api=api.url, ui=ui) as outside,
    ):
        described = httpx.get(f"{outside}/etar/api/v1/openapi.json").json()
        assert "/report" in described["paths"]
        listening = httpx.stream("GET", f"{outside}/etar/api/v1/reports/events", headers=bearer(READ_TOKEN), timeout=60)
        with listening as events:
            told = Listener(events)
            publish(api, a_report(MINUTE, views=400))
            assert told.next()["minute"] == "2025-11-21T10:31:00Z"
        first, second = (a_report(each, views=5) for each in (MINUTE.next, MINUTE.next.next))
        publish(api, first)
        publish(api, second)
        page_of_one = httpx.get(f"{outside}/etar/api/v1/reports?limit=1", headers=bearer(READ_TOKEN))
        earlier = httpx.get(page_of_one.url.join(page_of_one.links["next"]["url"]), headers=bearer(READ_TOKEN))
        assert [each["minute"] for each in earlier.json()] == ["2025-11-21T10:32:00Z"]

        page.goto(f"{outside}/etar/")
        expect(page.get_by_test_id("stMain")).to_contain_text("2025-11-21")
        page.goto(f"{outside}/etar/system")
        expect(page.get_by_test_id("stMain")).to_contain_text("etar · system")

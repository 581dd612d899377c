"""The site of the docs in a browser that reaches no other host: it looks as it should, and its search finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, Route, expect

from handbook.site import build


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("docs") / "site"
    build(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_search_finds_a_heading_and_nothing_is_asked_of_another_host(page: Page, site: str) -> None:
    elsewhere: list[str] = []

    def only_here(route: Route) -> None:
        if route.request.url.startswith(f"{site}/"):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    page.route("**/*", only_here)
    page.goto(f"{site}/index.html")
    expect(page.get_by_role("img", name="The dashboard")).to_be_visible()

    page.keyboard.press("/")
    page.keyboard.type("begin anew")
    page.get_by_role("option", name="etar topic begin-anew").first.click()

    expect(page.get_by_role("heading", name="etar topic begin-anew")).to_be_in_viewport()
    assert page.url.startswith(f"{site}/docs/commands.html")
    assert elsewhere == []

"""The page that says where one event is, on the real API and real places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import dashboard, look_at
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import new_world  # noqa: F401  (a fixture)
from tests.integration.conftest import accounted, new_accounted, settings_of_stack  # noqa: F401  (fixtures)
from tests.integration.dashboard.serving import RunningApi, serving
from tests.unit.records.events import event


@pytest.fixture
def api(accounted: AccountedWorld, tmp_path: Path) -> Iterator[RunningApi]:  # noqa: F811
    with serving(accounted.store, tmp_path / "api.log") as api:
        yield api


@pytest.fixture
def url(api: RunningApi, tmp_path: Path) -> Iterator[str]:
    with dashboard(api.url, tmp_path / "ui.log") as url:
        yield url


def test_an_event_is_shown_step_by_step_and_its_address_can_be_handed_on(
    page: Page,
    accounted: AccountedWorld,  # noqa: F811
    url: str,
) -> None:
    value = accounted.good_of(1, 1)
    accounted.send(value, at=accounted.earlier(1).start + timedelta(seconds=40), partition=1)
    accounted.sink()
    accounted.report(1)
    stream, number = accounted.stream.name, str(event(0)["event_id"])

    page.goto(f"{url}/trace?{urlencode({'stream': stream, 'id': number})}")

    found = page.locator(".st-key-record-1-0")
    expect(found).to_contain_text("counted", timeout=60_000)
    expect(found.get_by_role("row", name="report done")).to_contain_text("revision 1 of")
    expect(found.get_by_role("row", name="audit waiting")).to_contain_text("the audit comes to it")
    expect(page.get_by_label("event_id")).to_have_value(number)
    look_at(page, "trace")

    page.get_by_label("event_id").fill(str(event(1)["event_id"]))
    page.get_by_role("button", name="Trace").click()
    answer = page.locator(".st-key-trace-answer")
    expect(answer).to_contain_text("Not there: it is in no place that was searched", timeout=60_000)
    expect(answer).to_contain_text("minutes from")
    expect(page).to_have_url(re.compile(str(event(1)["event_id"])))

    page.get_by_label("event_id").fill("no uuid")
    page.get_by_role("button", name="Trace").click()
    expect(answer).to_contain_text("event_id (UUID)", timeout=60_000)


def test_nothing_is_asked_before_something_is_given(page: Page, url: str) -> None:
    page.goto(f"{url}/trace")
    page.get_by_role("button", name="Trace").click()

    expect(page.locator(".st-key-trace-answer")).to_contain_text("Give the event's id")

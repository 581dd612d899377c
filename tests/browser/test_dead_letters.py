"""The page of dead letters in a browser: reasons, filters, one letter in full, and the states in which it has little to
show. On the real API and the real warehouse's engine."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from etar.dead_letter_office.office import open_office
from etar.dead_letters.letters import LetterId, Selection
from tests.browser.conftest import dashboard, look_at
from tests.browser.test_dashboard import notice, publish
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import new_world  # noqa: F401  (a fixture)
from tests.integration.conftest import accounted, new_accounted, settings_of_stack  # noqa: F401  (fixtures)
from tests.integration.dashboard.serving import serving
from tests.integration.dead_letters.test_answers import bad_user, with_letters
from tests.ports import free_ports
from tests.unit.dashboard.samples import a_report

expect.set_options(timeout=60_000)


def reasons(page: Page) -> Locator:
    return page.locator(".st-key-reasons")


def letter(page: Page) -> Locator:
    return page.locator(".st-key-letter")


def address(url: str, world: AccountedWorld, query: str = "") -> str:
    return f"{url}/{world.stream.name}-dead-letters?day={world.minute.start:%Y-%m-%d}{query}"


def test_reasons_are_seen_and_one_letter_is_shown_in_full(
    page: Page,
    accounted: AccountedWorld,  # noqa: F811
    tmp_path: Path,
) -> None:
    with_letters(accounted)
    earlier = accounted.minute.start - timedelta(seconds=10)
    accounted.send([bad_user(accounted, 9)], at=earlier, partition=0)
    accounted.sink()
    with open_office(accounted.stream, command="a test", say=lambda _: None) as office:
        list(office.discard(Selection(ids=(LetterId(1, 3),)), "an <i>empty</i> one", undo=False, apply=True))

    with serving(accounted.store, tmp_path / "api.log") as api, dashboard(api.url, tmp_path / "ui.log") as url:
        publish(api, a_report(accounted.minute, stream=accounted.stream.name))  # which has a page from then on
        page.goto(address(url, accounted))
        expect(reasons(page)).to_contain_text("missing or wrong field")
        expect(reasons(page).locator(".barlayer .bars")).not_to_have_count(0)
        expect(letter(page)).to_contain_text("Choose a letter")
        look_at(page, "dead-letters-day")

        letter(page).get_by_label("Letter").fill("1:0")
        letter(page).get_by_label("Letter").press("Enter")
        expect(letter(page)).to_contain_text("1:0 · missing or wrong field · open")
        expect(letter(page)).to_contain_text("At fault: user_id")
        cells = letter(page).locator(".st-key-fields [role=gridcell]")
        expect(cells.filter(has_text="▶")).to_have_count(1)
        expect(cells.filter(has_text='"<b>x</b>"')).to_have_count(1)
        expect(letter(page).locator("b", has_text=re.compile("^x$"))).to_have_count(0)
        fix = 'etar dead-letters fix 1:0 --patch \'[{"op": "replace", "path": "/user_id"'
        expect(letter(page).get_by_test_id("stCode").filter(has_text=fix)).to_have_count(1)
        expect(letter(page)).to_contain_text("Waiting: it is neither replayed nor discarded")
        expect(page).to_have_url(re.compile(r"letter=1(:|%3A)0"))
        look_at(page, "dead-letters")

        page.goto(address(url, accounted, "&letter=1:3"))
        expect(letter(page)).to_contain_text("1:3 · null value · discarded")
        expect(letter(page)).to_contain_text("an <i>empty</i> one")
        expect(letter(page).get_by_test_id("stCode").filter(has_text="--undo")).to_have_count(1)

        page.goto(address(url, accounted, "&reason=truncated"))
        expect(reasons(page)).to_contain_text("1 dead letter on")

        page.goto(address(url, accounted, "&state=replayed"))
        expect(notice(page)).to_contain_text("Take a filter away")
        expect(page.locator(".st-key-letters")).to_have_count(0)
        look_at(page, "dead-letters-none-fits")

        page.goto(address(url, accounted, "&letter=1:99"))
        expect(letter(page)).to_contain_text("1:99 is no dead letter")

        page.goto(address(url, accounted, "&reason=bad"))
        expect(page.get_by_text("The address of this page is not understood")).to_be_visible()


def test_a_day_without_letters_fills_without_a_reload_and_what_is_away_is_named(
    page: Page,
    accounted: AccountedWorld,  # noqa: F811
    tmp_path: Path,
) -> None:
    port = free_ports(1)[0]
    with dashboard(f"http://127.0.0.1:{port}", tmp_path / "ui.log") as url:
        with serving(accounted.store, tmp_path / "api.log", port=port) as api:
            publish(api, a_report(accounted.minute, stream=accounted.stream.name))  # which has a page from then on
            page.goto(address(url, accounted))
            expect(notice(page)).to_contain_text("No dead letters on")
            look_at(page, "dead-letters-empty")
            page.evaluate("window.notReloaded = true")
            with_letters(accounted)
            expect(reasons(page)).to_contain_text("4 dead letters")

        expect(notice(page)).to_contain_text("Below is what was known at")
        expect(reasons(page)).to_contain_text("4 dead letters")
        assert page.evaluate("window.notReloaded") is True

        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ETAR_WAREHOUSE_PORT", str(free_ports(1)[0]))
            with serving(accounted.store, tmp_path / "api.log", port=port):
                expect(notice(page)).to_contain_text("the warehouse does not give the answer")
                expect(notice(page)).to_contain_text("Below is what was known at")
                expect(reasons(page)).to_contain_text("4 dead letters")
                look_at(page, "dead-letters-stale")

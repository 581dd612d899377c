"""What several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import httpx
import pytest

from etar.clients import report_store_connection, trusted_certificates
from etar.settings import ObjectStoreSettings, ReportApiSettings, ReportReadSettings, ReportStoreSettings, get_settings
from etar.streams import DEFAULT_STREAM
from stack.parts import Stack
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import World, new_world  # noqa: F401  (a fixture)


@pytest.fixture
def settings_of_stack(report_api: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in report_api.settings.starting_with("ETAR_").items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


@pytest.fixture
def new_accounted(
    settings_of_stack: None,
    new_world: Callable[..., World],  # noqa: F811
    object_store: ObjectStoreSettings,
    report_store: ReportStoreSettings,
) -> Iterator[Callable[..., AccountedWorld]]:
    """Makes streams with all five places, like the first or like another."""
    url = get_settings(ReportReadSettings).url
    headers = {"Authorization": f"Bearer {get_settings(ReportApiSettings).write_token.get_secret_value()}"}
    with ExitStack() as opened:
        api = opened.enter_context(
            httpx.Client(base_url=url, headers=headers, timeout=60, verify=trusted_certificates())
        )

        def make(other: str = DEFAULT_STREAM, **topic_settings: str) -> AccountedWorld:
            books = opened.enter_context(closing(report_store_connection(report_store)))
            return AccountedWorld(
                **vars(new_world(other, **topic_settings)), objects=object_store, api=api, books=books
            )

        yield make


@pytest.fixture
def accounted(new_accounted: Callable[..., AccountedWorld]) -> AccountedWorld:
    return new_accounted()

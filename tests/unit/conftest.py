"""Units are given their settings: those of this machine, or of parts that other tests run, are none of theirs."""

from __future__ import annotations

import os

import pytest

from etar.settings import get_settings


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ETAR_")]:
        monkeypatch.delenv(name)
    get_settings.cache_clear()

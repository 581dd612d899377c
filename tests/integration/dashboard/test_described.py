"""Whatever the API is asked, it answers as it says; with more questions in tests/long/test_described.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etar.api_tokens import Role
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.described import assert_each_answer_is_described, unlimited
from tests.integration.dashboard.serving import RunningApi


@pytest.fixture(scope="module")
def api(report_store: ReportStoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with unlimited(report_store, tmp_path_factory.mktemp("unlimited")) as running:
        yield running


@pytest.mark.parametrize("role", Role)
def test_whatever_is_asked_the_answer_is_described(
    api: RunningApi, report_store: ReportStoreSettings, role: Role, tmp_path: Path
) -> None:
    assert_each_answer_is_described(api, report_store, role, tmp_path, phases="examples,fuzzing", examples=5)

"""Whatever the API is asked, it answers as it says: every value at its bounds, and many more that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from etar.api_tokens import Role
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.described import assert_each_answer_is_described, unlimited


@pytest.mark.parametrize("role", Role)
@pytest.mark.timeout(1800)
def test_whatever_is_asked_the_answer_is_described(
    report_store: ReportStoreSettings, role: Role, tmp_path: Path
) -> None:
    with unlimited(report_store, tmp_path) as api:
        assert_each_answer_is_described(
            api, report_store, role, tmp_path, phases="examples,coverage,fuzzing", examples=100
        )

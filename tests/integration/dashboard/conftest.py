from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from etar.settings import ReportStoreSettings
from tests.integration.dashboard.serving import RunningApi, serving
from tests.stream_folders import like_the_first


@pytest.fixture(scope="session")
def api(report_store: ReportStoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """The report API on the real report store."""
    log: Path = tmp_path_factory.mktemp("api") / "api.log"
    with serving(report_store, log) as running:
        yield running


@pytest.fixture
def stream() -> str:
    """A stream of the test's own: the store is shared, and nothing in it is ever deleted."""
    return like_the_first(f"stream_{uuid4().hex[:12]}").name

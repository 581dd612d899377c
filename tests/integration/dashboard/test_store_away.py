from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from dashboard.ui.client import ReportClient, ReportsUnavailableError
from etar.settings import ReportStoreSettings
from etar.streams import DEFAULT_STREAM
from stack.parts import Stack
from tests.conftest import running_part
from tests.integration.dashboard.serving import RunningApi, serving
from tests.unit.dashboard.samples import MINUTE, a_report


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Stop a process and its children where they are, as a hung disk would, and let them go on afterwards."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pids = [pid, *map(int, children)]
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        # PostgreSQL's children come and go: one that has ended meanwhile needs no signal.
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def post(api: RunningApi, *, views: int) -> httpx.Response:
    return api.writer.post("/report", json=a_report(views=views).model_dump(mode="json"))


def assert_away(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert "does not answer" in response.json()["detail"]


def test_the_api_says_that_its_store_is_away_and_recovers_by_itself(own_stack: Stack, tmp_path: Path) -> None:
    store = own_stack.settings.of(ReportStoreSettings)
    with serving(store, tmp_path / "api.log") as api:
        assert_away(api.stranger.get("/health"))  # the API is up before its store ever was

        with running_part("postgres", own_stack):
            assert api.stranger.get("/health").status_code == 200
            assert post(api, views=1).json()["revision"] == 1
            with ThreadPoolExecutor(20) as pool:
                assert {r.status_code for r in pool.map(lambda _: api.reader.get("/reports"), range(100))} == {200}

        for _ in range(2):
            assert_away(api.stranger.get("/health"))
            assert_away(api.reader.get("/report"))
            assert_away(api.reader.get("/minutes"))
            assert_away(api.reader.get(f"/minutes/{MINUTE}"))
            assert_away(post(api, views=2))
        with pytest.raises(ReportsUnavailableError, match="answers 503"):
            ReportClient(api.read_settings).newest(DEFAULT_STREAM, 1)

        with running_part("postgres", own_stack):
            # No patience asked for: the first request after the outage works.
            assert api.stranger.get("/health").status_code == 200
            assert post(api, views=2).json()["revision"] == 2
            assert api.reader.get("/report").json()["event_types"]["view"]["success"] == 2

    password = store.password.get_secret_value()
    assert password not in api.log.read_text()


def test_a_store_that_hangs_is_away_within_seconds(own_stack: Stack, tmp_path: Path) -> None:
    with (
        running_part("postgres", own_stack) as pid,
        serving(own_stack.settings.of(ReportStoreSettings), tmp_path / "api.log") as api,
    ):
        assert post(api, views=1).status_code == 201

        with suspended(pid):
            before = datetime.now(UTC)
            assert_away(api.reader.get("/report", params={"minute": str(MINUTE)}))
            assert (datetime.now(UTC) - before).total_seconds() < 20

        assert api.reader.get("/report", params={"minute": str(MINUTE)}).status_code == 200


def test_a_store_without_tables_is_named(report_store: ReportStoreSettings, tmp_path: Path) -> None:
    import psycopg

    empty = report_store.model_copy(update={"database": "postgres"})
    with psycopg.connect(
        host=empty.host,
        port=empty.port,
        dbname=empty.database,
        user=empty.user,
        password=empty.password.get_secret_value(),
    ) as connection:
        assert connection.execute("SELECT to_regclass('reports')").fetchone() == (None,)

    with serving(empty, tmp_path / "api.log") as api:
        response = api.stranger.get("/health")

    assert response.status_code == 503
    assert "has no tables yet" in response.json()["detail"]

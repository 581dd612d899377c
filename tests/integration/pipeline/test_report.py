"""The report task against the real API on its real store, through Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from etar.minute import MinuteWindow
from etar.pipeline import steps
from etar.pipeline.publish import ReportRefusedError
from etar.report import Outcomes, Report
from etar.settings import ObjectStoreSettings, ReportStoreSettings
from etar.streams import USER_INTERACTIONS
from stack.parts import Stack
from tests.conftest import free_ports, running_part

pytestmark = pytest.mark.usefixtures("s3_connection")


@pytest.fixture(scope="module")
def api(report_store: ReportStoreSettings, parts_stack: Stack) -> Iterator[Stack]:
    with running_part("report-api", parts_stack):
        yield parts_stack


@pytest.fixture
def connect(api: Stack, airflow_connection: Callable[..., None]) -> Callable[..., None]:
    """``connect(port=…, password=…)`` defines ``etar_api``, by default as it should be."""

    def define(**changes: object) -> None:
        right = {
            "conn_type": "http",
            "schema": "http",
            "host": "127.0.0.1",
            "port": api.settings.port("API"),
            "password": api.settings["ETAR_API_WRITE_TOKEN"],
        }
        airflow_connection("etar_api", right | changes)

    return define


def latest(api: Stack, window: MinuteWindow) -> dict[str, Any]:
    answer = requests.get(
        f"{api.settings['ETAR_API_URL']}/reports",
        params={"from": str(window), "to": str(window.next)},
        headers={"Authorization": f"Bearer {api.settings['ETAR_API_READ_TOKEN']}"},
        timeout=10,
    )
    answer.raise_for_status()
    body = answer.json()
    (report,) = body if isinstance(body, list) else body["reports"]
    return dict(report)


def store_result(s3: Any, store: ObjectStoreSettings, report: Report) -> None:
    key = USER_INTERACTIONS.result_key(report.window)
    s3.put_object(Bucket=store.bucket, Key=key, Body=report.model_dump_json().encode())


def analysis(window: MinuteWindow, *, events: int) -> Report:
    return Report(
        minute=window.start,
        total_events=events,
        total_errors=1,
        event_types={"view": Outcomes(success=events - 1, error=1)},
        unique_users=1,
        rows_read=events,
        source_object=f"s3a://etar/{USER_INTERACTIONS.extract_key(window)}",
    )


def test_three_runs_are_one_revision_and_other_content_is_the_next(
    window: MinuteWindow, api: Stack, connect: Callable[..., None], s3: Any, object_store: ObjectStoreSettings
) -> None:
    connect()
    store_result(s3, object_store, analysis(window, events=4))
    for _ in range(3):
        assert steps.report({"rows": 4}, window.start, window.end) == {"minute": str(window), "revision": 1}
    store_result(s3, object_store, analysis(window, events=5))
    assert steps.report({"rows": 5}, window.start, window.end) == {"minute": str(window), "revision": 2}
    published = latest(api, window)
    assert (published["total_events"], published["revision"]) == (5, 2)


def test_an_empty_minute_is_published_as_zeros(window: MinuteWindow, api: Stack, connect: Callable[..., None]) -> None:
    connect()
    for _ in range(3):
        assert steps.report({"rows": 0}, window.start, window.end)["revision"] == 1
    published = latest(api, window)
    assert (published["total_events"], published["source_object"]) == (0, None)


def test_a_wrong_token_is_refused_without_saying_it(
    window: MinuteWindow, connect: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    connect(password="not-the-write-token-of-the-api")
    with pytest.raises(ReportRefusedError, match=r"with 40[13]") as refused:
        steps.report({"rows": 0}, window.start, window.end)
    assert "not-the-write-token" not in f"{refused.value} {capfd.readouterr()}"


def test_an_api_that_is_away_is_a_connection_error_to_be_retried(
    window: MinuteWindow, connect: Callable[..., None]
) -> None:
    connect(port=free_ports(1)[0])
    with pytest.raises(requests.ConnectionError):
        steps.report({"rows": 0}, window.start, window.end)

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from dashboard.ui.client import ReportClient, ReportsUnavailableError
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings
from etar.streams import DEFAULT_STREAM
from tests.integration.dashboard.serving import READ_TOKEN, WRITE_TOKEN, RunningApi
from tests.ports import free_ports
from tests.unit.dashboard.samples import a_report

# Later than any other test's minutes: the client reads the stream that they share. A later one yet is refused.
NOW = MinuteWindow.containing(datetime.now(UTC))


def test_the_newest_reports_come_oldest_first(api: RunningApi) -> None:
    reports = [a_report(MinuteWindow(NOW.start - timedelta(minutes=count))) for count in (3, 2, 1, 0)]
    for report in reports:
        api.writer.post("/report", json=report.model_dump(mode="json"))

    found = ReportClient(api.read_settings).newest(DEFAULT_STREAM, 3)

    assert [report.window for report in found] == [report.window for report in reports[1:]]
    assert {report.revision for report in found} == {1}


@pytest.mark.parametrize("token", [WRITE_TOKEN, "unknown"])
def test_a_refused_token_is_named(api: RunningApi, token: str) -> None:
    client = ReportClient(ReportReadSettings(url=api.url, read_token=SecretStr(token)))

    with pytest.raises(ReportsUnavailableError, match="check ETAR_API_READ_TOKEN"):
        client.newest(DEFAULT_STREAM, 1)


def test_an_api_that_is_away_is_named() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"

    with pytest.raises(ReportsUnavailableError, match=f"{url} does not answer"):
        ReportClient(ReportReadSettings(url=url, read_token=SecretStr(READ_TOKEN))).newest(DEFAULT_STREAM, 1)


@pytest.mark.parametrize(
    ("path", "message"),
    [("/openapi.json?x=", "no reports: is it the report API"), ("/nowhere", "answers 404: Not Found")],
)
def test_what_is_not_the_report_api_is_named(api: RunningApi, path: str, message: str) -> None:
    client = ReportClient(ReportReadSettings(url=f"{api.url}{path}", read_token=SecretStr(READ_TOKEN)))

    with pytest.raises(ReportsUnavailableError, match=message):
        client.newest(DEFAULT_STREAM, 1)

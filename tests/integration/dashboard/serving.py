"""Runs the report API as it is run for real: its own process, on a free port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from pydantic import SecretStr

from etar.settings import ReportReadSettings, ReportStoreSettings
from stack.waiting import wait_until
from tests.conftest import running_server
from tests.ports import free_ports

READ_TOKEN = "read-token-of-the-tests"
WRITE_TOKEN = "write-token-of-the-tests"
MAX_BODY_BYTES = 20_000
DEPLOYED = datetime(2025, 11, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RunningApi:
    """A report API that answers; clients with either token, or with none."""

    url: str
    log: Path
    reader: httpx.Client
    writer: httpx.Client
    stranger: httpx.Client

    @property
    def read_settings(self) -> ReportReadSettings:
        return ReportReadSettings(url=self.url, read_token=SecretStr(READ_TOKEN))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(api: RunningApi, token: str, path: str = "/streams") -> int:
    return api.stranger.get(path, headers=bearer(token)).status_code


def until(api: RunningApi, token: str, expected: int) -> None:
    """The API sees a change of tokens by itself, after a while that it has told of."""
    wait_until(lambda: status(api, token) == expected, timeout=60, what=f"the API to answer {expected}")


@contextmanager
def serving(store: ReportStoreSettings, log: Path, *, port: int | None = None) -> Iterator[RunningApi]:
    """The report API on ``store``, once it answers anything at all (503 is an answer)."""
    port = port or free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    environment = {
        "ETAR_REPORT_STORE_HOST": store.host,
        "ETAR_REPORT_STORE_PORT": str(store.port),
        "ETAR_REPORT_STORE_DATABASE": store.database,
        "ETAR_REPORT_STORE_USER": store.user,
        "ETAR_REPORT_STORE_PASSWORD": store.password.get_secret_value(),
        "ETAR_API_READ_TOKEN": READ_TOKEN,
        "ETAR_API_WRITE_TOKEN": WRITE_TOKEN,
        "ETAR_API_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "ETAR_PIPELINE_START_DATE": DEPLOYED.isoformat(),
    }
    command = ["uvicorn", "--factory", "dashboard.api.main:create_app", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--timeout-keep-alive", "30"]  # as in stack/parts/reports.py
    with (
        running_server(command, environment, log, answers_at=f"{url}/openapi.json"),
        httpx.Client(base_url=url, headers=bearer(READ_TOKEN), timeout=30) as reader,
        httpx.Client(base_url=url, headers=bearer(WRITE_TOKEN), timeout=30) as writer,
        httpx.Client(base_url=url, timeout=30) as stranger,
    ):
        yield RunningApi(url, log, reader, writer, stranger)

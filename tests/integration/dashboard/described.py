"""Schemathesis asks the routes that the API describes, with what fits and with what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from etar.api_tokens import Role, create
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.serving import RunningApi, serving, until

CHECKS = "status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
# The stream of events has no end; what it says is held in test_report_events.
ENDLESS = "/reports/events"
CONFIG = """\
headers = { Authorization = "Bearer ${TOKEN_OF_ROLE}" }
"""


@contextmanager
def unlimited(store: ReportStoreSettings, folder: Path) -> Iterator[RunningApi]:
    """A report API that may be asked as often as one likes."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ETAR_API_MAX_REQUESTS_A_MINUTE", "0")
        with serving(store, folder / "api.log") as running:
            yield running


def assert_each_answer_is_described(
    api: RunningApi, store: ReportStoreSettings, role: Role, folder: Path, *, phases: str, examples: int
) -> None:
    """Ask with a token of ``role``; ``examples``: made up of each route at most.

    Whatever is asked, the answer has a status, type, headers and shape that are described; and so none is a 500.
    """
    with report_store_connection(store) as connection:
        token = create(connection, f"described-{uuid4().hex[:12]}", role)
    until(api, token, 403 if role is Role.WRITER else 200)
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(config)]
    command += ["run", f"{api.url}/openapi.json", "--checks", CHECKS, "--exclude-path", ENDLESS]
    command += ["--phases", phases, "--max-examples", str(examples), "--continue-on-failure"]
    environment = os.environ | {"TOKEN_OF_ROLE": token}
    found = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-20_000:]
    operations = sum(len(item) for item in api.stranger.get("/openapi.json").json()["paths"].values())
    assert f"Tested: {operations - 1}\n" in found.stdout

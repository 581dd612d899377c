"""What a process imports at its start is what it uses.

The libraries below take from 0.1 to 0.5 s of CPU each, and a test run or a minute of the pipeline starts dozens of
processes. So whoever is the only user of such a library in a module that others import for something light imports it
in the function that needs it, and a package's ``__init__`` imports none of its modules.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stack.configuration import prepare_settings
from stack.layout import Layout

KAFKA = {"confluent_kafka"}
REGISTRY_CLIENT = {"confluent_kafka.schema_registry", "authlib"}
ARROW = {"pyarrow", "numpy", "pandas"}
AVRO = {"fastavro"}
HTTP = {"httpx", "requests"}
WAREHOUSE = {"clickhouse_connect"}
OBJECT_STORE = {"boto3", "botocore"}
POSTGRES = {"psycopg"}
ENGINES = {"chdb", "pyspark"}
COMMAND = {"typer"}
TABLES = {"rich"}
SETTINGS_LIBRARY = {"pydantic_settings", "dotenv"}
SUPERVISOR = {"supervisor"}
TELLING = {"apprise"}
PLACES = KAFKA | REGISTRY_CLIENT | ARROW | AVRO | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES

WITHOUT = {
    # A task's process parses its DAG file: what the steps of other tasks need is not loaded.
    "etar.pipeline.tasks.minute": PLACES | HTTP | COMMAND,
    "etar.pipeline.tasks.again": PLACES | HTTP | COMMAND,
    "etar.pipeline.tasks.audit": PLACES | HTTP | COMMAND,
    "etar.settings": PLACES | HTTP | COMMAND | SETTINGS_LIBRARY,
    # `etar up`, `down`, `logs`, `exec`, `clean`
    "cli.stack": PLACES | HTTP | SUPERVISOR | TABLES | SETTINGS_LIBRARY,
    "cli.status": PLACES | HTTP | SUPERVISOR | TABLES | SETTINGS_LIBRARY,
    "cli.reports": PLACES | HTTP | SUPERVISOR,
    "cli.stream": PLACES | HTTP | SUPERVISOR,
    "cli.verify": REGISTRY_CLIENT | ARROW | AVRO | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES,
    "cli.trace": PLACES | HTTP | TABLES,
    "cli.dead_letters": REGISTRY_CLIENT | ARROW | AVRO | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES,
    "cli.produce": PLACES | HTTP,
    "etar.stream_state": REGISTRY_CLIENT | ARROW | AVRO | HTTP | WAREHOUSE | OBJECT_STORE | ENGINES,
    "producer.run": REGISTRY_CLIENT | ARROW | HTTP | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES | COMMAND,
    # A worker of made-up traffic: Arrow is for files.
    "producer.worker": {"pyarrow", "pandas"} | HTTP | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES,
    "dashboard.api.main": PLACES - POSTGRES | HTTP | COMMAND | TELLING,
    "dashboard.ui.system_view": KAFKA | TELLING,
    "cli.alerts": PLACES | HTTP | SUPERVISOR | TELLING,
    # It runs for ever, and is there for others: what tells people is a process of its own.
    "etar.alerts.watch": PLACES - KAFKA - POSTGRES | REGISTRY_CLIENT | HTTP | COMMAND | TELLING,
    "stack.launch": PLACES | HTTP | COMMAND | SUPERVISOR,
}


@pytest.mark.parametrize("module", WITHOUT)
def test_a_process_does_not_load_what_it_does_not_use(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {sorted(WITHOUT[module])} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_whether_a_part_answers_is_asked_without_a_library_for_that() -> None:
    program = (
        "import sys; from stack.parts.base import answers; print(answers('http://127.0.0.1:1/'), "
        f"[name for name in {sorted(HTTP)} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"


def test_the_state_of_a_stopped_stack_is_told_without_a_client_of_any_place(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.create()
    prepare_settings(layout.settings_file, {}, datetime(2026, 1, 1, tzinfo=UTC))
    unwanted = sorted(PLACES | HTTP | TABLES | SETTINGS_LIBRARY | SUPERVISOR | {"etar.report"})
    program = (
        "import sys; from cli.main import app; told = app(['status'], standalone_mode=False); "
        f"print(told, [name for name in {unwanted} if name in sys.modules])"
    )
    environment = os.environ | {"ETAR_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "stopped" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 []"


def test_a_report_is_checked_without_spark() -> None:
    """Of a stream's ``report.py``, the API and the pipeline's tasks need the model only."""
    program = (
        "import sys; from etar.stream_code import report_model; from etar.streams import default_stream; "
        "report_model(default_stream()); print('pyspark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

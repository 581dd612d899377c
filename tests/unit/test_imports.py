"""What a process imports at its start is what it uses.

The libraries below take from 0.1 to 0.5 s of CPU each, and a test run or a minute of the pipeline starts dozens of
processes. So whoever is the only user of such a library in a module that others import for something light imports it
in the function that needs it, and a package's ``__init__`` imports none of its modules.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

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
SUPERVISOR = {"supervisor"}
PLACES = KAFKA | REGISTRY_CLIENT | ARROW | AVRO | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES

WITHOUT = {
    # A task's process parses its DAG file: what the steps of other tasks need is not loaded.
    "etar.pipeline.tasks.minute": PLACES | HTTP | COMMAND,
    "etar.pipeline.tasks.again": PLACES | HTTP | COMMAND,
    "etar.pipeline.tasks.audit": PLACES | HTTP | COMMAND,
    # `etar up`, `down`, `status`, `logs`, `exec`, `clean`
    "cli.stack": PLACES | HTTP | SUPERVISOR,
    "cli.reports": PLACES | HTTP | SUPERVISOR,
    "cli.stream": PLACES | HTTP | SUPERVISOR,
    "cli.verify": REGISTRY_CLIENT | ARROW | AVRO | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES,
    "cli.dead_letters": REGISTRY_CLIENT | ARROW | AVRO | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES,
    "cli.produce": PLACES | HTTP,
    "etar.stream_state": REGISTRY_CLIENT | ARROW | AVRO | HTTP | WAREHOUSE | OBJECT_STORE | ENGINES,
    "producer.run": REGISTRY_CLIENT | ARROW | HTTP | WAREHOUSE | OBJECT_STORE | POSTGRES | ENGINES | COMMAND,
    "dashboard.api.main": PLACES - POSTGRES | HTTP | COMMAND,
    "stack.launch": PLACES | HTTP | COMMAND | SUPERVISOR,
}


@pytest.mark.parametrize("module", WITHOUT)
def test_a_process_does_not_load_what_it_does_not_use(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {sorted(WITHOUT[module])} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_report_is_checked_without_spark() -> None:
    """Of a stream's ``report.py``, the API and the pipeline's tasks need the model only."""
    program = (
        "import sys; from etar.stream_code import report_model; from etar.streams import default_stream; "
        "report_model(default_stream()); print('pyspark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""A Spark cluster on this machine: a standalone master and a worker, from the jars of the pyspark package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stack.parts import spark
from stack.parts.base import Part, Stack, get, write_if_changed

_APPLICATIONS = 2
"""Minutes analysed at the same time; the next one waits for its turn."""

_DAY_SECONDS = 86_400


def _properties_file(stack: Stack) -> Path:
    return stack.layout.data("spark") / "cluster.properties"


def _prepare(stack: Stack) -> None:
    """Write what master and worker share, in a private file: it holds their secret, which no command line may show."""
    values = spark.authentication(stack) | {
        # Applications can be submitted over HTTP too, by anyone who reaches the port.
        "spark.master.rest.enabled": "false",
        "spark.ui.killEnabled": "false",
        # A master that comes back takes over the analyses under way, which would wait for it for ever; from RocksDB,
        # since half a file, which FILESYSTEM may leave after a kill, would keep it from coming back.
        "spark.deploy.recoveryMode": "ROCKSDB",
        "spark.deploy.recoveryDirectory": str(stack.layout.data("spark") / "master"),
        "spark.worker.cleanup.enabled": "true",
        "spark.worker.cleanup.appDataTtl": str(_DAY_SECONDS),
    }
    write_if_changed(_properties_file(stack), spark.text_of(values))


def _command(stack: Stack, role: str, *arguments: str) -> list[str]:
    program = f"org.apache.spark.deploy.{role.lower()}.{role}"
    return [
        str(spark.spark_home() / "bin" / "spark-class"), program,
        "--host", "127.0.0.1", "--port", str(stack.settings.port(f"SPARK_{role.upper()}")),
        "--properties-file", str(_properties_file(stack)), *arguments,
    ]  # fmt: skip


def _environment(_: Stack) -> dict[str, str]:
    return spark.home_environment() | {
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": spark.JVM_OPTIONS,
    }


def _ui(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.settings.port('SPARK_UI')}"


def _state(stack: Stack) -> Any:
    """What the master says of itself and of its workers."""
    return get(f"{_ui(stack)}/json/", timeout=5).json()


def _is_registered(stack: Stack) -> bool:
    mine = stack.settings.port("SPARK_WORKER")
    return any(worker["port"] == mine and worker["state"] == "ALIVE" for worker in _state(stack)["workers"])


SPARK_MASTER = Part(
    name="spark-master",
    prepare=_prepare,
    command=lambda stack: _command(stack, "Master", "--webui-port", str(stack.settings.port("SPARK_UI"))),
    environment=_environment,
    ready=lambda stack: bool(_state(stack)["status"] == "ALIVE"),
    address=_ui,
    enabled=spark.runs_on_cluster,
)
SPARK_WORKER = Part(
    name="spark-worker",
    needs=("spark-master",),
    prepare=_prepare,
    command=lambda stack: _command(
        stack, "Worker", spark.master(stack),
        "--cores", str(_APPLICATIONS * spark.EXECUTOR_CORES), "--memory", f"{_APPLICATIONS * spark.EXECUTOR_MB}m",
        "--work-dir", str(stack.layout.data("spark") / "work"),
        # Any free port: what it shows is on the master's page too.
        "--webui-port", "0",
    ),
    # Executors inherit it: the credentials for S3 never pass through the master.
    environment=lambda stack: _environment(stack) | spark.environment(*spark.credentials(stack)),
    ready=_is_registered,
    enabled=spark.runs_on_cluster,
)  # fmt: skip

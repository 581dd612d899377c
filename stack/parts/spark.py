"""How spark-submit runs here: its properties, jars and environment, on this machine alone or on a cluster."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from stack import airflow_connections, jvm
from stack.layout import BUILD, REPOSITORY, VENV_BIN
from stack.parts import object_store
from stack.parts.base import Part, Stack, answers, write_if_changed

JARS = BUILD / "jars" / "spark"

EXECUTOR_CORES = 2
EXECUTOR_MB = 1024
"""What an analysis is given on a cluster: as much as a driver has that does all by itself."""

_STARTS_FAST = " ".join(jvm.STARTS_FAST)
_LOGGING = REPOSITORY / "stack" / "spark-log4j2.properties"
JVM_OPTIONS = f"{_STARTS_FAST} -Dlog4j2.configurationFile={_LOGGING}"


def is_resident(stack: Stack) -> bool:
    """Whether one Spark of this stack stays, instead of one for each analysis."""
    return stack.settings.shape("SPARK") == "resident"


def runs_on_cluster(stack: Stack) -> bool:
    """Whether this stack has a standalone master and worker."""
    return stack.settings.shape("SPARK") == "standalone"


def master(stack: Stack) -> str:
    """Where the analysis runs, as spark-submit's ``--master``."""
    return f"spark://127.0.0.1:{stack.settings.port('SPARK_MASTER')}" if runs_on_cluster(stack) else "local[2]"


def spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def java_options(*class_archive: str) -> str:
    """Options of a driver that lives for seconds: start fast rather than peak high.

    ``class_archive`` is the option that writes or reads the class archive, if any. Java's own warnings (an archive that
    does not fit, say) would otherwise go to stdout, among the job's lines.
    """
    return " ".join((JVM_OPTIONS, "-Xlog:disable", "-Xlog:all=error:stderr", *class_archive))


def properties(endpoint_url: str, java: str, more: Mapping[str, str] | None = None) -> str:
    """Text of the properties file; credentials for S3 come from the environment, never from here."""
    values = {
        "spark.driver.extraClassPath": f"{JARS}/*",
        "spark.driver.extraJavaOptions": java,
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # A minute is small beside what a partition can hold: as many as cores, and a plan that is made once, take a
        # quarter less processor time (120,000 rows: 1.9 s in place of 2.6).
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        "spark.hadoop.fs.s3a.endpoint": endpoint_url,
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
        ),
    }
    return text_of(values | dict(more or {}))


def text_of(values: Mapping[str, str]) -> str:
    """A properties file, as Spark's programs read it."""
    return "".join(f"{name} {value}\n" for name, value in values.items())


def authentication(stack: Stack) -> dict[str, str]:
    """What master, worker and driver must share; the worker hands it to its executors."""
    return {"spark.authenticate": "true", "spark.authenticate.secret": stack.settings["ETAR_STACK_SPARK_SECRET"]}


def _on_cluster(stack: Stack) -> dict[str, str]:
    return authentication(stack) | {
        "spark.cores.max": str(EXECUTOR_CORES),
        "spark.executor.memory": f"{EXECUTOR_MB}m",
        "spark.executor.extraClassPath": f"{JARS}/*",
        "spark.executor.extraJavaOptions": java_options(*jvm.SPARK_DRIVER.reading()),
    }


def properties_file(stack: Stack) -> Path:
    """Write this stack's Spark properties.

    They are handed to spark-submit as a file. In a configuration folder (SPARK_CONF_DIR) they would put that folder on
    the class path, and Java uses no class archive when a folder that is not empty stands there.
    """
    file = stack.layout.data("spark") / "spark.properties"
    java = java_options(*jvm.SPARK_DRIVER.reading())
    more = _on_cluster(stack) if runs_on_cluster(stack) else None
    write_if_changed(file, properties(stack.settings["ETAR_S3_ENDPOINT_URL"], java, more))
    return file


def credentials(stack: Stack) -> tuple[str, str]:
    """Key id and secret that drivers and executors reach S3 with."""
    return object_store.spark_credentials(stack)


def home_environment() -> dict[str, str]:
    """What each of Spark's own programs needs: where Spark is, and to listen on loopback only."""
    return {
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": _STARTS_FAST,
    }


def environment(access_key_id: str, secret_access_key: str) -> dict[str, str]:
    """What a process needs that calls spark-submit."""
    return home_environment() | {
        "PYSPARK_PYTHON": sys.executable,
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "VIRTUAL_ENV": str(VENV_BIN.parent),
    }


def airflow_connection(stack: Stack) -> airflow_connections.Fields:
    """What the task `analyse` is told: the Spark that stays, or how to submit a driver
    (``etar.pipeline.tasks.analysis``)."""
    if is_resident(stack):
        return airflow_connections.http(
            host="127.0.0.1", port=stack.settings.port("SPARK"), token=stack.settings["ETAR_STACK_SPARK_TOKEN"]
        )
    return airflow_connections.spark(master=master(stack), properties_file=str(properties_file(stack)))


def _resident_environment(stack: Stack) -> dict[str, str]:
    submit = ("--master", master(stack), "--properties-file", str(properties_file(stack)), "pyspark-shell")
    return environment(*credentials(stack)) | {
        "PYSPARK_SUBMIT_ARGS": shlex.join(submit),
        "ETAR_ANALYSIS_LOG": str(stack.layout.log(SPARK.name)),
        "ETAR_ANALYSIS_TOKEN": stack.settings["ETAR_STACK_SPARK_TOKEN"],
    }


SPARK = Part(
    name="spark",
    command=lambda stack: [
        sys.executable, "-m", "uvicorn", "--factory", "spark_apps.analysis_server:create_app",
        "--host", "127.0.0.1", "--port", str(stack.settings.port("SPARK")), "--no-access-log",
    ],
    environment=_resident_environment,
    ready=lambda stack: answers(f"http://127.0.0.1:{stack.settings.port('SPARK')}/health"),
    enabled=is_resident,
)  # fmt: skip

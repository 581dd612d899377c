"""How spark-submit runs here: its properties, jars and environment. Spark itself runs inside a task."""

from __future__ import annotations

import sys
from pathlib import Path

from stack.layout import BUILD, REPOSITORY, VENV_BIN
from stack.parts.base import Stack, write_if_changed

JARS = BUILD / "jars" / "spark"
CLASS_ARCHIVE = BUILD / "spark" / "driver.jsa"
"""Class-data archive of a Spark driver, made once by `stack/setup.sh`; Java ignores it when it does not fit."""

_STARTS_FAST = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


_LOGGING = REPOSITORY / "stack" / "spark-log4j2.properties"


def spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def java_options(class_archive: str) -> str:
    """Options of a driver that lives for seconds: start fast rather than peak high.

    ``class_archive`` is the option that writes or reads the class-data archive. Java's own warnings (an archive that
    does not fit, say) would otherwise go to stdout, among the job's lines.
    """
    return f"{_STARTS_FAST} -Xlog:disable -Xlog:all=error:stderr -Dlog4j2.configurationFile={_LOGGING} {class_archive}"


def properties(endpoint_url: str, java: str) -> str:
    """Text of the properties file for one machine; credentials come from the environment, never from here."""
    values = {
        "spark.driver.extraClassPath": f"{JARS}/*",
        "spark.driver.extraJavaOptions": java,
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # A minute is small beside what a partition can hold: more of them would be start-up cost alone.
        "spark.sql.shuffle.partitions": "4",
        "spark.hadoop.fs.s3a.endpoint": endpoint_url,
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
        ),
    }
    return "".join(f"{name} {value}\n" for name, value in values.items())


def properties_file(stack: Stack) -> Path:
    """Write this stack's Spark properties.

    They are handed to spark-submit as a file. In a configuration folder (SPARK_CONF_DIR) they would put that folder on
    the class path, and Java uses no class archive when a folder that is not empty stands there.
    """
    file = stack.layout.data("spark") / "spark.properties"
    java = java_options(f"-XX:SharedArchiveFile={CLASS_ARCHIVE}")
    write_if_changed(file, properties(stack.settings["ETAR_S3_ENDPOINT_URL"], java))
    return file


def environment(access_key_id: str, secret_access_key: str) -> dict[str, str]:
    """What a process needs that calls spark-submit."""
    return {
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": _STARTS_FAST,
        "PYSPARK_PYTHON": sys.executable,
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "VIRTUAL_ENV": str(VENV_BIN.parent),
    }

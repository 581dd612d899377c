"""How spark-submit runs here: its configuration folder, jars and environment. Spark itself runs inside a task."""

from __future__ import annotations

import sys
from pathlib import Path

from stack.layout import BUILD, VENV_BIN
from stack.parts.base import Stack, write_if_changed

JARS = BUILD / "jars" / "spark"
CLASS_ARCHIVE = BUILD / "spark" / "driver.jsa"
"""Class-data archive of a Spark driver, made once by `stack/setup.sh`; Java ignores it when it does not fit."""

_STARTS_FAST = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def java_options(class_archive: str) -> str:
    """Options of a driver that lives for seconds: start fast rather than peak high.

    ``class_archive`` is the option that writes or reads the class-data archive.
    """
    return f"{_STARTS_FAST} -Xlog:disable -Xlog:all=error:stderr {class_archive}"


def defaults(endpoint_url: str, java: str) -> str:
    """``spark-defaults.conf`` for one machine; credentials come from the environment, never from here."""
    properties = {
        "spark.driver.extraClassPath": f"{JARS}/*",
        "spark.driver.extraJavaOptions": java,
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.hadoop.fs.s3a.endpoint": endpoint_url,
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
        ),
    }
    return "".join(f"{name} {value}\n" for name, value in properties.items())


def configuration_folder(stack: Stack) -> Path:
    """Write this stack's Spark configuration and return its folder."""
    folder = stack.layout.data("spark-config")
    java = java_options(f"-XX:SharedArchiveFile={CLASS_ARCHIVE}")
    write_if_changed(folder / "spark-defaults.conf", defaults(stack.settings["ETAR_S3_ENDPOINT_URL"], java))
    return folder


def environment(stack: Stack) -> dict[str, str]:
    """What a process needs that calls spark-submit."""
    return {
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONF_DIR": str(configuration_folder(stack)),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": _STARTS_FAST,
        "PYSPARK_PYTHON": sys.executable,
        "AWS_ACCESS_KEY_ID": stack.settings["ETAR_S3_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": stack.settings["ETAR_S3_SECRET_ACCESS_KEY"],
        "VIRTUAL_ENV": str(VENV_BIN.parent),
    }

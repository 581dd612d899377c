"""One small Spark for the session."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from stack.jvm import SPARK_DRIVER
from stack.parts.spark import JARS, home_environment, java_options


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder: Path = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as environment:
        # What Spark is set to on this machine must not decide a test. A folder that exists would be on the class path,
        # and Java would use no class archive.
        environment.setenv("SPARK_CONF_DIR", str(folder / "no-configuration"))
        for name, value in home_environment().items():
            environment.setenv(name, value)
        session = (
            SparkSession.builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            # Both as the class archive was made with, which halves the start and the first query.
            .config("spark.driver.extraClassPath", f"{JARS}/*")
            .config("spark.driver.extraJavaOptions", java_options(*SPARK_DRIVER.reading()))
            .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
            .getOrCreate()
        )
        # Airflow, parsed in the same session, lets py4j's farewell through to a stream that pytest has closed by then.
        logging.getLogger("py4j").setLevel(logging.WARNING)
        yield session
        session.stop()

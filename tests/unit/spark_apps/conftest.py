"""One small Spark for the session."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    # An empty configuration folder: what Spark is set to on this machine must not decide a test.
    empty: Path = tmp_path_factory.mktemp("spark-conf")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_CONF_DIR", str(empty))
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = (
            SparkSession.builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.driver.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
            .config("spark.sql.warehouse.dir", str(empty / "warehouse"))
            .getOrCreate()
        )
        # Airflow, parsed in the same session, lets py4j's farewell through to a stream that pytest has closed by then.
        logging.getLogger("py4j").setLevel(logging.WARNING)
        yield session
        session.stop()

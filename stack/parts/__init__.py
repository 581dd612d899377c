"""The parts of the native stack, one file each."""

from __future__ import annotations

from stack.parts import (
    airflow,
    celery,
    connect,
    demo_producer,
    kafka,
    object_store,
    postgres,
    registry,
    reports,
    sink,
    spark,
    spark_cluster,
    warehouse,
)
from stack.parts.base import Part, Stack, Step

PARTS: tuple[Part, ...] = (
    *kafka.BROKERS,
    registry.REGISTRY,
    warehouse.WAREHOUSE,
    object_store.OBJECT_STORE,
    postgres.POSTGRES,
    celery.REDIS,
    spark.SPARK,
    spark_cluster.SPARK_MASTER,
    spark_cluster.SPARK_WORKER,
    airflow.AIRFLOW_API_SERVER,
    airflow.AIRFLOW_SCHEDULER,
    airflow.AIRFLOW_DAG_PROCESSOR,
    *airflow.AIRFLOW_WORKERS,
    sink.SINK,
    *connect.WORKERS,
    connect.WATCH,
    reports.REPORT_API,
    reports.DASHBOARD,
    demo_producer.DEMO_PRODUCER,
)
STEPS: tuple[Step, ...] = (
    kafka.TOPICS,
    registry.COMPATIBILITY_STEP,
    warehouse.TABLES,
    object_store.BUCKET,
    postgres.REPORT_STORE,
    airflow.AIRFLOW_DATABASE,
    connect.CONNECTOR,
)


def part_named(name: str) -> Part:
    """The part of that name.

    Raises:
        KeyError: there is none; the message lists the names.
    """
    for part in PARTS:
        if part.name == name:
            return part
    raise KeyError(f"no part is called {name!r}; there are {', '.join(part.name for part in PARTS)}")


__all__ = ["PARTS", "STEPS", "Part", "Stack", "Step", "part_named"]

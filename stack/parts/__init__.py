"""The parts of the native stack, one file each."""

from __future__ import annotations

from stack.parts import (
    airflow,
    alerts,
    celery,
    connect,
    demo_producer,
    jobs,
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

_BEFORE_STREAMS: tuple[Part, ...] = (
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
)
_BEHIND_STREAMS: tuple[Part, ...] = (reports.REPORT_API, reports.DASHBOARD, alerts.ALERTS)
_STEPS: tuple[Step, ...] = (
    registry.COMPATIBILITY_STEP,
    warehouse.TABLES,
    object_store.BUCKET,
    postgres.REPORT_STORE,
    airflow.AIRFLOW_DATABASE,
)


def possible_parts(stack: Stack) -> tuple[Part, ...]:
    """Every part that a stack of these streams may have, whatever its shape."""
    streams = stack.streams
    return (
        *_BEFORE_STREAMS,
        *(sink.part(stream) for stream in streams),
        *connect.workers(streams),
        connect.WATCH,
        *_BEHIND_STREAMS,
        *(part for stream in streams for part in jobs.parts(stream)),
        *(demo_producer.part(stream) for stream in streams if demo_producer.is_there_for(stream)),
    )


def parts_of(stack: Stack) -> tuple[Part, ...]:
    """The parts that this stack has."""
    return tuple(part for part in possible_parts(stack) if part.enabled(stack))


def steps_of(stack: Stack) -> tuple[Step, ...]:
    """The steps that this stack has."""
    steps = (
        *_STEPS,
        *(kafka.topic_step(stream) for stream in stack.streams),
        *(warehouse.table_step(stream) for stream in stack.streams),
        *(postgres.job_tables_step(stream) for stream in stack.streams),
        connect.CONNECTOR,
    )
    return tuple(step for step in steps if step.enabled(stack))


def part_named(name: str, stack: Stack) -> Part:
    """The part of that name.

    Raises:
        KeyError: there is none; the message lists the names.
    """
    parts = possible_parts(stack)
    for part in parts:
        if part.name == name:
            return part
    raise KeyError(f"no part is called {name!r}; there are {', '.join(part.name for part in parts)}")


__all__ = ["Part", "Stack", "Step", "part_named", "parts_of", "possible_parts", "steps_of"]

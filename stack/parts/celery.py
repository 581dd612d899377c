"""Celery in place of the LocalExecutor: Redis, which hands tasks to workers, and how Airflow and its workers use it.

Nothing depends on a message: what has to run stands in Airflow's database. A task whose worker dies is found by its
missing heartbeats, one whose message is lost by its standing in the queue for too long.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from stack.configuration import SettingsError
from stack.parts.base import Part, Stack, write_if_changed

CONCURRENCY = 3
"""Tasks that one worker runs at once: with two workers, as many as the LocalExecutor."""

_PUBLISH_SECONDS = 15
_PING_SECONDS = 10
"""A worker answers between two things that it does: on a busy machine, 3 s were too few."""


def runs(stack: Stack) -> bool:
    """Whether Airflow's tasks run on Celery in this stack."""
    return stack.settings.shape("EXECUTOR") == "celery"


def environment(stack: Stack, database_url: str) -> dict[str, str]:
    """What Airflow's processes need to run tasks on Celery. ``database_url`` is where Celery writes how they ended."""
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": _broker_url(stack, stack.settings.link("REDIS")),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database_url}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(CONCURRENCY),
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        "AIRFLOW__CELERY__TASK_ACKS_LATE": "True",
        # A Redis that is away for the seconds of a restart is waited for; then the task fails, and is tried again.
        "AIRFLOW__CELERY__OPERATION_TIMEOUT": str(_PUBLISH_SECONDS),
        "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps(
            {
                # By each worker, before it forks; as the scheduler does for the LocalExecutor.
                "imports": ["etar.pipeline.tasks.preload"],
                "task_publish_retry_policy": {
                    "max_retries": _PUBLISH_SECONDS - 3,
                    "interval_start": 0.2,
                    "interval_step": 0.4,
                    "interval_max": 1,
                },
                "broker_connection_max_retries": None,
            }
        ),
        # Airflow tries the task of a dead worker again by itself. Its message comes back after this long and finds the
        # task done; earlier, it would meet tasks that only take long.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
        # A message can be lost: popped by a worker that dies before it notes it down, or never sent by a scheduler
        # that died. A task waits for a free worker at most as long as its machine is slow: there is room for all.
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
        # Old versions of DAG bundles, of which there are none here: a process less in each worker.
        "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
    }


def worker_answers(stack: Stack, hostname: str) -> bool:
    """Whether the worker of that name takes part."""
    from celery import Celery  # type: ignore[import-untyped]

    with Celery(broker=_broker_url(stack, stack.settings.port("REDIS")), set_as_current=False) as app:
        return bool(app.control.ping(destination=[f"celery@{hostname}"], timeout=_PING_SECONDS))


def _broker_url(stack: Stack, port: int) -> str:
    return f"redis://:{stack.settings['ETAR_STACK_REDIS_PASSWORD']}@127.0.0.1:{port}/0"


def _configuration(stack: Stack) -> Path:
    return stack.layout.data("redis") / "redis.conf"


def _prepare(stack: Stack) -> None:
    lines = {
        "bind": "127.0.0.1",
        "port": str(stack.settings.port("REDIS")),
        "requirepass": stack.settings["ETAR_STACK_REDIS_PASSWORD"],
        "dir": f'"{stack.layout.data("redis")}"',
        # On disk before it is acknowledged: some ten messages a minute, and a task whose message is lost waits longest.
        "appendonly": "yes",
        "appendfsync": "always",
        "save": '""',
        # Its own title would write over the environment that says whose process it is.
        "set-proc-title": "no",
    }
    write_if_changed(_configuration(stack), "".join(f"{name} {value}\n" for name, value in lines.items()))


def _answers(stack: Stack) -> bool:
    import redis

    password = stack.settings["ETAR_STACK_REDIS_PASSWORD"]
    with redis.Redis(port=stack.settings.port("REDIS"), password=password, socket_timeout=2) as client:
        return bool(client.ping())


def _require_server(stack: Stack) -> None:
    if shutil.which("redis-server", path=stack.base_environment["PATH"]) is None:
        raise SettingsError(
            "ETAR_STACK_EXECUTOR=celery needs redis-server, which is not on PATH. Install it (Debian 12: apt-get "
            "install --no-install-recommends redis-server, and stop the service it starts), or use local"
        )


REDIS = Part(
    name="redis",
    prepare=_prepare,
    command=lambda stack: ["redis-server", str(_configuration(stack))],
    ready=_answers,
    address=lambda stack: f"127.0.0.1:{stack.settings.port('REDIS')}",
    enabled=runs,
    require=_require_server,
)

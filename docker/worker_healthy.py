"""Health check of a Celery worker's container: whether the worker of this host answers through the broker."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from celery import Celery  # type: ignore[import-untyped]

BROKER_URL = Path("/run/secrets/airflow_broker_url")
TIMEOUT_SECONDS = 10.0


def answers(broker_url: str, host: str) -> bool:
    """Whether the worker ``celery@host`` answers within the timeout."""
    with Celery(broker=broker_url, set_as_current=False) as app:
        return bool(app.control.ping(destination=[f"celery@{host}"], timeout=TIMEOUT_SECONDS))


if __name__ == "__main__":
    sys.exit(0 if answers(BROKER_URL.read_text(), socket.gethostname()) else 1)

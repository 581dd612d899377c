"""DAGs of others': one that is run by each report of a stream, and a stand-in for the task that reports."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Asset, task

from etar.pipeline.tasks import announce
from etar.report import PublishedReport

with DAG("consumer", schedule=[Asset("etar://reports/payments")]):

    @task
    def reads(triggering_asset_events: Any = None) -> None:
        """Somebody's own work."""

    reads()

with DAG("reporting", schedule=None):

    @task(outlets=[announce.REPORTS])  # type: ignore[untyped-decorator]
    def minute(outlet_events: Any) -> None:
        announce.announce(
            PublishedReport(
                stream="payments",
                minute=datetime(2026, 11, 21, 10, 31, tzinfo=UTC),
                rows_read=3,
                total_events=3,
                source_object="s3://etar/x",
                revision=int(os.environ["REVISION"]),
                published_at=datetime.fromisoformat(os.environ["PUBLISHED_AT"]),
            ),
            outlet_events,
            began=datetime.now(UTC),
        )
        if os.environ.get("ENDS") == "failed":
            raise RuntimeError("killed after its post")

    minute()

"""The task of ``etar_audit``: where Airflow's connection meets the audit.

The function's docstring is what the Airflow UI shows, as Markdown, of the task: one paragraph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etar.pipeline.tasks import connections
from etar.streams import stream_named

ALL = "all"
"""In the parameter ``stream``: every stream that is switched on."""


def audit(stream: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compare Kafka's offsets with the table and the dead letters of one stream, put right what is off, and close the
    arrival minutes that are exact. With `accept_lost`, take note of losses first: they fail no audit any more. Skipped
    when the run was asked to audit another `stream`. Returns the counts."""
    asked_for = (params or {}).get("stream", ALL)
    if asked_for not in (ALL, stream):
        from airflow.sdk.exceptions import AirflowSkipException

        raise AirflowSkipException(f"this run audits {asked_for}, not {stream}")
    from etar.audit.run import run_audit

    accept_lost = bool((params or {}).get("accept_lost"))
    with connections.ledger_connection() as connection:
        result = run_audit(stream_named(stream), connection=connection, accept_lost=accept_lost)
    return {
        "stream": stream,
        "minutes": result.minutes,
        "records": result.records,
        "rows": result.rows,
        "dead_letters": result.dead_letters,
        "no_record": result.no_record,
        "repairs": {repair.value: count for repair, count in result.repairs.items()},
    }

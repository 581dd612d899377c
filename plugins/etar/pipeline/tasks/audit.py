"""The task of ``etar_audit``: where Airflow's connection meets the audit.

The function's docstring is what the Airflow UI shows, as Markdown, of the task: one paragraph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etar.pipeline.tasks import connections
from etar.streams import USER_INTERACTIONS

_STREAM = USER_INTERACTIONS


def audit(params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compare Kafka's offsets with the table and the dead letters, put right what is off, and close the arrival minutes
    that are exact. With `accept_lost`, take note of losses first: they fail no audit any more. Returns the counts."""
    from etar.audit.run import run_audit

    accept_lost = bool((params or {}).get("accept_lost"))
    with connections.ledger_connection() as connection:
        result = run_audit(_STREAM, connection=connection, accept_lost=accept_lost)
    return {
        "minutes": result.minutes,
        "records": result.records,
        "rows": result.rows,
        "dead_letters": result.dead_letters,
        "no_record": result.no_record,
        "repairs": {repair.value: count for repair, count in result.repairs.items()},
    }

"""The task of ``etar_audit``: where Airflow's connection meets the audit.

The function's docstring is what the Airflow UI shows, as Markdown, of the task: one paragraph.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from etar.errors import PermanentError, TransientError
from etar.pipeline.tasks import connections
from etar.streams import stream_named

ALL = "all"
"""In the parameter ``stream``: every stream that is switched on."""

_TOGETHER = 8
"""Streams that share a process: of what an audit costs, most is the process and what it imports."""

_log = logging.getLogger(__name__)


class AuditsFailedError(PermanentError):
    """The audits of several streams failed, and trying again helps none of them."""


class AuditsUnfinishedError(TransientError):
    """The audits of several streams failed; trying again may help some of them."""


def groups(streams: Sequence[str]) -> list[list[str]]:
    """The streams as they share processes."""
    return [list(streams[start : start + _TOGETHER]) for start in range(0, len(streams), _TOGETHER)]


def audit(streams: Sequence[str], params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Compare Kafka's offsets with the table and the dead letters of these streams, one after the other, put right
    what is off, and close the arrival minutes that are exact. What fails of one stream stops no other, and fails the
    task at its end. With `accept_lost`, take note of losses first: they fail no audit any more. Skipped when the run
    was asked to audit another `stream`. Returns the counts of each."""
    asked_for = (params or {}).get("stream", ALL)
    wanted = [name for name in streams if asked_for in (ALL, name)]
    if not wanted:
        from airflow.sdk.exceptions import AirflowSkipException

        raise AirflowSkipException(f"this run audits {asked_for}, not {', '.join(streams)}")
    accept_lost = bool((params or {}).get("accept_lost"))
    counts: list[dict[str, Any]] = []
    failed: dict[str, Exception] = {}
    for name in _in_turn(wanted):
        try:
            counts.append(_audit_of(name, accept_lost=accept_lost))
        except Exception as error:
            _log.warning("%s: the audit failed: %s: %s", name, type(error).__name__, error)
            failed[name] = error
    if failed:
        raise _error_of(failed)
    return counts


def _in_turn(streams: Sequence[str]) -> list[str]:
    """Another one first in each minute: one that takes all the time there is does not keep the same ones waiting."""
    first = int(datetime.now(UTC).timestamp()) // 60 % len(streams)
    return [*streams[first:], *streams[:first]]


def _audit_of(name: str, *, accept_lost: bool) -> dict[str, Any]:
    from etar.audit.run import run_audit

    with connections.ledger_connection() as connection:
        result = run_audit(stream_named(name), connection=connection, accept_lost=accept_lost)
    return {
        "stream": name,
        "minutes": result.minutes,
        "records": result.records,
        "rows": result.rows,
        "dead_letters": result.dead_letters,
        "no_record": result.no_record,
        "repairs": {repair.value: count for repair, count in result.repairs.items()},
    }


def _error_of(failed: Mapping[str, Exception]) -> Exception:
    """What the task fails with: tried again unless that helps no stream."""
    if len(failed) == 1:
        return next(iter(failed.values()))
    reasons = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failed.items())
    hopeless = all(isinstance(error, PermanentError) for error in failed.values())
    return (AuditsFailedError if hopeless else AuditsUnfinishedError)(reasons)

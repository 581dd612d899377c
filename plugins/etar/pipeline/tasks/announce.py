"""Tells Airflow of each revision that is published, as an event of the stream's asset: what others' DAGs are run by.

Airflow keeps a task's events in the transaction that marks it as successful, and drops those of a task that fails. So
a task that is killed after its report was posted tells of it when it is tried again, and one that is cleared finds that
it has been told. What is lost: a revision whose task was killed in each of its tries, and never tried again. What is
told twice: a revision that two runs post at the same moment, one that is reported again after nobody told of it for
:data:`_TOLD_WITHIN`, and one that is reported again while Airflow does not say whether it was told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias

from etar.report import PublishedReport

_log = logging.getLogger(__name__)

REPORTS = AssetAlias("etar_reports")
"""What the tasks declare: an asset that they declared would have an event of each run, whether it published or not."""

_TOLD_WITHIN = timedelta(hours=1)
_CLOCKS_APART = timedelta(minutes=5)
"""At most, Airflow's and the report store's."""


def asset_of(stream: str) -> Asset:
    """The asset that stands for the reports of a stream: ``Asset("etar://reports/NAME")``."""
    return Asset(f"etar://reports/{stream}")


def announce(published: PublishedReport, outlet_events: Any, *, began: datetime) -> None:
    """Add an event of this revision to what Airflow keeps when the task succeeds, unless it has one.

    Args:
        outlet_events: of the task's context.
        began: when this try of the task began. What is published later is new, and Airflow is not asked.
    """
    asset = asset_of(published.stream)
    extra = {"stream": published.stream, "minute": str(published.window), "revision": published.revision}
    if published.published_at >= began or not _is_told(asset, extra, published.published_at):
        outlet_events[REPORTS].add(asset, extra=extra)


def _is_told(asset: Asset, extra: dict[str, Any], published_at: datetime) -> bool:
    """Whether Airflow has the event. Where it does not say, no: told twice is better than never, or than a report's
    task that fails. (Airflow 3.3.2 answers 500 while a run that was triggered by one of the events is still queued.)"""
    try:
        told = events(asset, published_at - _CLOCKS_APART, published_at + _TOLD_WITHIN)
    except Exception as error:
        _log.warning("%s is told of, maybe once more: Airflow does not say whether it was: %s", extra, error)
        return False
    return extra in [event.extra for event in told]


def events(asset: Asset, first: datetime, last: datetime) -> Iterable[Any]:
    """The asset's events of a time span, asked of Airflow."""
    from airflow.sdk.execution_time.context import InletEventsAccessor

    found = InletEventsAccessor(asset_name=asset.name, asset_uri=asset.uri)
    return list(found.after(first.isoformat()).before(last.isoformat()))

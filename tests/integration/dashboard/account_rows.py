"""Puts into the books what auditor and pipeline would have: by their own writers."""

from __future__ import annotations

from collections.abc import Mapping

from etar.audit.marks import Closed, Marks
from etar.clients import report_store_connection
from etar.extracts import Extract, OffsetSpan
from etar.ledger import Ledger
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.report import PublishedReport
from etar.settings import ReportStoreSettings
from etar.streams import Stream


def closed(
    minute: MinuteWindow,
    partition: int = 0,
    *,
    first: int = 0,
    rows: int = 0,
    dead_letters: int = 0,
    too_late: int = 0,
    no_record: int = 0,
    lost: int = 0,
) -> Closed:
    """What the auditor has of an arrival minute, whose first offset is ``first``."""
    span = Span(first, first + rows + dead_letters + no_record + lost)
    return Closed(partition, minute, span, rows, dead_letters, no_record, lost, too_late)


def keep_closed(store: ReportStoreSettings, stream: str, *minutes: Closed) -> None:
    with report_store_connection(store) as connection:
        Marks(connection, Stream(stream)).close(minutes)


def keep_reported(
    store: ReportStoreSettings,
    stream: str,
    minute: MinuteWindow,
    arrivals: Mapping[MinuteWindow, Mapping[int, int]] | None,
    *,
    events: int,
    revision: int = 1,
    rows: int | None = None,
    topic: int = 1,
) -> None:
    """A minute that was reported from rows that arrived so, by minute and partition; None: this was not kept, of
    ``rows``. The topic had so many partitions."""
    counts = [each for of_minute in (arrivals or {}).values() for each in of_minute.values()]
    rows = sum(counts) if rows is None else rows
    extract = Extract(
        minute=f"{minute}",
        rows=rows,
        late_events=0,
        dead_letters=0,
        offsets={0: OffsetSpan(first=0, last=rows, rows=rows)},
        arrivals=None if arrivals is None else {f"{at}": dict(of_minute) for at, of_minute in arrivals.items()},
        source=None,
        result="",
        object_key=None,
        object_size=None,
        object_etag=None,
    )
    published = PublishedReport(
        stream=stream,
        minute=minute.start,
        total_events=events,
        rows_read=rows,
        source_object=None,
        revision=revision,
        published_at=minute.end,
    )
    with report_store_connection(store) as connection:
        ledger = Ledger(connection, stream=Stream(stream), run_id="etar_pipeline/of-a-test")
        ledger.settled(minute, dict.fromkeys(range(topic), rows))
        ledger.extracted(minute, extract)
        ledger.reported(minute, published)

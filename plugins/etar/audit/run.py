"""One pass of the audit with everything it needs, from the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from etar.audit.auditor import Auditor, AuditResult, Bounds
from etar.audit.holdings import Holdings
from etar.audit.marks import Marks
from etar.clients import report_store_connection
from etar.dead_letters.journal import Journal
from etar.event_times import EventTimeBounds
from etar.kafka.log import PartitionLogs
from etar.kafka.offsets import TopicOffsets
from etar.kafka.records import KafkaRecords
from etar.kafka.standstill import LONG_WAIT, standstills
from etar.kafka.topic_settings import topic_faults
from etar.records.intake import Intake
from etar.records.registry import Registry
from etar.records.warehouse import Warehouse
from etar.settings import (
    KafkaSettings,
    PipelineSettings,
    RegistrySettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg

_log = logging.getLogger(__name__)


def run_audit(
    stream: Stream,
    *,
    connection: psycopg.Connection[Any] | None = None,
    accept_lost: bool = False,
    wait_seconds: float = 120.0,
    bounds: Bounds | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AuditResult:
    """Audit what has arrived, is over and is committed by the sink; see :meth:`Auditor.run` for what is raised.

    Args:
        connection: to the database of the audit, put into autocommit mode; by default made from the settings.
        accept_lost: a person has taken note of the losses known so far; they fail no audit any more.
        wait_seconds: for another audit of the stream that is at work.
    """
    kafka, warehouse = get_settings(KafkaSettings), get_settings(WarehouseSettings)
    policy = get_settings(PipelineSettings)
    books = (
        nullcontext(connection) if connection else closing(report_store_connection(get_settings(ReportStoreSettings)))
    )
    with (
        books as database,
        TopicOffsets.connect(stream.topic, settings=kafka) as offsets,
        KafkaRecords(stream.topic, kafka) as records,
        PartitionLogs(stream.topic, kafka) as logs,
        Holdings(warehouse, stream) as holdings,
        closing(Warehouse(warehouse)) as rows,
        closing(Registry.connect(get_settings(RegistrySettings))) as registry,
    ):
        for fault in topic_faults(offsets.settings(), needed=policy.retention):
            _log.warning("%s", fault.told_of(stream.topic))
        # What waits is not audited, and a pass that finds nothing to do must not look as if nothing were the matter.
        for standing in standstills(offsets, stream.sink_group, offsets.held_at(now() - LONG_WAIT)):
            _log.warning("%s: the sink is behind in %s", stream.name, standing)
        marks = Marks(database, stream)
        if accept_lost:
            marks.accept_lost()
        return Auditor(
            stream,
            offsets=offsets,
            records=records,
            logs=logs,
            holdings=holdings,
            intake=Intake.of(
                stream,
                database=warehouse.database,
                bounds=EventTimeBounds.of(policy),
                registry=registry,
                warehouse=rows,
            ),
            registry=registry,
            marks=marks,
            journal=Journal(database, stream.topic),
            policy=policy,
            bounds=bounds or Bounds(),
        ).run(now(), wait_seconds=wait_seconds)

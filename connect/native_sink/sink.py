"""The sink's loop: take, decode, store, commit, in this order and never another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

from connect.native_sink.connector import Connector
from connect.native_sink.logs import Summary
from connect.native_sink.patience import StoppedWaitingError, persist
from connect.native_sink.source import KafkaAwayError, OtherLogError, Source, made_anew
from etar.clients import WarehouseUnavailableError
from etar.event_times import EventTimeBounds
from etar.records.column_types import UnsupportedTableError
from etar.records.intake import Intake
from etar.records.record import Record
from etar.records.registry import Registry
from etar.records.warehouse import Warehouse
from etar.streams import Stream

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Sink:
    """Moves one topic into one table. What goes wrong on the way is waited for, or becomes a dead letter."""

    def __init__(
        self,
        stream: Stream,
        connector: Connector,
        *,
        bounds: EventTimeBounds,
        source: Source,
        registry: Registry,
        warehouse: Warehouse,
        stopping: Callable[[], bool],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """``beat`` is called at each step that is done: with none for long, the sink waits for something."""
        self._beat = beat
        self._connector = connector
        self._source = source
        self._warehouse = warehouse
        self._stopping = stopping
        self._stored_topic = ""
        self._summary = Summary(source.behind)
        self._intake = Intake.of(
            stream,
            database=connector.database,
            table=connector.table,
            metadata=connector.metadata,
            bounds=bounds,
            registry=registry,
            warehouse=warehouse,
            persist=self._persist,
        )

    def run(self) -> None:
        """Until ``stopping()``: then the batch at hand is finished and committed, unless a part it needs is away.

        Raises:
            KafkaException: what only a new start can cure; nothing is lost by it.
            OtherLogError: the topic is not the one whose records are stored.
        """
        try:
            # As while it runs: a table that cannot be filled is waited for, until somebody has changed it back.
            self._persist("table", self._intake.layout, UnsupportedTableError)
            while not self._stopping():
                if records := self._source.take(monotonic, self._stopping):
                    self._store(records)
                # Also without records: a transaction that ends leaves offsets behind at which there are none.
                self._persist("Kafka broker", self._source.commit, KafkaAwayError)
                self._summary.look()
        except StoppedWaitingError as stopped:
            _log.warning("%s; what was not committed is read again at the next start", stopped)
        finally:
            self._summary.say()

    def _store(self, records: Sequence[Record]) -> None:
        if self._source.topic_id != self._stored_topic:
            self._require_stored_topic(self._source.topic_id)
        self._summary.add(self._intake.take_in(records))

    def _require_stored_topic(self, found: str) -> None:
        """Before anything is stored: a record would take the place of another one's row or letter."""
        database, topic = self._connector.database, self._connector.topic

        def known_topic() -> str:
            if (known := self._warehouse.stored_topic(database, topic)) is None:
                self._warehouse.note_topic(database, topic, found)
            return known or found

        known = self._persist("warehouse", known_topic, WarehouseUnavailableError)
        if known != found:
            raise OtherLogError(made_anew(topic, known=known, found=found))
        self._stored_topic = found

    def _persist(self, part: str, attempt: Callable[[], _Result], away: type[Exception]) -> _Result:
        with self._source.held() as rest:
            result = persist(attempt, part=part, away=away, rest=rest, stopping=self._stopping)
        self._beat()
        return result

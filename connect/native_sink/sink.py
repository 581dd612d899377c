"""The sink's loop: take, decode, store, commit, in this order and never another."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import TypeVar

from connect.native_sink.decode import (
    Decoder,
    EventTimeBounds,
    Record,
    RecordReader,
    Row,
    Unreadable,
    compile_reader,
    schema_id,
)
from connect.native_sink.patience import StoppedWaitingError, persist
from connect.native_sink.registry import Registry, RegistryUnavailableError
from connect.native_sink.source import KafkaAwayError, Source
from connect.native_sink.table import TableLayout
from connect.native_sink.warehouse import (
    InsertRefusedError,
    InsertTooLargeError,
    Warehouse,
    WarehouseUnavailableError,
)
from etar.dead_letters import DeadLetter, Reason

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_UNKNOWN = Unreadable(Reason.UNKNOWN_SCHEMA_ID, "the registry has no such schema")


class Sink:
    """Moves one topic into one table. What goes wrong on the way is waited for, or becomes a dead letter."""

    def __init__(
        self,
        *,
        layout: TableLayout,
        bounds: EventTimeBounds,
        source: Source,
        registry: Registry,
        warehouse: Warehouse,
        stopping: Callable[[], bool],
    ) -> None:
        self._layout = layout
        self._decoder = Decoder(layout, bounds)
        self._source = source
        self._registry = registry
        self._warehouse = warehouse
        self._stopping = stopping
        self._readers: dict[int, RecordReader | Unreadable] = {}

    def run(self) -> None:
        """Until ``stopping()``: then the batch at hand is finished and committed, unless a part it needs is away.

        Raises:
            KafkaException: what only a new start can cure; nothing is lost by it.
        """
        try:
            while not self._stopping():
                if records := self._source.take(monotonic, self._stopping):
                    self._deliver(records)
        except StoppedWaitingError as stopped:
            _log.warning("%s; what was not committed is read again at the next start", stopped)

    def _deliver(self, records: Sequence[Record]) -> None:
        started = monotonic()
        rows, letters = self._decode(records)
        for row, refusal in self._store(rows, lambda part: self._warehouse.insert_rows(self._layout, part)):
            letters.append(row.record.dead(Reason.INSERT_REFUSED, refusal.detail))
        for _, refusal in self._store(letters, self._insert_dead_letters):
            raise refusal  # a dead letter has no further place to go: stop, and let a person see why
        self._persist("Kafka broker", self._source.commit, KafkaAwayError)
        if letters:
            counts = Counter(letter.reason.value for letter in letters)
            _log.warning("%d dead letters: %s", len(letters), dict(counts))
        _log.debug("%d records stored and committed in %.3f s", len(records), monotonic() - started)

    def _decode(self, records: Sequence[Record]) -> tuple[list[Row], list[DeadLetter]]:
        readers = self._readers_of(records)
        rows: list[Row] = []
        letters: list[DeadLetter] = []
        for record in records:
            outcome = self._decoder.decode(record, readers)
            if isinstance(outcome, Row):
                rows.append(outcome)
            else:
                letters.append(outcome)
        return rows, letters

    def _readers_of(self, records: Sequence[Record]) -> Mapping[int, RecordReader | Unreadable]:
        identifiers = {identifier for record in records if (identifier := schema_id(record)) is not None}
        unknown: dict[int, RecordReader | Unreadable] = {}
        for identifier in sorted(identifiers - self._readers.keys()):
            reader = self._reader_of(identifier)
            # An id that is unknown now may be registered later; one that is known never changes.
            (unknown if reader is _UNKNOWN else self._readers)[identifier] = reader
        return {**self._readers, **unknown}

    def _reader_of(self, identifier: int) -> RecordReader | Unreadable:
        schema = self._persist("schema registry", partial(self._registry.schema, identifier), RegistryUnavailableError)
        if schema is None:
            return _UNKNOWN
        if schema.kind != "AVRO":
            return Unreadable(Reason.UNSUPPORTED_SCHEMA, f"the schema is {schema.kind}, not Avro")
        return compile_reader(schema.text, self._layout)

    def _store(
        self, items: Sequence[_Item], insert: Callable[[Sequence[_Item]], None]
    ) -> list[tuple[_Item, InsertRefusedError]]:
        """Insert ``items``, in halves where the whole is refused; returns the single items that were refused."""
        if not items:
            return []

        def attempt() -> None:
            try:
                insert(items)
            except InsertTooLargeError as error:
                if len(items) == 1:
                    raise WarehouseUnavailableError(str(error)) from error
                raise

        try:
            self._persist("warehouse", attempt, WarehouseUnavailableError)
        except (InsertRefusedError, InsertTooLargeError) as error:
            if len(items) > 1:
                middle = len(items) // 2
                return self._store(items[:middle], insert) + self._store(items[middle:], insert)
            if isinstance(error, InsertRefusedError):
                return [(items[0], error)]
            raise
        return []

    def _insert_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        self._warehouse.insert_dead_letters(self._layout.database, letters)

    def _persist(self, part: str, attempt: Callable[[], _Result], away: type[Exception]) -> _Result:
        with self._source.held() as rest:
            return persist(attempt, part=part, away=away, rest=rest, stopping=self._stopping)

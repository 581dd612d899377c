"""The way of a batch of records into the warehouse: decode each, store the rows, file the rest as dead letters."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Protocol, Self, TypeVar

import numpy as np

from etar.clients import WarehouseUnavailableError
from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.records.batch import Batch
from etar.records.bodies import Bodies
from etar.records.codec import Codec, Reader
from etar.records.column_types import UnsupportedTableError
from etar.records.decode import AVRO, Decoder, schema_of
from etar.records.formats import codec_of
from etar.records.framing import OWN_SCHEMA, SchemaId
from etar.records.record import Record, Row, Unreadable
from etar.records.registry import RegisteredSchema, Registry, RegistryUnavailableError
from etar.records.table import METADATA, EventColumns, MetadataColumns, TableLayout
from etar.records.warehouse import (
    InsertRefusedError,
    InsertTooLargeError,
    TableChangedError,
    Warehouse,
)
from etar.streams import Stream, subject_of

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

TOLD_APART = 64
"""Rows of one batch that are always told apart where the table refuses some: so many refused inserts are taken apart.

Each misfit among n good rows takes about log2(n) of them: four in twenty thousand are still told exactly. Twenty
thousand misfits in a row take a hundred inserts and seconds, not forty thousand, while the records behind them wait.
"""

REFUSED_TOGETHER = "refused together with "
"""How the detail of a row begins that was refused with others around it, and may be a good one."""

_MOST_UNKNOWN_IDS = 50
"""Ids of one batch that the registry may say it does not have. Random bytes hold a new id in every record, and asking
for each takes minutes; schemas that exist are few."""

_UNKNOWN = Unreadable(Reason.UNKNOWN_SCHEMA_ID, "the registry has no such schema")
_NOT_ASKED = Unreadable(
    Reason.UNKNOWN_SCHEMA_ID,
    f"not asked for, as the registry has no schema for {_MOST_UNKNOWN_IDS} other ids of the same batch",
)


class Persist(Protocol):
    """How a part that is away is dealt with: ``attempt`` is made at least once, and ``away`` is what it raises then."""

    def __call__(self, part: str, attempt: Callable[[], _Result], away: type[Exception], /) -> _Result: ...


def try_once(_part: str, attempt: Callable[[], _Result], _away: type[Exception]) -> _Result:
    """A :class:`Persist` that leaves the waiting to its caller."""
    return attempt()


@dataclass
class Decoded:
    """What a batch of records came to. Each record is in exactly one of the two."""

    rows: Sequence[Row] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


class Intake:
    """Takes records of one stream into one table. Keeps writer schemas and the table's layout between batches.

    The layout is read again when a schema is met that is new here, and every ``layout_seconds``, so that a column
    that was added to the table is filled without a restart.
    """

    def __init__(
        self,
        *,
        database: str,
        table: str,
        bounds: EventTimeBounds,
        registry: Registry,
        warehouse: Warehouse,
        metadata: MetadataColumns = METADATA,
        codec: Codec = AVRO,
        event: EventColumns = EventColumns(),  # noqa: B008  (frozen)
        persist: Persist = try_once,
        layout_seconds: float = 30.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """
        Args:
            codec, event: how the records are written, and what is known of the event's columns; by default those of the
                first stream. :meth:`of` takes both from a stream.
            persist: decides what happens while registry or warehouse are away.
            now: a monotonic clock (s).
        """
        self._database = database
        self._table = table
        self._metadata = metadata
        self._codec = codec
        self._event = event
        self._bounds = bounds
        self._registry = registry
        self._warehouse = warehouse
        self._persist = persist
        self._layout_seconds = layout_seconds
        self._now = now
        self._layout: TableLayout | None = None
        self._layout_read = 0.0
        self._schemas: dict[SchemaId, RegisteredSchema] = {OWN_SCHEMA: codec.own_schema} if codec.own_schema else {}
        self._readers: dict[SchemaId, Reader | Unreadable] = {}

    @classmethod
    def of(
        cls,
        stream: Stream,
        *,
        database: str,
        bounds: EventTimeBounds,
        registry: Registry,
        warehouse: Warehouse,
        table: str | None = None,
        metadata: MetadataColumns = METADATA,
        persist: Persist = try_once,
    ) -> Self:
        """The one way to make the intake of a stream, for all who decide about its records.

        Args:
            table, metadata: where they are not the stream's own.
        """
        return cls(
            database=database,
            table=table or stream.table,
            bounds=bounds,
            registry=registry,
            warehouse=warehouse,
            metadata=metadata,
            codec=codec_of(stream),
            event=EventColumns.of(stream),
            persist=persist,
        )

    @property
    def codec(self) -> Codec:
        return self._codec

    def layout(self) -> TableLayout:
        """The table's layout, read on the first call.

        Raises:
            UnsupportedTableError: the table has a shape that cannot be filled.
            WarehouseUnavailableError: as ``persist`` lets it through.
        """
        if self._layout is None:
            self._layout = self._describe()
            _tell_unfilled(self._layout)
        return self._layout

    def take_in(self, records: Sequence[Record]) -> Decoded:
        """Decode and store, and again where the table lost a column in between; raises what these two raise."""
        while True:
            try:
                return self.store(self.decode(records))
            except TableChangedError as error:
                _log.warning("the table lost a column, the batch is decoded again: %s", error)

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Decide about each record; nothing is stored yet.

        Raises:
            UnsupportedTableError, RegistryUnavailableError, WarehouseUnavailableError: as for :meth:`layout`.
        """
        batch = Batch.of(records)
        bodies = self._codec.bodies(batch)
        if bodies is None:
            batch = Batch.of(list(batch))  # each is looked at more than once
        readers = self._readers_of(batch, bodies)
        return Decoded(*Decoder(self.layout(), self._bounds, self._codec).decode_all(batch, bodies, readers))

    def store(self, decoded: Decoded) -> Decoded:
        """Store the rows, file the letters; on return both are readable.

        Rows that the table refuses become dead letters: each on its own as long as they are few, else together with
        those around them; then good ones may be among them (their detail begins with :data:`REFUSED_TOGETHER`), and
        storing those again, at most :data:`TOLD_APART` at once, finds them.

        Returns:
            What was stored as rows, and what was filed as letters.

        Raises:
            TableChangedError: the table lost a column; decode the records again, and store those.
            WarehouseUnavailableError: as ``persist`` lets it through; any part of the batch may be stored.
            InsertRefusedError: a dead letter was refused. It has no further place to go.
        """
        refused = self._insert(decoded.rows, self._insert_rows)
        letters = decoded.letters + [
            decoded.rows[place].record.dead(Reason.INSERT_REFUSED, error.detail) for place, error in refused.items()
        ]
        for error in self._insert(letters, self._insert_letters).values():
            raise error
        if not refused:
            return Decoded(decoded.rows, letters)
        return Decoded([row for place, row in enumerate(decoded.rows) if place not in refused], letters)

    def _insert_rows(self, rows: Sequence[Row]) -> None:
        layout = self.layout()
        try:
            self._warehouse.insert_rows(layout, rows)
        except TableChangedError as error:
            self._refresh_layout()
            if self._layout == layout:
                # What is left is no table that can be filled; whoever changes it back is waited for.
                raise WarehouseUnavailableError(str(error)) from error
            raise

    def _insert_letters(self, letters: Sequence[DeadLetter]) -> None:
        try:
            self._warehouse.insert_dead_letters(self._database, letters)
        except TableChangedError as error:
            # Their columns are always the same ones; whoever changes the table back is waited for.
            raise WarehouseUnavailableError(str(error)) from error

    def _readers_of(self, batch: Batch, bodies: Bodies | None) -> Mapping[SchemaId, Reader | Unreadable]:
        met = self._schemas_of(batch, bodies)
        new = met.keys() - self._schemas.keys()
        # Where so many are new that not all may be asked for, the subject's own go first: good events are under these.
        # Then what many records name, and what is small: registries count upwards.
        own = self._own_ids(batch[0].topic) if len(new) > _MOST_UNKNOWN_IDS else frozenset[int]()
        unreadable, news = self._ask_for(sorted(new, key=lambda each: (each not in own, -met[each], int(each))))
        if news or self._now() - self._layout_read >= self._layout_seconds:
            self._refresh_layout()
        self._schemas |= news
        for identifier, schema in self._schemas.items():
            if identifier not in self._readers:
                self._readers[identifier] = self._codec.reader(schema, self.layout())
        return self._readers | unreadable

    def _schemas_of(self, batch: Batch, bodies: Bodies | None) -> Counter[SchemaId]:
        """How many records name each."""
        if bodies is None:
            return Counter(named for record in batch if (named := schema_of(record, self._codec)) is not None)
        identifiers, counts = np.unique(bodies.identifiers, return_counts=True)
        met: Counter[SchemaId] = Counter(dict(zip(identifiers.tolist(), counts.tolist(), strict=True)))
        del met[0]
        for place in np.flatnonzero(bodies.identifiers == 0).tolist():
            if (named := schema_of(batch[place], self._codec)) is not None:
                met[named] += 1
        return met

    def _own_ids(self, topic: str) -> frozenset[int]:
        ask = partial(self._registry.ids_of, subject_of(topic), newest=_MOST_UNKNOWN_IDS)
        return frozenset(self._persist("schema registry", ask, RegistryUnavailableError))

    def _ask_for(self, ids: Sequence[SchemaId]) -> tuple[dict[SchemaId, Unreadable], dict[SchemaId, RegisteredSchema]]:
        """What the registry says of ids that are new here, in this order."""
        unreadable: dict[SchemaId, Unreadable] = {}
        news: dict[SchemaId, RegisteredSchema] = {}
        for identifier in ids:
            if len(unreadable) >= _MOST_UNKNOWN_IDS:
                unreadable[identifier] = _NOT_ASKED
                continue
            schema = self._persist(
                "schema registry", partial(self._registry.schema, identifier), RegistryUnavailableError
            )
            # An id that is unknown now may be registered later; one that is known whole never changes.
            if schema is None:
                unreadable[identifier] = _UNKNOWN
            elif schema.missing:
                detail = f"the registry does not have {', '.join(schema.missing)}, which it refers to"
                unreadable[identifier] = Unreadable(Reason.UNSUPPORTED_SCHEMA, detail)
            else:
                news[identifier] = schema
        return unreadable, news

    def _refresh_layout(self) -> None:
        known = self.layout()
        try:
            self._layout = self._describe()
        except UnsupportedTableError as error:
            # The columns known so far can still be filled; stopping would hold up every event for one new column.
            _log.error("the table was changed, and is filled as before: %s", error)
            return
        if self._layout.unfilled != known.unfilled:
            _tell_unfilled(self._layout)
        if self._layout != known:
            _log.warning("the table's columns are now %s", ", ".join(column.name for column in self._layout.fields))
            self._readers.clear()

    def _describe(self) -> TableLayout:
        self._layout_read = self._now()
        described = self._persist(
            "warehouse", partial(self._warehouse.describe, self._database, self._table), WarehouseUnavailableError
        )
        return TableLayout.of(
            described, database=self._database, table=self._table, metadata=self._metadata, event=self._event
        )

    def _insert(
        self, items: Sequence[_Item], insert: Callable[[Sequence[_Item]], None]
    ) -> dict[int, InsertRefusedError]:
        """Insert ``items``, in halves where the whole is refused; returns what was refused, by its place among them."""
        refused: dict[int, InsertRefusedError] = {}
        refusals = 0
        # Largest first: what is good stands in few inserts, and when the tries run out the pieces left are small.
        pieces = deque([range(len(items))] if items else [])
        while pieces:
            piece = pieces.popleft()
            attempt = partial(_insert_piece, items[piece.start : piece.stop], insert)
            try:
                self._persist("warehouse", attempt, WarehouseUnavailableError)
            except InsertTooLargeError:
                pieces.extend(_halves(piece))
            except InsertRefusedError as error:
                if len(piece) == 1:
                    refused[piece.start] = error
                elif refusals < TOLD_APART:
                    refusals += 1
                    pieces.extend(_halves(piece))
                else:
                    together = InsertRefusedError(f"{REFUSED_TOGETHER}{len(piece) - 1} others: {error.detail}")
                    refused |= dict.fromkeys(piece, together)
        return refused


def _tell_unfilled(layout: TableLayout) -> None:
    for reason in layout.unfilled:
        _log.error("the column is left to its default, and all others are filled: %s", reason)


def _insert_piece(piece: Sequence[_Item], insert: Callable[[Sequence[_Item]], None]) -> None:
    try:
        insert(piece)
    except InsertTooLargeError as error:
        if len(piece) == 1:
            raise WarehouseUnavailableError(str(error)) from error
        raise


def _halves(piece: range) -> tuple[range, range]:
    middle = len(piece) // 2
    return piece[:middle], piece[middle:]

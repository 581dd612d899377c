"""Many records, and many rows: as columns, of which one is made an object of its own where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etar.records.record import Record, Row

if TYPE_CHECKING:
    from confluent_kafka import Message

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Batch(Sequence[Record]):
    """Records in the order in which they were read, with what :class:`Record` has of each as a column.

    ``headed``: which of them have headers.
    """

    def __init__(
        self,
        record: Callable[[int], Record],
        *,
        values: list[bytes | None],
        topics: npt.NDArray[np.object_],
        partitions: Integers,
        offsets: Integers,
        appended_ms: Integers,
        headed: Flags,
    ) -> None:
        """``record``: makes the one at a place."""
        self._record = record
        self.values = values
        self.topics = topics
        self.partitions = partitions
        self.offsets = offsets
        self.appended_ms = appended_ms
        self.headed = headed

    @classmethod
    def of(cls, records: Sequence[Record]) -> Batch:
        if isinstance(records, Batch):
            return records
        return cls(
            records.__getitem__,
            values=[record.value for record in records],
            topics=np.array([record.topic for record in records], np.object_),
            partitions=np.array([record.partition for record in records], np.int64),
            offsets=np.array([record.offset for record in records], np.int64),
            appended_ms=np.array([record.appended_ms for record in records], np.int64),
            headed=np.array([bool(record.headers) for record in records], np.bool_),
        )

    @classmethod
    def of_messages(cls, messages: Sequence[Message], topic: str) -> Self:
        """``messages``: records of one topic, none of them an error."""
        count = len(messages)
        return cls(
            lambda place: Record.of(messages[place]),
            values=[message.value() for message in messages],
            topics=np.full(count, topic, np.object_),
            partitions=np.array([message.partition() for message in messages], np.int64),
            offsets=np.array([message.offset() for message in messages], np.int64),
            appended_ms=np.array([message.timestamp()[1] for message in messages], np.int64),
            headed=np.array([bool(message.headers()) for message in messages], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...

    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        places = range(len(self))[place]
        return self._record(places) if isinstance(places, int) else list(map(self._record, places))


class Rows(Sequence[Row]):
    """Rows of a batch of records, as a table."""

    def __init__(self, table: pa.Table, row: Callable[[int], Row], places: Integers) -> None:
        """
        Args:
            table: all columns of the warehouse's table, with those that say where a row stood in Kafka.
            row: makes the one of the record at a place.
            places: of each row, the place of its record.
        """
        self.table = table
        self._row = row
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        chosen = range(len(self))[place]
        if isinstance(chosen, int):
            return self._row(int(self._places[chosen]))
        if chosen.step != 1:
            return [self[each] for each in chosen]
        return Rows(self.table.slice(chosen.start, len(chosen)), self._row, self._places[place])

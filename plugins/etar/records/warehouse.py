"""Inserts of the sink, and what it means when one fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from etar import dead_letters
from etar.clients import OF_ANOTHER_TYPE, WarehouseUnavailableError, WarehouseUser
from etar.dead_letters import DeadLetter
from etar.records.batch import Rows
from etar.records.record import Row
from etar.records.table import TableLayout
from etar.settings import WarehouseSettings

_INSERT_SETTINGS: Mapping[str, int] = MappingProxyType(
    {
        # A backlog at a low rate spans a day of minutes in one batch, and each minute is a partition. Event times are
        # bounded before a row gets here, so the number of partitions is, too.
        "max_partitions_per_insert_block": 0,
        # The commit follows the answer, so the answer must mean "stored".
        "async_insert": 0,
        "wait_end_of_query": 1,
    }
)

_REFUSED_FOR_ITS_DATA = OF_ANOTHER_TYPE | {
    117,  # INCORRECT_DATA
    131,  # TOO_LARGE_STRING_SIZE
    321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    395,  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
    469,  # VIOLATED_CONSTRAINT
}
"""Engine errors that lie in the rows. Everything else (a missing table, a full disk, too many parts, a wrong password)
can be put right without losing a row, and is waited for."""

_TOO_LARGE_AT_ONCE = frozenset(
    {
        159,  # TIMEOUT_EXCEEDED: a part for each of very many minutes
        241,  # MEMORY_LIMIT_EXCEEDED
        252,  # TOO_MANY_PARTS (also: more partitions in a block than a server's profile allows)
    }
)


_NO_SUCH_COLUMN = 16  # NO_SUCH_COLUMN_IN_TABLE


class InsertRefusedError(ValueError):
    """The warehouse refused an insert for its data. ``detail`` is the engine's message."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TableChangedError(Exception):
    """The table no longer has a column that the rows were made for; decoded again for the new layout, they fit."""


class InsertTooLargeError(Exception):
    """The warehouse could not take this many rows at once; fewer may go through."""


class Warehouse(WarehouseUser):
    """What the sink stores, and asks before. Connects on first use."""

    def __init__(self, settings: WarehouseSettings, *, timeout: int = 120) -> None:
        """``timeout``: seconds to wait for one insert; well below the consumer's ``max.poll.interval.ms``.

        The server ends it before: one that goes on after its client has given it up is sent again beside itself.
        """
        super().__init__(
            settings,
            autogenerate_session_id=False,
            connect_timeout=5,
            send_receive_timeout=timeout,
            client_name="etar-sink",
        )
        self._timeout = timeout

    def describe(self, database: str, table: str) -> list[tuple[str, str, str]]:
        """``(name, type, default kind)`` of every column, in order.

        Raises:
            WarehouseUnavailableError: no answer, or no such table (yet).
        """
        try:
            rows = self._connected().query(f"DESCRIBE TABLE `{database}`.`{table}`").result_rows
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error
        return [(row[0], row[1], row[2]) for row in rows]

    def stored_topic(self, database: str, topic: str) -> str | None:
        """Kafka's id of the topic whose records are stored under this name; None before the first.

        Raises:
            WarehouseUnavailableError: no answer.
        """
        query = (
            f"SELECT topic_id FROM `{database}`.stored_topics WHERE _topic = {{topic:String}} "
            "ORDER BY known_since DESC LIMIT 1"
        )
        try:
            rows = self._connected().query(query, parameters={"topic": topic}).result_rows
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error
        return str(rows[0][0]) if rows else None

    def note_topic(self, database: str, topic: str, topic_id: str) -> None:
        """From now on the records stored under this name are of the topic that Kafka knows by ``topic_id``.

        Raises:
            WarehouseUnavailableError: no answer.
        """
        columns = ["_topic", "topic_id"]
        try:
            self._connected().insert("stored_topics", [[topic, topic_id]], column_names=columns, database=database)
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error

    def insert_rows(self, layout: TableLayout, rows: Sequence[Row]) -> None:
        """Store ``rows``; on return they are readable.

        Raises:
            InsertRefusedError, InsertTooLargeError, TableChangedError, WarehouseUnavailableError
        """
        self._insert(layout.database, layout.table, rows_to_arrow(layout, rows))

    def insert_dead_letters(self, database: str, letters: Sequence[DeadLetter]) -> None:
        """Store ``letters``; raises like :meth:`insert_rows`."""
        self._insert(database, dead_letters.TABLE, dead_letters_to_arrow(letters))

    def _insert(self, database: str, table: str, rows: pa.Table) -> None:
        try:
            settings = {**_INSERT_SETTINGS, "max_execution_time": max(1, self._timeout * 3 // 4)}
            self._connected().insert_arrow(f"`{database}`.`{table}`", rows, settings=settings)
        except (ClickHouseError, OSError) as error:
            code = error.code if isinstance(error, Error) else None
            if code in _REFUSED_FOR_ITS_DATA:
                raise InsertRefusedError(str(error)) from error
            if code in _TOO_LARGE_AT_ONCE or "HTTP status 413" in str(error):
                raise InsertTooLargeError(str(error)) from error
            if code == _NO_SUCH_COLUMN:
                raise TableChangedError(str(error)) from error
            raise WarehouseUnavailableError.at(self._settings, error) from error


def rows_to_arrow(layout: TableLayout, rows: Sequence[Row]) -> pa.Table:
    """As :meth:`TableLayout.table_of`."""
    return rows.table if isinstance(rows, Rows) else layout.table_of_rows(rows)


_DEAD_LETTERS = pa.schema(
    [
        pa.field("_topic", pa.string()),
        pa.field("_partition", pa.int32()),
        pa.field("_offset", pa.int64()),
        pa.field("_timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)


def dead_letters_to_arrow(letters: Sequence[DeadLetter]) -> pa.Table:
    """Dead letters as the columns of their table (``sql/clickhouse``)."""
    columns = [
        [letter.topic for letter in letters],
        [letter.partition for letter in letters],
        [letter.offset for letter in letters],
        [letter.appended for letter in letters],
        [letter.reason.value for letter in letters],
        [letter.detail for letter in letters],
        [letter.key for letter in letters],
        [letter.value for letter in letters],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _DEAD_LETTERS, strict=True)]
    return pa.table(arrays, schema=_DEAD_LETTERS)

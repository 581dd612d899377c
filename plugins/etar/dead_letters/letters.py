"""The dead letters of one topic, as the warehouse keeps them: found by what they are, read page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from etar import dead_letters
from etar.clients import WarehouseUnavailableError, WarehouseUser
from etar.dead_letters import DeadLetter, Reason, fields
from etar.instants import from_milliseconds, to_milliseconds
from etar.settings import WarehouseSettings
from etar.streams import OF_FORMER_LOGS

_ID = re.compile(r"(?P<partition>\d{1,9}):(?P<offset>\d{1,18})")
_PAGE = 5_000


class UnknownLetterError(LookupError):
    """A name that is not a dead letter's."""


class LetterId(NamedTuple):
    """Where the record stands in its topic."""

    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """From ``3:1042``: partition 3, offset 1042."""
        match = _ID.fullmatch(text)
        if match is None:
            raise UnknownLetterError(f"{text!r} names no dead letter; write PARTITION:OFFSET, like 3:1042")
        return cls(int(match["partition"]), int(match["offset"]))

    @classmethod
    def of(cls, letter: DeadLetter) -> LetterId:
        return cls(letter.partition, letter.offset)

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class State(StrEnum):
    """What became of a letter."""

    UNFILED = "unfiled"
    """Kafka Connect gave the record up, and the auditor has not looked at it yet: it may become a row, or a letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Selection:
    """Which letters are meant. Empty filters let everything through.

    ``first`` and ``end`` bound the append time, half-open.
    """

    ids: tuple[LetterId, ...] = ()
    reasons: frozenset[Reason] = frozenset()
    first: datetime | None = None
    end: datetime | None = None
    states: frozenset[State] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing narrows it down but the state."""
        return not (self.ids or self.reasons or self.first or self.end)


class Summary(NamedTuple):
    """A letter without its bytes. ``size``: of the value, in bytes; None for a record without one."""

    id: LetterId
    appended: datetime
    reason: Reason
    detail: str
    size: int | None

    @classmethod
    def of(cls, letter: DeadLetter) -> Summary:
        size = None if letter.value is None else len(letter.value)
        return cls(LetterId.of(letter), letter.appended, letter.reason, letter.detail, size)


class Place(NamedTuple):
    """Where a letter stands among the others: by append time, then by its own place in Kafka."""

    appended: datetime
    partition: int
    offset: int

    @classmethod
    def of(cls, summary: Summary) -> Place:
        return cls(summary.appended, *summary.id)

    @property
    def bound(self) -> dict[str, Any]:
        """As :data:`_PLACE` names it."""
        return {"appended": to_milliseconds(self.appended), "partition": self.partition, "offset": self.offset}


_ORDER = "(_timestamp, _partition, _offset)"
_INSTANT = "fromUnixTimestamp64Milli({appended:Int64}, 'UTC')"
_PLACE = f"({_INSTANT}, {{partition:Int32}}, {{offset:Int64}})"


class Letters(WarehouseUser):
    """Reads the dead letters of one topic, or of one former log of it. A context manager; connects on first use.

    Every method raises:
        WarehouseUnavailableError: no answer.
    """

    def __init__(self, settings: WarehouseSettings, topic: str, *, seconds_max: int | None = None) -> None:
        """``seconds_max``: of one question, where somebody waits for its answer."""
        options: dict[str, Any] = {"autogenerate_session_id": False}
        if seconds_max is not None:
            options |= {
                "connect_timeout": 5,
                "send_receive_timeout": seconds_max + 5,
                "settings": {"max_execution_time": seconds_max},
            }
        super().__init__(settings, **options)
        self._topic = topic

    def pages(self, selection: Selection) -> Iterator[list[Summary]]:
        """The letters of ``selection`` (states aside), by append time, a page at a time."""
        conditions, bound = self._conditions(selection)
        after = ""
        while True:
            rows = self._query(
                "SELECT _partition, _offset, toUnixTimestamp64Milli(_timestamp), reason, detail, length(value) "
                f"FROM {dead_letters.TABLE} FINAL WHERE {' AND '.join(conditions)}{after} "
                f"ORDER BY _timestamp, _partition, _offset LIMIT {_PAGE}",
                bound,
            )
            page = [_summary(row) for row in rows]
            if page:
                yield page
            if len(page) < _PAGE:
                return
            last = page[-1]
            bound |= Place.of(last).bound
            after = f" AND _timestamp >= {_INSTANT} AND {_ORDER} > {_PLACE}"

    def newest(self, selection: Selection, *, field: str | None, before: Place | None, most: int) -> list[Summary]:
        """At most so many letters of ``selection`` (states aside), the newest first.

        Args:
            field: only letters whose reason is about this one.
            before: only letters that come after this place in the list.
        """
        conditions, bound = self._conditions(selection, field)
        if before is not None:
            conditions.append(f"_timestamp <= {_INSTANT} AND {_ORDER} < {_PLACE}")
            bound |= before.bound
        rows = self._query(
            "SELECT _partition, _offset, toUnixTimestamp64Milli(_timestamp), reason, detail, length(value) "
            f"FROM {dead_letters.TABLE} FINAL WHERE {' AND '.join(conditions)} "
            "ORDER BY _timestamp DESC, _partition DESC, _offset DESC LIMIT {most:UInt32}",
            bound | {"most": most},
        )
        return [_summary(row) for row in rows]

    def counts(
        self, selection: Selection, *, field: str | None, seconds: int
    ) -> Iterator[tuple[datetime, Reason, int]]:
        """How many letters of ``selection`` (states aside) there are of each reason in each bucket of so many seconds,
        the oldest first; buckets begin where whole ones since 1970 do."""
        conditions, bound = self._conditions(selection, field)
        rows = self._query(
            "SELECT intDiv(toUnixTimestamp64Milli(_timestamp), {bucket:Int64}) * {bucket:Int64} AS start, reason, "
            f"count() FROM {dead_letters.TABLE} FINAL WHERE {' AND '.join(conditions)} "
            "GROUP BY start, reason ORDER BY start, reason",
            bound | {"bucket": seconds * 1000},
        )
        return ((from_milliseconds(start), Reason(reason), count) for start, reason, count in rows)

    def failing_fields(self, selection: Selection, *, most: int) -> dict[str, int]:
        """Fields that the reasons of ``selection`` are about, with their letters, the most first."""
        conditions, bound = self._conditions(selection)
        rows = self._query(
            f"SELECT {fields.SQL} AS field, count() AS letters FROM {dead_letters.TABLE} FINAL "
            f"WHERE {' AND '.join(conditions)} AND field != '' "
            "GROUP BY field ORDER BY letters DESC, field LIMIT {most:UInt32}",
            bound | {"most": most},
        )
        return {str(field): int(letters) for field, letters in rows}

    def of_former_logs(self) -> dict[str, int]:
        """How many letters there are of each former log of the topic."""
        found = self._query(
            f"SELECT _topic, count() FROM {dead_letters.TABLE} FINAL WHERE {OF_FORMER_LOGS} "
            "GROUP BY _topic ORDER BY _topic",
            {"topic": self._topic},
        )
        return {str(log): int(letters) for log, letters in found}

    def read(self, ids: Sequence[LetterId]) -> list[DeadLetter]:
        """These letters with their bytes, in this order. One that is no longer there is left out."""
        if not ids:
            return []
        rows = self._query(
            "SELECT _partition, _offset, toUnixTimestamp64Milli(_timestamp), reason, detail, key, value "
            f"FROM {dead_letters.TABLE} FINAL WHERE _topic = {{topic:String}} AND {_among(ids)}",
            {"topic": self._topic},
            column_formats={"key": "bytes", "value": "bytes"},
        )
        found = {
            LetterId(partition, offset): DeadLetter(
                topic=self._topic,
                partition=partition,
                offset=offset,
                appended=from_milliseconds(appended),
                reason=Reason(reason),
                detail=detail,
                key=key,
                value=value,
            )
            for partition, offset, appended, reason, detail, key, value in rows
        }
        return [found[letter] for letter in ids if letter in found]

    def _conditions(self, selection: Selection, field: str | None = None) -> tuple[list[str], dict[str, Any]]:
        conditions = ["_topic = {topic:String}"]
        bound: dict[str, Any] = {"topic": self._topic}
        if selection.ids:
            conditions.append(_among(selection.ids))
        if selection.reasons:
            conditions.append("reason IN {reasons:Array(String)}")
            bound["reasons"] = sorted(selection.reasons)
        if field is not None:
            conditions.append(f"{fields.SQL} = {{field:String}}")
            bound["field"] = field
        for name, operator, instant in (("first", ">=", selection.first), ("end", "<", selection.end)):
            if instant is not None:
                conditions.append(f"_timestamp {operator} fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')")
                bound[name] = _microseconds(instant)
        return conditions, bound

    def _query(self, query: str, bound: dict[str, Any], **options: Any) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            rows: Sequence[Sequence[Any]] = self._connected().query(query, parameters=bound, **options).result_rows
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailableError.at(self._settings, error) from error
        return rows


def _among(ids: Sequence[LetterId]) -> str:
    # Numbers, in the query's own text: bound parameters travel in the URL, which has no room for a thousand.
    return f"(_partition, _offset) IN ({', '.join(f'({partition}, {offset})' for partition, offset in ids)})"


def _summary(row: Sequence[Any]) -> Summary:
    partition, offset, appended, reason, detail, size = row
    return Summary(LetterId(partition, offset), from_milliseconds(appended), Reason(reason), detail, size)


def _microseconds(instant: datetime) -> int:
    # The engine's instants have an end, and Kafka has taken nothing beyond these years.
    within = min(max(instant, datetime(1970, 1, 1, tzinfo=UTC)), datetime(2200, 1, 1, tzinfo=UTC))
    return int(within.timestamp()) * 1_000_000 + within.microsecond

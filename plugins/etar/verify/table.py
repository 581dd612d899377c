"""What the warehouse says: rows and dead letters, counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from etar import dead_letters
from etar.clients import WarehouseUser
from etar.minute import MinuteWindow
from etar.offsets import Span, without
from etar.settings import WarehouseSettings
from etar.streams import OF_ANY_LOG, Stream
from etar.verify.facts import ClosedOffsets, Coverage, Offset, PlaceUnavailableError

if TYPE_CHECKING:
    pass


_SAMPLE = 20
_MINUTES_PER_QUERY = 15
"""Distinct events are counted in sets of their ids: a quarter of an hour of them fits into memory at any rate."""

_LETTERS_PER_QUERY = 5000
_KEPT = "event_minute >= {oldest:DateTime('UTC')}"


@dataclass(frozen=True)
class _Stored:
    """Distinct offsets in the table, in the dead letters, and in both."""

    rows: int = 0
    letters: int = 0
    both: int = 0

    def __add__(self, other: _Stored) -> _Stored:
        return _Stored(self.rows + other.rows, self.letters + other.letters, self.both + other.both)

    @property
    def offsets(self) -> int:
        return self.rows + self.letters - self.both


@dataclass(frozen=True)
class MinuteCounts:
    """Rows of one minute, each record once, and distinct events.

    Args:
        fresh: rows that arrived since a given instant.
        owned, owned_events: rows whose records are of given offsets, and their events.
        established: events of rows that are not fresh, or owned.
    """

    rows: int = 0
    unique: int = 0
    fresh: int = 0
    owned: int = 0
    owned_events: int = 0
    established: int = 0


class Table(WarehouseUser):
    """Counts of one stream's rows and dead letters in the warehouse. A context manager.

    Rows of minutes before ``oldest`` count as gone: the table is dropping them.

    Every method raises:
        PlaceUnavailableError: the warehouse is away, or answers with an error.
    """

    def __init__(self, settings: WarehouseSettings, stream: Stream, *, oldest: MinuteWindow) -> None:
        super().__init__(settings)
        self._stream = stream
        self._oldest = oldest

    def minutes(
        self, windows: Sequence[MinuteWindow], *, fresh_from: datetime, owned: Mapping[int, Span]
    ) -> dict[MinuteWindow, MinuteCounts]:
        """Counts by event time; minutes without rows are left out. ``owned``: offsets by partition, of the topic as it
        is now; the others count rows of its former logs as well."""
        is_owned = f"(_topic = {{topic:String}} AND {_any_of(owned)})"
        found: dict[MinuteWindow, MinuteCounts] = {}
        for at in range(0, len(windows), _MINUTES_PER_QUERY):
            asked = windows[at : at + _MINUTES_PER_QUERY]
            rows = self._query(
                f"SELECT event_minute, count(), {self._events()}, countIf(is_fresh), countIf({is_owned}), "
                f"{self._events(is_owned)}, {self._events(f'NOT is_fresh OR {is_owned}')} "
                f"FROM (SELECT {', '.join([*self._identity, 'event_minute, _topic, _partition, _offset'])}, "
                "_timestamp >= {fresh_from:DateTime('UTC')} AS is_fresh "
                f"FROM {self._stream.table} FINAL "
                "WHERE event_minute >= {first:DateTime('UTC')} AND event_minute <= {last:DateTime('UTC')} "
                "AND has({minutes:Array(DateTime('UTC'))}, event_minute)) "
                "GROUP BY event_minute SETTINGS do_not_merge_across_partitions_select_final = 1",
                first=min(asked).start,
                last=max(asked).start,
                minutes=[window.start for window in asked],
                fresh_from=fresh_from,
            )
            found |= {_window(minute): MinuteCounts(rows, unique, *rest) for minute, rows, unique, *rest in rows}
        return found

    @property
    def _identity(self) -> list[str]:
        """The columns, quoted, by which two rows are the same event."""
        return [f"`{name}`" for name in self._stream.identity]

    def _events(self, condition: str | None = None) -> str:
        """The count of different events, of the rows for which the condition holds; without an identity each row is
        one."""
        only = "" if condition is None else "If"
        arguments = [*self._identity, *([] if condition is None else [condition])]
        return f"{'uniqExact' if self._identity else 'count'}{only}({', '.join(arguments)})"

    def minutes_of(self, offsets: Mapping[int, Span]) -> list[MinuteWindow]:
        """Minutes that the rows of these records are in."""
        found = self._query(
            f"SELECT DISTINCT event_minute FROM {self._stream.table} WHERE {_KEPT} "
            f"AND _topic = {{topic:String}} AND {_any_of(offsets)}"
        )
        return sorted(_window(minute) for (minute,) in found)

    def dead_letters(self, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, int]:
        """Dead letters, also of former logs, by the minute in which the broker took the record."""
        # Bounds of the column's own type: with whole seconds the engine may pass over what came in the last second.
        found = self._query(
            "SELECT toStartOfMinute(_timestamp) AS minute, uniqExact(_topic, _partition, _offset) "
            f"FROM {dead_letters.TABLE} WHERE {OF_ANY_LOG} AND _timestamp >= {{first:DateTime64(3, 'UTC')}} "
            "AND _timestamp < {end:DateTime64(3, 'UTC')} GROUP BY minute",
            first=first.start,
            end=end.start,
        )
        return {_window(minute): letters for minute, letters in found}

    def letters_by_reason(self, offsets: Mapping[int, Span], *, only: Iterable[Offset] | None = None) -> dict[str, int]:
        """Dead letters of these records that are no rows as well; ``only`` those named, if it is given."""
        here = f"_topic = {{topic:String}} AND {_any_of(offsets)}"
        found: dict[str, int] = {}
        for condition in ["AND true"] if only is None else _named(only):
            letters = f"FROM {dead_letters.TABLE} FINAL WHERE {here} {condition}"
            counted = self._query(
                f"SELECT reason, count() {letters} AND (_partition, _offset) NOT IN (SELECT _partition, _offset FROM "
                f"{self._stream.table} WHERE {here} AND {_KEPT} AND (_partition, _offset) IN "
                f"(SELECT _partition, _offset {letters})) GROUP BY reason"
            )
            for reason, count in counted:
                found[reason] = found.get(reason, 0) + count
        return found

    def coverage(self, partition: int, span: Span, *, closed: Sequence[ClosedOffsets], young_from: int) -> Coverage:
        """Where the offsets of ``span`` are.

        Args:
            closed: what the auditor has closed, of this partition.
            young_from: offset from which on no row can have left the table for its age.
        """
        inside = [each for each in closed if each.offsets.clipped(span) == each.offsets]
        old = [each for each in inside if each.offsets.end <= young_from]
        old_offsets = [each.offsets for each in closed if each.offsets.end <= young_from]
        alive = without(span, old_offsets)
        dropped = without(span, alive)
        held = self._stored(partition, [*alive, *dropped])
        stored = sum((held[part] for part in alive), _Stored())
        left_over = sum((held[part] for part in dropped), _Stored())
        # Rows may have left for their age; letters are kept longer, and have to be there.
        lacking = self._lacking_letters(partition, old)
        unstored = sum(each.no_record + each.lost for each in old) + sum(lacking.values())
        coverage = Coverage(
            span=span,
            in_table=stored.rows + left_over.rows,
            in_dead_letters=stored.letters + left_over.letters,
            in_both=stored.both + left_over.both,
            closed=max(0, sum(part.size for part in dropped) - left_over.offsets - unstored),
            no_record=sum(each.no_record for each in inside),
            lost=sum(each.lost for each in inside),
            unaudited=sum(part.size for part in without(Span(span.first, min(span.end, young_from)), old_offsets)),
            both_sample=self._both(partition, span) if stored.both or left_over.both else (),
        )
        if not coverage.missing:
            return coverage
        missing = sorted([*lacking, *self._gaps(partition, alive)])
        return replace(coverage, missing_spans=tuple(missing[:_SAMPLE]))

    def _lacking_letters(self, partition: int, closed: Sequence[ClosedOffsets]) -> dict[Span, int]:
        """How many dead letters of closed offsets are gone, by those offsets; without those that lack none."""
        if not any(each.dead_letters for each in closed):
            return {}
        firsts = sorted({each.offsets.first for each in closed})
        _, in_letters, both = self._selects()
        found = self._query(
            f"SELECT roundDown(_offset, CAST({firsts}, 'Array(Int64)')) AS first, uniqExact(_offset) "
            f"FROM ({in_letters}) WHERE _offset NOT IN ({both}) GROUP BY first",
            **self._bound(partition, Span(firsts[0], max(each.offsets.end for each in closed))),
        )
        letters = {int(first): count for first, count in found}
        gone = {each.offsets: each.dead_letters - letters.get(each.offsets.first, 0) for each in closed}
        return {offsets: count for offsets, count in gone.items() if count > 0}

    def _stored(self, partition: int, parts: Sequence[Span]) -> dict[Span, _Stored]:
        """Of each part. The table is gone through once, which costs as much as it has parts of its own."""
        if not parts:
            return {}
        in_table, in_letters, _ = self._selects()
        bound = self._bound(partition, Span(min(part.first for part in parts), max(part.end for part in parts)))
        first = f"roundDown(_offset, CAST({sorted(part.first for part in parts)}, 'Array(Int64)')) AS first"
        inside = " OR ".join(f"_offset >= {part.first} AND _offset < {part.end}" for part in parts)
        rows = self._query(
            f"SELECT {first}, uniqExact(_offset), uniqExactIf(_offset, _offset IN ({in_letters})) "
            f"FROM ({in_table} AND ({inside})) GROUP BY first",
            **bound,
        )
        letters = self._query(
            f"SELECT {first}, uniqExact(_offset) FROM ({in_letters} AND ({inside})) GROUP BY first", **bound
        )
        found = dict.fromkeys((part.first for part in parts), _Stored())
        for start, count, both in rows:
            found[start] += _Stored(rows=count, both=both)
        for start, count in letters:
            found[start] += _Stored(letters=count)
        return {part: found[part.first] for part in parts}

    def _gaps(self, partition: int, parts: Iterable[Span]) -> tuple[Span, ...]:
        in_table, in_letters, _ = self._selects()
        gaps: list[Span] = []
        for part in parts:
            found = self._query(
                "SELECT previous + 1, offset FROM (SELECT _offset AS offset, "
                "lagInFrame(_offset, 1, {first:Int64} - 1) OVER (ORDER BY _offset ROWS BETWEEN UNBOUNDED PRECEDING "
                f"AND CURRENT ROW) AS previous FROM (SELECT DISTINCT _offset FROM ({in_table} UNION ALL {in_letters} "
                "UNION ALL SELECT {end:Int64}))) WHERE offset > previous + 1 "
                f"ORDER BY offset LIMIT {_SAMPLE}",
                **self._bound(partition, part),
            )
            gaps += [Span(int(first), int(end)) for first, end in found]
        return tuple(gaps[:_SAMPLE])

    def _both(self, partition: int, span: Span) -> tuple[int, ...]:
        _, _, both = self._selects()
        found = self._query(
            f"SELECT DISTINCT _offset FROM ({both}) ORDER BY _offset LIMIT {_SAMPLE}", **self._bound(partition, span)
        )
        return tuple(offset for (offset,) in found)

    def _selects(self) -> tuple[str, str, str]:
        """SELECTs of offsets, with the parameters of :meth:`_bound`: in the table, in the dead letters, in both."""
        here = (
            "_topic = {topic:String} AND _partition = {partition:Int32} "
            "AND _offset >= {first:Int64} AND _offset < {end:Int64}"
        )
        in_table = f"SELECT _offset FROM {self._stream.table} WHERE {here} AND {_KEPT}"
        in_letters = f"SELECT _offset FROM {dead_letters.TABLE} WHERE {here}"
        return in_table, in_letters, f"{in_table} AND _offset IN ({in_letters})"

    def _bound(self, partition: int, span: Span) -> dict[str, int]:
        return {"partition": partition, "first": span.first, "end": span.end}

    def _query(self, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        settings = self._settings
        bound = {"topic": self._stream.topic, "oldest": self._oldest.start} | parameters
        try:
            rows: Sequence[Sequence[Any]] = self._connected().query(query, parameters=bound).result_rows
        except (ClickHouseError, OSError) as error:
            where = f"{settings.host}:{settings.port}"
            raise PlaceUnavailableError(f"the warehouse at {where} does not answer: {error}") from error
        return rows


def _any_of(offsets: Mapping[int, Span]) -> str:
    """Whether a record is one of these, in the warehouse's SQL."""
    either = [
        f"(_partition = {int(partition)} AND _offset >= {int(span.first)} AND _offset < {int(span.end)})"
        for partition, span in offsets.items()
        if span.size
    ]
    return f"({' OR '.join(either)})" if either else "false"


def _named(records: Iterable[Offset]) -> Iterator[str]:
    """Conditions that together hold for these records and no others; each is short enough for one query."""
    left = iter(records)
    while some := ", ".join(f"({int(p)}, {int(o)})" for p, o in islice(left, _LETTERS_PER_QUERY)):
        yield f"AND (_partition, _offset) IN ({some})"


def _window(minute: datetime) -> MinuteWindow:
    return MinuteWindow(minute if minute.tzinfo else minute.replace(tzinfo=UTC))

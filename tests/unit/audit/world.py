"""A topic, the places of its records and the auditor's books in memory: what an :class:`Auditor` asks, and no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from etar.audit.auditor import Auditor, AuditResult, Bounds
from etar.audit.holdings import Counts, Letter
from etar.audit.marks import Closed
from etar.audit.pieces import Mark, Piece
from etar.audit.placement import Repair
from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.letters import LetterId
from etar.event_times import EventTimeBounds
from etar.kafka.log import Explained
from etar.minute import MinuteWindow
from etar.offsets import Span, runs
from etar.records.framing import IN_HEADER, schema_id_of
from etar.records.intake import REFUSED_TOGETHER, Intake
from etar.records.record import Record, Row
from etar.records.registry import RegisteredSchema
from etar.records.warehouse import InsertRefusedError
from etar.settings import PipelineSettings
from etar.streams import default_stream
from tests.unit.records import events

MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")
POLICY = PipelineSettings(start_date=MINUTE.start - timedelta(hours=1), grace_seconds=2.0)
BAD = b"not Avro"
UNKNOWN_SCHEMA_ID = 9
REFUSED_AMOUNT = -1
"""The table takes no event of this amount."""


def good(number: int = 0, **changes: Any) -> bytes:
    return events.encode(events.event(number, **changes))


class Topic:
    """:class:`TopicOffsets`, :class:`KafkaRecords` and :class:`PartitionLogs`. A value of None stands for a marker."""

    def __init__(self, partitions: int) -> None:
        self.held: dict[int, list[tuple[datetime, bytes | None]]] = {number: [] for number in range(partitions)}
        self.lows = dict.fromkeys(self.held, 0)
        self.commits: dict[int, int] = {}
        self.id = "made first"
        self.holes: set[tuple[int, int]] = set()
        """Records that something has taken out of the log, by partition and offset."""
        self.reads = 0
        self.batch = 2
        """Records that are given out together: few, so that most tests' records come in several batches."""

    def append(self, partition: int, *values: bytes | None, at: datetime = MINUTE.start) -> None:
        self.held[partition].extend((at, value) for value in values)

    def topic_id(self) -> str:
        return self.id

    def partitions(self) -> list[int]:
        return list(self.held)

    def low(self) -> dict[int, int]:
        return self.lows

    def end(self) -> dict[int, int]:
        return {partition: len(held) for partition, held in self.held.items()}

    def committed(self, group: str) -> dict[int, int]:
        assert group == default_stream().sink_group
        return self.end() | self.commits

    def held_at(self, instant: datetime) -> dict[int, int]:
        """As Kafka has it: where the first record since then is that the log still holds."""
        return {
            partition: next(
                (
                    offset
                    for offset, (at, _) in enumerate(held)
                    if at >= instant and (partition, offset) not in self.holes
                ),
                len(held),
            )
            for partition, held in self.held.items()
        }

    def read(self, partition: int, offsets: Sequence[int]) -> Iterator[list[Record]]:
        assert list(offsets) == sorted(offsets)
        self.reads += 1
        records = [record for offset in offsets if (record := self._record(partition, offset))]
        for first in range(0, len(records), self.batch):
            yield records[first : first + self.batch]

    def explain(self, partition: int, offsets: Collection[int]) -> Explained:
        assert all(offset >= self.lows[partition] for offset in offsets)
        return Explained(markers=frozenset(at for at in offsets if self.held[partition][at][1] is None))

    def first(self, partition: int, offset: int) -> Record | None:
        found = (self._record(partition, each) for each in range(offset, len(self.held[partition])))
        return next((record for record in found if record), None)

    def _record(self, partition: int, offset: int) -> Record | None:
        at, value = self.held[partition][offset]
        if value is None or offset < self.lows[partition] or (partition, offset) in self.holes:
            return None
        return Record(default_stream().topic, partition, offset, int(at.timestamp() * 1000), None, value)


class Places:
    """Both :class:`Holdings` and :class:`Warehouse`: offsets in the table, and dead letters."""

    def __init__(self, log: list[str]) -> None:
        self.rows: set[tuple[int, int]] = set()
        self.dead: dict[tuple[int, int], DeadLetter] = {}
        self.removing: set[tuple[int, int]] = set()
        self.removes_at_once = True
        self.drops_rows = False
        self.inserted: list[int] = []
        self.queries = 0
        """Those that cost as much as the table has parts."""
        self._log = log

    def counts(self, pieces: Sequence[Piece]) -> dict[Piece, Counts]:
        self.queries += bool(pieces)
        counted = {}
        for piece in pieces:
            rows, letters = self._row_offsets(piece), {letter.offset for letter in self.letters(piece)}
            counted[piece] = Counts(len(rows), len(letters), len(rows & letters))
        return counted

    def row_offsets(self, pieces: Sequence[Piece]) -> dict[Piece, frozenset[int]]:
        self.queries += 1
        return {piece: self._row_offsets(piece) for piece in pieces}

    def _row_offsets(self, piece: Piece) -> frozenset[int]:
        return self.rows_among(piece.partition, range(*piece.offsets))

    def rows_among(self, partition: int, offsets: Iterable[int]) -> frozenset[int]:
        return frozenset(offset for offset in offsets if (partition, offset) in self.rows)

    def letters(self, piece: Piece) -> list[Letter]:
        span = range(*piece.offsets)
        return [_seen(each) for (part, at), each in self.dead.items() if part == piece.partition and at in span]

    def unknown_schema_ids(self, since: datetime, *, most: int, draw: int) -> list[int]:
        return sorted({schema_id_of(letter.value) or 0 for letter in self._of_unknown_schema(since)})[:most]

    def letters_of_schemas(self, since: datetime, ids: Sequence[int], *, most: int, draw: int) -> list[Letter]:
        found = [letter for letter in self._of_unknown_schema(since) if schema_id_of(letter.value) in ids]
        return [_seen(letter) for letter in found[:most]]

    def unreadable_kinds(self, since: datetime, *, most: int, draw: int) -> dict[int, Letter]:
        return dict(list({hash(each.detail): _seen(each) for each in self._unreadable(since)}.items())[:most])

    def letters_of_kinds(self, since: datetime, kinds: Sequence[int], *, most: int, draw: int) -> list[Letter]:
        return [_seen(each) for each in self._unreadable(since) if hash(each.detail) in kinds][:most]

    def remove_letters(self, partition: int, offsets: Iterable[int]) -> None:
        for offset in offsets:
            self._log.append(f"letter {partition}:{offset} removed")
            del self.dead[partition, offset]

    def remove_rows(self, partition: int, offsets: Iterable[int]) -> None:
        for offset in offsets:
            self._log.append(f"row {partition}:{offset} removed")
            self.removing.add((partition, offset))
        if self.removes_at_once:
            self.remove_now()

    def remove_now(self) -> None:
        self.rows -= self.removing
        self.removing.clear()

    def removed(self, wait_seconds: float = 0.0) -> bool:
        return not self.removing

    def describe(self, _database: str, _table: str) -> list[tuple[str, str, str]]:
        return events.DESCRIBED

    def insert_rows(self, _layout: object, rows: Sequence[Row]) -> None:
        if any(REFUSED_AMOUNT in row.values for row in rows):
            raise InsertRefusedError("the amount is below zero")
        self.inserted.append(len(rows))
        for row in rows:
            self._log.append(f"row {row.record.partition}:{row.record.offset} stored")
            if not self.drops_rows:
                self.rows.add((row.record.partition, row.record.offset))

    def insert_dead_letters(self, _database: str, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self._log.append(f"letter {letter.partition}:{letter.offset} filed")
            self.dead[letter.partition, letter.offset] = letter

    def _of_unknown_schema(self, since: datetime) -> list[DeadLetter]:
        return [
            each for each in self.dead.values() if each.reason == Reason.UNKNOWN_SCHEMA_ID and each.appended >= since
        ]

    def _unreadable(self, since: datetime) -> list[DeadLetter]:
        return [
            each
            for each in self.dead.values()
            if each.appended >= since
            and (
                each.reason == Reason.UNSUPPORTED_SCHEMA
                or (each.reason == Reason.UNKNOWN_SCHEMA_ID and IN_HEADER in each.detail)
            )
        ]


class Books:
    """:class:`Marks` and :class:`Journal`."""

    def __init__(self, log: list[str]) -> None:
        self.closed: dict[tuple[int, MinuteWindow], Closed] = {}
        self.noted: dict[tuple[int, Repair], dict[int, str]] = {}
        self.decided: set[LetterId] = set()
        self.decided_meanwhile: set[LetterId] = set()
        """What a person decides before the auditor has the letters to itself."""
        self.locks = 0
        """How often it had them."""
        self._locked = False
        self.topic: str | None = None
        self.accepted = False
        self._log = log

    @contextmanager
    def held(self, wait: float | Callable[[], None]) -> Iterator[None]:
        """The audit's lock of :class:`Marks` and that of the letters of :class:`Journal`."""
        if not callable(wait):
            yield
            return
        self.locks += 1
        self.decided |= self.decided_meanwhile
        self._locked = True
        yield
        self._locked = False

    def topic_id(self, found: str) -> str:
        self.topic = self.topic or found
        return self.topic

    def latest(self, partitions: Sequence[int]) -> dict[int, Mark]:
        newest: dict[int, Closed] = {}
        for (partition, minute), each in self.closed.items():
            if partition in partitions and (partition not in newest or newest[partition].minute < minute):
                newest[partition] = each
        return {partition: Mark(each.minute.next, each.offsets.end) for partition, each in newest.items()}

    def close(self, closed: Iterable[Closed]) -> None:
        for each in closed:
            self.closed.setdefault((each.partition, each.minute), each)

    def note(self, partition: int, repair: Repair, offsets: Mapping[int, str]) -> None:
        self._log.extend(f"{repair} {partition}:{offset} noted" for offset in offsets)
        self.noted.setdefault((partition, repair), {}).update(offsets)

    def note_gone_letters(
        self, partition: int, repair: Repair, letters: Mapping[int, str], *, recounted: Mapping[MinuteWindow, int]
    ) -> None:
        assert self._locked, "somebody else may change them"
        self.note(partition, repair, letters)
        for minute, left in recounted.items():
            was = self.closed[partition, minute]
            both = was.rows + was.dead_letters
            self.closed[partition, minute] = Closed(
                partition, minute, was.offsets, both - left, left, was.no_record, was.lost, min(was.too_late, left)
            )

    def closed_around(self, partition: int, offsets: Iterable[int], *, since: datetime) -> list[Piece]:
        return [
            Piece(partition, minute, each.offsets)
            for (number, minute), each in self.closed.items()
            if number == partition and minute.start >= since and any(at in range(*each.offsets) for at in offsets)
        ]

    def lost(self) -> dict[tuple[str, int], list[Span]]:
        if self.accepted:
            return {}
        noted = self.noted.items()
        return {
            (default_stream().name, partition): runs(at) for (partition, repair), at in noted if repair is Repair.LOST
        }

    def states(self, ids: Sequence[LetterId]) -> dict[LetterId, str]:
        assert self._locked, "somebody else may decide otherwise"
        return {each: "discarded" for each in ids if each in self.decided}


class Schemas:
    """:class:`Registry` with the schema of user events under ``ids``."""

    def __init__(self) -> None:
        self.ids = {events.SCHEMA_ID}
        self.texts: dict[int, str] = {}
        """Of ids whose schema is another one."""

    def schema(self, schema_id: int) -> RegisteredSchema | None:
        if schema_id in self.texts:
            return RegisteredSchema(self.texts[schema_id], "AVRO")
        return RegisteredSchema(events.SCHEMA_TEXT, "AVRO") if schema_id in self.ids else None

    def ids_of(self, _subject: str, *, newest: int) -> list[int]:
        return sorted(self.ids)[-newest:]


class World:
    """``log``: what was noted, stored, filed and removed, in this order."""

    def __init__(self, partitions: int = 1) -> None:
        self.log: list[str] = []
        self.topic = Topic(partitions)
        self.places = Places(self.log)
        self.books = Books(self.log)
        self.schemas = Schemas()

    def sink(self, *offsets: int, partition: int = 0) -> None:
        """Stores these as rows, whatever they are."""
        self.places.rows.update((partition, offset) for offset in offsets)

    def misfile(self, *offsets: int, partition: int = 0, reason: Reason = Reason.TRUNCATED, detail: str = "") -> None:
        """Files these as dead letters, whatever they are."""
        for offset in offsets:
            record = self.topic._record(partition, offset)
            assert record is not None
            self.places.dead[partition, offset] = record.dead(reason, detail)

    def audit(self, now: datetime = MINUTE.end + POLICY.grace, bounds: Bounds | None = None) -> AuditResult:
        fakes: dict[str, Any] = {
            "offsets": self.topic,
            "records": self.topic,
            "logs": self.topic,
            "holdings": self.places,
            "registry": self.schemas,
            "marks": self.books,
            "journal": self.books,
            "intake": Intake(
                database="etar",
                table="user_interactions",
                bounds=EventTimeBounds.of(POLICY),
                registry=self.schemas,  # type: ignore[arg-type]
                warehouse=self.places,  # type: ignore[arg-type]
            ),
        }
        return Auditor(default_stream(), policy=POLICY, bounds=bounds or Bounds(), **fakes).run(now, wait_seconds=1)


def _seen(letter: DeadLetter) -> Letter:
    refused = letter.reason == Reason.INSERT_REFUSED
    untold = refused and letter.detail.startswith(REFUSED_TOGETHER)
    return Letter(letter.partition, letter.offset, letter.reason.value, untold)

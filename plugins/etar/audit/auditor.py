"""One pass of the audit: what arrived is compared with what is held, put right where it is not, and closed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from etar.audit.holdings import Counts, Holdings, Letter
from etar.audit.marks import Closed, Marks, not_the_audited_topic
from etar.audit.pieces import Mark, Piece, cut, together
from etar.audit.placement import Inventory, Placement, Repair, place
from etar.dead_letters import Reason
from etar.dead_letters.journal import Journal
from etar.dead_letters.letters import LetterId
from etar.errors import PermanentError, TransientError
from etar.instants import from_milliseconds, to_milliseconds
from etar.kafka.log import PartitionLogs
from etar.kafka.offsets import TopicOffsets
from etar.kafka.records import KafkaRecords
from etar.minute import MinuteWindow
from etar.offsets import Span
from etar.records.intake import REFUSED_TOGETHER, TOLD_APART, Decoded, Intake
from etar.records.record import Row
from etar.records.registry import Registry
from etar.settings import PipelineSettings
from etar.streams import Stream, subject_of

_log = logging.getLogger(__name__)

_LETTERS_LOOK_BACK = timedelta(hours=24)
"""How long a letter under an unknown schema is decoded again for: by then its minute has left the table, or nearly."""

_SCHEMA_IDS_PER_PASS = 50
_KINDS_PER_PASS = 50
_LETTERS_PER_PASS = 20_000
_REMOVAL_SECONDS = 30.0
"""How long a pass waits for rows to be gone; if that is not enough, the next pass finds the minute still open."""

_RUNS_SHOWN = 20
_TO_BE_REPORTED = timedelta(minutes=10)
"""How long before its minute leaves the table a row has to be there, so that a report is sure to count it."""

ACCEPT_LOST = """airflow dags trigger etar_audit --conf '{{"accept_lost": true, "stream": "{stream}"}}'"""
"""How a person says that a loss was seen (with `etar exec` before it where `etar up` runs the stack)."""

BEGIN_ANEW = '`etar topic begin-anew` (docs/operations.md, "A topic that was made anew")'
"""How a person goes on where the log that was audited has ended."""


class LostRecordsError(PermanentError):
    """Records are in no place, and Kafka does not hold them any more."""


class RewoundTopicError(PermanentError):
    """The topic is not the one that was audited, or its offsets are below what was closed."""


class NotRepairedError(TransientError):
    """Records are still not where they belong; the next pass tries again."""


@dataclass(frozen=True)
class Bounds:
    """What one pass takes on at most. A pass takes at least one minute of each partition, whatever its size."""

    minutes: int = 60
    piece_offsets: int = 50_000
    """Compared, read and repaired at once: some tens of megabytes."""

    offsets_at_once: int = 500_000
    """Counted by one query."""

    refused_letters: int = 1_000
    """Dead letters that the table refused and that are tried again; each may cost two inserts."""

    refused_letters_each: int = 64
    """So many more of each partition first: those of one cannot keep another's minutes open."""


@dataclass(frozen=True)
class AuditResult:
    """What one pass found and did. ``repairs``: records by :class:`Repair`; ``open``: partitions with a minute that is
    over, committed, and not closed yet."""

    minutes: int
    records: int
    rows: int
    dead_letters: int
    no_record: int
    repairs: Mapping[Repair, int]
    open: int

    @property
    def repaired(self) -> int:
        return sum(self.repairs.values())

    def __str__(self) -> str:
        """One line for the log."""
        done = ", ".join(f"{count} {repair}" for repair, count in sorted(self.repairs.items())) or "nothing to repair"
        left = f"; {self.open} partitions are not done yet" if self.open else ""
        return (
            f"closed {self.minutes} minutes: {self.records} records = {self.rows} rows + {self.dead_letters} dead "
            f"letters + {self.no_record} without a record; {done}{left}"
        )


@dataclass
class _Tally:
    repairs: Counter[Repair] = field(default_factory=Counter)
    closed: list[Closed] = field(default_factory=list)
    refused_left: int = 0
    refused_tried: Counter[int] = field(default_factory=Counter)
    """By partition, of those that each has to itself."""

    may_remove_rows: bool = True
    untold: bool = False


@dataclass(frozen=True)
class _Outcome:
    """Of a piece's repair: its offsets that are in no place, and why. ``too_late``: letters of it that were;
    ``untold``: letters that may still be good rows; ``changed``: what was counted before the repair holds no more."""

    expired: int = 0
    lost: int = 0
    no_record: int = 0
    too_late: int = 0
    untold: bool = False
    changed: bool = False


@dataclass(frozen=True)
class _Reading:
    """What came of reading records again: the offsets at which Kafka had one, how many were rows of minutes that have
    left the table, and whether letters that may be good rows were put off."""

    offsets: set[int]
    expired: int
    untold: bool


class Auditor:
    """Audits one stream. Not thread-safe; two at once are kept apart by the lock of :class:`Marks`."""

    def __init__(
        self,
        stream: Stream,
        *,
        offsets: TopicOffsets,
        records: KafkaRecords,
        logs: PartitionLogs,
        holdings: Holdings,
        intake: Intake,
        registry: Registry,
        marks: Marks,
        journal: Journal,
        policy: PipelineSettings,
        bounds: Bounds,
    ) -> None:
        self._stream = stream
        self._offsets = offsets
        self._records = records
        self._logs = logs
        self._holdings = holdings
        self._intake = intake
        self._registry = registry
        self._marks = marks
        self._journal = journal
        self._policy = policy
        self._bounds = bounds

    def run(self, now: datetime, *, wait_seconds: float) -> AuditResult:
        """One pass over what has arrived, is over at ``now``, and is committed by the sink.

        Safe to be killed anywhere and to be run again: whatever was done is found done.

        Raises:
            AuditBusyError: another audit took longer than ``wait_seconds``.
            RewoundTopicError: before anything was done.
            LostRecordsError, NotRepairedError: after everything else was done.
            WarehouseUnavailableError, RegistryUnavailableError, KafkaUnavailableError, psycopg.Error: a part is away.
        """
        with self._marks.held(wait_seconds):
            self._require_same_topic()
            # While an earlier pass's removal is under way, the same rows would be asked to go again and again.
            tally = _Tally(refused_left=self._bounds.refused_letters, may_remove_rows=self._holdings.removed())
            left_open = self._close_minutes(now, tally)
            self._decode_again(now, tally)
            lost = self._marks.lost()
        result = AuditResult(
            minutes=len({each.minute for each in tally.closed}),
            records=sum(each.offsets.size for each in tally.closed),
            rows=sum(each.rows for each in tally.closed),
            dead_letters=sum(each.dead_letters for each in tally.closed),
            no_record=sum(each.no_record for each in tally.closed),
            repairs=dict(tally.repairs),
            open=len(left_open),
        )
        _log.info("%s: %s", self._stream.name, result)
        if lost:
            raise self._lost_error(lost)
        # Not told as a fault: rows that the next pass tells apart, and rows that the engine is removing.
        if left_open and not tally.untold and self._holdings.removed():
            raise NotRepairedError(
                f"{self._stream.name}: partitions {', '.join(map(str, left_open))} are not where they should be after "
                "a repair; the next pass tries again"
            )
        return result

    def _require_same_topic(self) -> None:
        """Its offsets would be taken for those of the records that were audited: rows and letters of these would stand
        for others, and be changed for them."""
        found = self._offsets.topic_id()
        known = self._marks.topic_id(found)
        if known != found:
            raise RewoundTopicError(
                f"{not_the_audited_topic(self._stream.topic, audited=known, found=found)}. Nothing was changed; "
                f"{BEGIN_ANEW} goes on with this one"
            )

    def _close_minutes(self, now: datetime, tally: _Tally) -> list[int]:
        """Close minute by minute, the oldest first; returns partitions that could not be closed although committed."""
        partitions = self._offsets.partitions()
        committed = self._offsets.committed(self._stream.sink_group)
        marks = self._start(partitions)
        left_open: list[int] = []
        planned = [(window, ready, self._pieces(window, ready)) for window, ready in self._due(marks, committed, now)]
        counted: Mapping[Piece, Counts] = {}
        for at, (window, ready, pieces) in enumerate(planned):
            if not counted.keys() >= set(pieces):
                coming = (piece for _, _, later in planned[at:] for piece in later)
                counted = self._holdings.counts(next(together(coming, most=self._bounds.offsets_at_once), []))
            still = {partition: span for partition, span in ready.items() if partition not in left_open}
            repairs = tally.repairs.total()
            closed = self._close(window, still, counted, now, tally)
            if tally.repairs.total() > repairs:
                counted = {}  # that took its time
            self._marks.close(closed)
            tally.closed.extend(closed)
            left_open.extend(still.keys() - {each.partition for each in closed})
        return left_open

    def _due(
        self, marks: dict[int, Mark], committed: Mapping[int, int], now: datetime
    ) -> Iterator[tuple[MinuteWindow, dict[int, Span]]]:
        """Arrival minutes that can be closed, the oldest first, with the offsets of those partitions that the sink has
        committed so far. Uses ``marks`` up."""
        seen: set[MinuteWindow] = set()
        while marks:
            window = min(mark.next for mark in marks.values())
            if window.end + self._policy.grace > now or len(seen | {window}) > self._bounds.minutes:
                break
            seen.add(window)
            ends = self._offsets.held_at(window.end)
            due = {partition: mark for partition, mark in marks.items() if mark.next == window}
            for partition, mark in due.items():
                end = max(ends[partition], mark.offset)
                if committed[partition] < end:
                    del marks[partition]  # the sink has not come this far
                    continue
                marks[partition] = Mark(window.next, end)
            yield window, {p: Span(due[p].offset, marks[p].offset) for p in due if p in marks}

    def _pieces(self, window: MinuteWindow, ready: Mapping[int, Span]) -> list[Piece]:
        return [
            piece
            for partition, offsets in ready.items()
            for piece in cut(partition, window, offsets, size=self._bounds.piece_offsets)
        ]

    def _start(self, partitions: Sequence[int]) -> dict[int, Mark]:
        """Where each partition goes on; one that was never audited starts with the first minute of any that has a
        record, from what Kafka held at the pipeline's start date."""
        marks = self._marks.latest(partitions)
        ends = self._offsets.end()
        for partition, mark in marks.items():
            if ends[partition] < mark.offset:
                raise RewoundTopicError(
                    f"partition {partition} of {self._stream.topic!r} was audited up to offset {mark.offset}, and "
                    f"Kafka's end is {ends[partition]}: the topic was made anew, or Kafka lost what it had taken; "
                    f"{BEGIN_ANEW} goes on with what there is"
                )
        new = [partition for partition in partitions if partition not in marks]
        if not new:
            return marks
        held = self._offsets.held_at(MinuteWindow.containing(self._policy.start_date).start)
        low = self._offsets.low()
        minutes = [mark.next for mark in marks.values()]
        for partition in new:
            if held[partition] < ends[partition] and (record := self._records.first(partition, held[partition])):
                minutes.append(MinuteWindow.containing(from_milliseconds(record.appended_ms)))
                # Kafka finds the first record since then that it still has. With none before it, what the log lacks
                # at its beginning is of this time too.
                if low[partition] < held[partition] and self._records.first(partition, low[partition]) == record:
                    held[partition] = low[partition]
        return marks | {partition: Mark(min(minutes), held[partition]) for partition in new if minutes}

    def _close(
        self,
        window: MinuteWindow,
        ready: Mapping[int, Span],
        counted: Mapping[Piece, Counts],
        now: datetime,
        tally: _Tally,
    ) -> list[Closed]:
        """Compare and repair one arrival minute; those partitions of ``ready`` that are accounted for.

        ``counted``: what is known of pieces already; the others are counted here.
        """
        sums: dict[int, Counter[str]] = {partition: Counter() for partition in ready}
        too_late: Counter[int] = Counter()
        for group in together(self._pieces(window, ready), most=self._bounds.offsets_at_once):
            known = counted.keys() >= set(group)
            before = {piece: counted[piece] for piece in group} if known else self._holdings.counts(group)
            doubtful = [piece for piece in group if before[piece].in_doubt(piece)]
            rows = self._holdings.row_offsets(doubtful) if doubtful else {}
            outcomes = {
                piece: self._repair(piece, before[piece], rows.get(piece, frozenset()), now, tally) for piece in group
            }
            changed = [piece for piece, outcome in outcomes.items() if outcome.changed]
            if tally.repairs[Repair.ROW_REMOVED]:
                self._holdings.removed(_REMOVAL_SECONDS)
            after = before | (self._holdings.counts(changed) if changed else {})
            for piece, outcome in outcomes.items():
                sums[piece.partition].update(_accounted(after[piece], outcome))
                too_late[piece.partition] += outcome.too_late
        return [
            Closed(
                partition,
                window,
                offsets,
                rows=sums[partition]["rows"],
                dead_letters=sums[partition]["dead_letters"],
                no_record=sums[partition]["no_record"],
                lost=sums[partition]["lost"],
                too_late=too_late[partition],
            )
            for partition, offsets in ready.items()
            if sums[partition].total() == offsets.size
        ]

    def _repair(self, piece: Piece, counts: Counts, rows: frozenset[int], now: datetime, tally: _Tally) -> _Outcome:
        """``rows``: its offsets in the table, if it is in doubt."""
        if counts == Counts(rows=piece.offsets.size, letters=0, both=0):
            return _Outcome()
        letters = {letter.offset: letter for letter in self._holdings.letters(piece)} if counts.letters else {}
        complete = counts.complete(piece)
        inventory = Inventory(
            partition=piece.partition,
            missing=frozenset() if complete else frozenset(range(*piece.offsets)) - rows - letters.keys(),
            letters={offset: letter.reason for offset, letter in letters.items()},
            both=rows & letters.keys(),
        )
        repairs = tally.repairs.total()
        reading = self._put_right(inventory, letters, now, tally)
        unread = inventory.missing - reading.offsets
        # Asked after the reading: what retention took meanwhile is not an offset without a record.
        low = self._offsets.low()[piece.partition] if unread else 0
        held = frozenset(offset for offset in unread if offset >= low)
        lost = unread - self._logs.explain(piece.partition, held).offsets
        self._note(piece.partition, Repair.LOST, dict.fromkeys(lost, ""), tally)
        changed = tally.repairs.total() > repairs
        if changed:
            letters = {letter.offset: letter for letter in self._holdings.letters(piece)}
        return _Outcome(
            expired=reading.expired,
            lost=len(lost),
            no_record=len(unread) - len(lost),
            too_late=sum(letter.reason == Reason.TOO_LATE.value for letter in letters.values()),
            untold=reading.untold,
            changed=changed,
        )

    def _put_right(
        self,
        inventory: Inventory,
        letters: Mapping[int, Letter],
        now: datetime,
        tally: _Tally,
        *,
        closed_since: datetime | None = None,
    ) -> _Reading:
        """Read the records in question and bring each where it belongs.

        Args:
            letters: those of the inventory.
            closed_since: for offsets that may be closed already, the first arrival minute whose counts are kept true.
        """
        read: set[int] = set()
        expired = 0
        untold = False
        ahead = {offset for offset, letter in letters.items() if letter.untold}
        for batch in self._records.read(inventory.partition, inventory.to_read):
            ahead.difference_update(record.offset for record in batch)
            decoded = self._intake.decode(batch)
            expired_by, leaving_by = self._gone_by(now), self._gone_by(now + _TO_BE_REPORTED)
            todo = place(inventory, decoded, expired=expired_by, leaving=leaving_by)
            with self._as_decided(inventory, todo.letters) as known:
                todo = place(known, decoded, expired=expired_by, leaving=leaving_by)
                untold |= self._apply(known, todo, letters, tally, untold_ahead=len(ahead), closed_since=closed_since)
            tally.untold |= untold
            read.update(record.offset for record in batch)
            expired += len(todo.expired)
        return _Reading(read, expired, untold)

    @contextmanager
    def _as_decided(self, inventory: Inventory, letters: Sequence[int]) -> Iterator[Inventory]:
        """The inventory with what persons have decided about these letters of it; none is replayed or discarded by
        anybody until the block ends. Without letters nobody has to wait for it."""
        if not letters:
            yield inventory
            return
        with self._journal.held(_say_waiting):
            # Asked under the lock: before it, a person may still have been at work.
            decided = self._journal.states([LetterId(inventory.partition, offset) for offset in letters])
            yield replace(inventory, decided=frozenset(letter.offset for letter in decided))

    def _apply(
        self,
        inventory: Inventory,
        todo: Placement,
        letters: Mapping[int, Letter],
        tally: _Tally,
        *,
        untold_ahead: int,
        closed_since: datetime | None,
    ) -> bool:
        """Do what is to be done, noted before it can no longer be found.

        Args:
            untold_ahead: letters of the batches to come that may be good rows: they are tried before sure ones of this
                batch, which would take their place in each pass.

        Returns:
            Whether letters were put off, or filed, that may be good rows.
        """
        partition = inventory.partition
        refused = [row for row in todo.rescue if letters[row.record.offset].reason == Reason.INSERT_REFUSED.value]
        unsure = [row for row in refused if letters[row.record.offset].untold]
        sure = [row for row in refused if not letters[row.record.offset].untold]
        own = self._bounds.refused_letters_each - tally.refused_tried[partition]
        most = own + tally.refused_left
        retried = unsure[:most]
        put_off = len(unsure) > len(retried)
        retried += sure[: max(0, most - len(retried) - untold_ahead)]
        tally.refused_tried[partition] += min(own, len(retried))
        tally.refused_left -= max(0, len(retried) - own)
        told = {id(row) for row in refused}
        removing = todo.remove_rows if tally.may_remove_rows else []

        self._note(partition, Repair.STORED, {row.record.offset: "" for row in todo.store}, tally)
        self._note(partition, Repair.FILED, {letter.offset: letter.reason.value for letter in todo.file}, tally)
        self._note(partition, Repair.EXPIRED, dict.fromkeys(todo.expired, ""), tally)
        self._note(partition, Repair.REFILED, {o.offset: inventory.letters[o.offset] for o in todo.refile}, tally)
        self._note(partition, Repair.ROW_REMOVED, {o: inventory.letters[o] for o in removing}, tally)

        rescue = [row for row in todo.rescue if id(row) not in told]
        stored = self._intake.store(Decoded(todo.store + rescue, todo.file + todo.refile))
        rows = stored.rows
        for start in range(0, len(retried), TOLD_APART):
            rows = [*rows, *self._intake.store(Decoded(retried[start : start + TOLD_APART], [])).rows]
        taken = {row.record.offset for row in rows}
        rescued = {row.record.offset for row in todo.rescue} & taken
        refused_now = [row.record.offset for row in todo.store if row.record.offset not in taken]
        self._note(partition, Repair.FILED, dict.fromkeys(refused_now, Reason.INSERT_REFUSED.value), tally)

        gone = {Repair.RESCUED: rescued, Repair.LETTER_REMOVED: set(todo.remove_letters)}
        left = self._left_in_closed(partition, set().union(*gone.values()), closed_since) if closed_since else {}
        for repair, offsets in gone.items():
            if offsets:
                reasons = {offset: inventory.letters[offset] for offset in offsets}
                self._marks.note_gone_letters(partition, repair, reasons, recounted=left)
                tally.repairs[repair] += len(offsets)
        self._holdings.remove_letters(partition, set().union(*gone.values()))
        self._holdings.remove_rows(partition, removing)
        return put_off or any(letter.detail.startswith(REFUSED_TOGETHER) for letter in stored.letters)

    def _note(self, partition: int, repair: Repair, offsets: Mapping[int, str], tally: _Tally) -> None:
        if offsets:
            self._marks.note(partition, repair, offsets)
            tally.repairs[repair] += len(offsets)

    def _left_in_closed(self, partition: int, gone: set[int], since: datetime) -> dict[MinuteWindow, int]:
        """Dead letters that closed minutes keep when these are gone."""
        return {
            piece.arrived: len({letter.offset for letter in self._holdings.letters(piece)} - gone)
            for piece in self._marks.closed_around(partition, gone, since=since)
        }

    def _decode_again(self, now: datetime, tally: _Tally) -> None:
        """Letters under a schema that was not known, or not read, and is since: rescued in whichever minute."""
        since = MinuteWindow.containing(now - _LETTERS_LOOK_BACK).start
        draw = int(now.timestamp())
        found: dict[int, dict[int, Letter]] = {}
        for letter in self._of_known_schemas(since, draw) + self._of_readable_schemas(since, draw):
            found.setdefault(letter.partition, {})[letter.offset] = letter
        for partition, letters in found.items():
            inventory = Inventory(
                partition,
                letters={offset: letter.reason for offset, letter in letters.items()},
                both=self._holdings.rows_among(partition, letters),
            )
            self._put_right(inventory, letters, now, tally, closed_since=since)

    def _of_known_schemas(self, since: datetime, draw: int) -> list[Letter]:
        """Letters under schemas that were unknown and have been registered since."""
        ids = self._holdings.unknown_schema_ids(since, most=_SCHEMA_IDS_PER_PASS, draw=draw)
        known = {identifier for identifier in ids if self._registry.schema(identifier) is not None}
        if len(ids) == _SCHEMA_IDS_PER_PASS:
            # Among junk the draw would find the id that good events are under once a day, if at all.
            known.update(self._registry.ids_of(subject_of(self._stream.topic), newest=_SCHEMA_IDS_PER_PASS))
        if not known:
            return []
        return self._holdings.letters_of_schemas(since, sorted(known), most=_LETTERS_PER_PASS, draw=draw)

    def _of_readable_schemas(self, since: datetime, draw: int) -> list[Letter]:
        """Letters whose schema could not be read when they were filed, and can be now: etar may have learnt to, or the
        registry has what it lacked. One letter of each kind is tried for all."""
        kinds = self._holdings.unreadable_kinds(since, most=_KINDS_PER_PASS, draw=draw)
        readable = []
        for kind, letter in kinds.items():
            decoded = Decoded()
            for batch in self._records.read(letter.partition, [letter.offset]):
                decoded = self._intake.decode(batch)
            if decoded.rows or any(each.reason.value != letter.reason for each in decoded.letters):
                readable.append(kind)
        if not readable:
            return []
        return self._holdings.letters_of_kinds(since, readable, most=_LETTERS_PER_PASS, draw=draw)

    def _gone_by(self, then: datetime) -> Callable[[Row], bool]:
        """Whether the table has dropped the minute of a row by then, or is about to."""
        layout = self._intake.layout()
        oldest = MinuteWindow.containing(then - self._policy.retention).next
        oldest_ms = to_milliseconds(oldest.start)
        return lambda row: layout.event_ms(row.values) < oldest_ms

    def _lost_error(self, lost: Mapping[tuple[str, int], Sequence[Span]]) -> LostRecordsError:
        count = sum(run.size for those in lost.values() for run in those)
        where = "; ".join(
            f"partition {partition}{'' if log == self._stream.name else f' of {log}'}: "
            f"{', '.join(map(str, those[:_RUNS_SHOWN]))}"
            + (f" and {len(those) - _RUNS_SHOWN} more" if len(those) > _RUNS_SHOWN else "")
            for (log, partition), those in lost.items()
        )
        return LostRecordsError(
            f"{count} records of {self._stream.topic!r} are lost: neither the table nor the dead letters have them, "
            f"and Kafka no longer does ({where}). A topic that is compacted, or keeps records for less than an outage "
            "lasts, loses them so, and so do records that somebody deletes. If etar stood still for longer than Kafka "
            "keeps records, they may have been rows that left the table in time; that cannot be known. Every audit "
            f"fails until you take note of it: {ACCEPT_LOST.format(stream=self._stream.name)}"
        )


def _accounted(counts: Counts, outcome: _Outcome) -> dict[str, int]:
    """What a piece comes to; nothing while a record is in two places, or may not have found its place."""
    if counts.both or outcome.untold:
        return {}
    return {
        "rows": counts.rows + outcome.expired,
        "dead_letters": counts.letters,
        "no_record": outcome.no_record,
        "lost": outcome.lost,
    }


def _say_waiting() -> None:
    _log.info("waiting for somebody who is changing dead letters")

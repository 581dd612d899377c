"""Asks each place where an event is. One that is away is said to be, and is never taken for one without the event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from etar.clients import WarehouseUnavailableError
from etar.dead_letters import DeadLetter
from etar.dead_letters.letters import LetterId, Letters
from etar.instants import utc_text
from etar.kafka.offsets import KafkaUnavailableError, UnknownTopicError
from etar.minute import MinuteWindow
from etar.records.column_types import UnsupportedTableError
from etar.records.registry import RegistryUnavailableError
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    PipelineSettings,
    ReconcileSettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream
from etar.trace.answer import Place, PlaceAnswer, RecordTrace, Trace
from etar.trace.books import Books
from etar.trace.facts import (
    FoundLetter,
    FoundRow,
    MinuteFacts,
    RecordFacts,
    RecordId,
    TopicFacts,
)
from etar.trace.letters import chosen, read_bodies
from etar.trace.objects import ObjectUnreadableError, found_object
from etar.trace.question import Question
from etar.trace.steps import Rules, by_arrival, record_trace
from etar.trace.topic import taken_at, topic_facts
from etar.trace.warehouse import MOST, Rows

_LETTERS_KEPT = timedelta(days=30)
"""The TTL of the dead letters' table."""

_LETTERS_AT_ONCE = 10
"""Letters whose bytes are held at the same time."""

_Answer = TypeVar("_Answer")


@dataclass
class _Places:
    """Which places answered. One that did not is not waited for a second time."""

    away: dict[Place, str] = field(default_factory=dict)
    asked: set[Place] = field(default_factory=set)

    def ask(self, place: Place, question: Callable[[], _Answer]) -> _Answer | None:
        """The answer; None where the place is away."""
        import psycopg
        from pydantic import ValidationError

        if place in self.away:
            return None
        try:
            answer = question()
        except ValidationError as error:
            settings = ", ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
            self.away[place] = f"there are no settings for it here ({error.title}: {settings})"
            return None
        except (
            KafkaUnavailableError,
            ObjectUnreadableError,
            RegistryUnavailableError,
            UnknownTopicError,
            UnsupportedTableError,
            WarehouseUnavailableError,
            psycopg.Error,
        ) as error:
            self.away[place] = " ".join(str(error).split())[:500]
            return None
        self.asked.add(place)
        return answer


def trace(question: Question, *, stream: Stream, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Trace:
    """Where the event or record is, by the places of the settings. Nothing is written anywhere.

    Raises:
        UnfitQuestionError: a value is none of its column's type.
        pydantic.ValidationError: a setting of the pipeline is missing.
    """
    pipeline = get_settings(PipelineSettings)
    rules = Rules(now(), pipeline.grace, get_settings(ReconcileSettings).allowance, pipeline.retention)
    with ExitStack() as opened:
        return _Tracer(question, stream, rules, opened).trace()


class _Tracer:
    """One look."""

    def __init__(self, question: Question, stream: Stream, rules: Rules, opened: ExitStack) -> None:
        self._question = question
        self._stream = stream
        self._rules = rules
        self._opened = opened
        self._places = _Places()
        self._rows_client: Rows | None = None
        self._books_client: Books | None = None
        self._topic: TopicFacts | None = None
        self._letters_matched = 0
        self._more = False

    def trace(self) -> Trace:
        asked = self._question
        # Before the table: what the sink has stored since is then among its rows.
        self._topic = self._places.ask(Place.KAFKA, lambda: topic_facts(get_settings(KafkaSettings), self._stream))
        if asked.record is not None:
            log = self._stream.former_log(asked.log) if asked.log else self._stream.topic
            found = [self._record(RecordId(log, *asked.record))]
            found = [each for each in found if self._is_anything(each)]
        else:
            found = self._event(asked.identity)
        found = self._with_replays(found)
        found = self._with_others_of_the_minute(found)
        minutes = self._minutes(found)
        records = by_arrival([record_trace(self._whole(each, minutes), self._rules) for each in found])
        return self._answer(records)

    # --- records

    def _event(self, identity: Sequence[str]) -> list[RecordFacts]:
        """Rows and letters of the event in the range."""
        since, until = self._question.since, self._question.until
        rows = self._ask_rows(lambda rows: rows.of_event(identity, since, until)) or []
        letters = self._letters_of(identity)
        self._more = self._more or len(rows) > MOST
        found = {row.id: self._known(row.id, row=row) for row in rows[:MOST]}
        for letter in letters:
            known = found.get(letter.id) or self._known(letter.id)
            found[letter.id] = replace(known, letter=letter)
        return list(found.values())

    def _record(self, record: RecordId) -> RecordFacts:
        """What there is of one record, wherever it is."""
        row = self._ask_rows(lambda rows: rows.of_record(record))
        letters = self._read_letters(record.log, [record]) or []
        facts = self._known(record, row=row, letter=FoundLetter(record, letters[0]) if letters else None)
        if facts.row is None and facts.letter is None and facts.current and self._topic is not None:
            low, end = (offsets.get(record.partition, 0) for offsets in (self._topic.low, self._topic.end))
            if low <= record.offset < end:
                at = self._places.ask(
                    Place.KAFKA,
                    lambda: taken_at(get_settings(KafkaSettings), self._stream, record.partition, record.offset),
                )
                if Place.KAFKA not in self._places.away:
                    facts = replace(facts, read=at is not None, appended_at=at)
        return facts

    def _known(
        self, record: RecordId, *, row: FoundRow | None = None, letter: FoundLetter | None = None
    ) -> RecordFacts:
        current = record.log == self._stream.topic
        return RecordFacts(
            id=record,
            current=current,
            stored_asked=Place.WAREHOUSE not in self._places.away,
            row=row,
            letter=letter,
            books=self._ask_books(lambda books: books.record(record)),
            topic=self._topic if current else None,
        )

    def _is_anything(self, facts: RecordFacts) -> bool:
        """Whether anything says that there is, or was, such a record."""
        books = facts.books
        noted = books is not None and (books.closed is not None or books.changes or books.replays or books.repairs)
        return bool(facts.row or facts.letter or noted or facts.read is not None)

    def _letters_of(self, identity: Sequence[str]) -> list[FoundLetter]:
        """The letters whose bytes name the event, without those that say they are of another."""
        since, until = self._question.since, self._question.until
        named = self._ask_rows(lambda rows: rows.letters_naming(identity, since, until)) or []
        self._letters_matched = len(named)
        found = []
        for log, records in _by_log(named[:MOST]):
            for at in range(0, len(records), _LETTERS_AT_ONCE):
                some = records[at : at + _LETTERS_AT_ONCE]
                letters = self._read_letters(log, some) or []
                kafka = Place.KAFKA not in self._places.away
                read_them = partial(read_bodies, self._stream, log, letters, kafka=kafka)
                bodies = self._places.ask(Place.REGISTRY, read_them)
                for place, letter in enumerate(letters):
                    record = RecordId(log, letter.partition, letter.offset)
                    read = bodies[place] if bodies is not None else None
                    if (one := chosen(self._stream, record, letter, read, identity)) is not None:
                        found.append(one)
        return found

    def _read_letters(self, log: str, records: Sequence[RecordId]) -> list[DeadLetter] | None:
        ids = [LetterId(record.partition, record.offset) for record in records]

        def read() -> list[DeadLetter]:
            letters = Letters(get_settings(WarehouseSettings), log)
            try:
                return letters.read(ids)
            finally:
                letters.close()

        return self._places.ask(Place.WAREHOUSE, read)

    def _with_replays(self, found: Iterable[RecordFacts]) -> list[RecordFacts]:
        """With the replays of the letters among them, and the letters that those among them are replays of."""
        known: dict[RecordId, RecordFacts] = {}
        left = list(found)
        while left and len(known) < MOST:
            facts = left.pop(0)
            if facts.id in known:
                continue
            known[facts.id] = facts
            if facts.books is None:
                continue
            linked = [each.to for each in facts.books.replays if each.to is not None]
            linked += [facts.books.replay_of] if facts.books.replay_of else []
            left += [self._record(each) for each in linked if each not in known]
        self._more = self._more or bool(left)
        return list(known.values())

    def _with_others_of_the_minute(self, found: Sequence[RecordFacts]) -> list[RecordFacts]:
        """Each row with the records of its event and minute, which are added: one of them counts, the others are
        duplicates. In the order of the report: the lowest partition and offset counts."""
        known = {facts.id: facts for facts in found}
        if not self._stream.identity:
            return list(known.values())
        for identity, window in {(facts.row.identity, facts.row.minute): None for facts in found if facts.row}:
            same = self._ask_rows(partial(Rows.of_event, identity=identity, since=window.start, until=window.end))
            if same is None:
                continue
            self._more = self._more or len(same) > MOST
            order = tuple(
                row.id for row in sorted(same[:MOST], key=lambda row: (row.id.partition, row.id.offset, row.id.log))
            )
            for row in same[:MOST]:
                facts = known.get(row.id) or self._known(row.id, row=row)
                known[row.id] = replace(facts, row=facts.row or row, of_event=order)
        return list(known.values())

    # --- minutes

    def _minutes(self, found: Sequence[RecordFacts]) -> dict[MinuteWindow, MinuteFacts]:
        rows: dict[MinuteWindow, list[FoundRow]] = {}
        for facts in found:
            if facts.row is not None:
                rows.setdefault(facts.row.minute, []).append(facts.row)
        return {window: self._minute(window, of_minute) for window, of_minute in rows.items()}

    def _minute(self, window: MinuteWindow, rows: Sequence[FoundRow]) -> MinuteFacts:
        # The object before the ledger that says which revision it is of: it is put before that is written.
        key = self._stream.extract_key(window)
        found = self._places.ask(
            Place.OBJECT_STORE, lambda: (found_object(get_settings(ObjectStoreSettings), key, rows),)
        )
        facts = MinuteFacts(
            window=window,
            books=self._ask_books(lambda books: books.minute(window)),
            object=found[0] if found else None,
            object_asked=found is not None,
        )
        if facts.books is None:
            return facts
        partitions = sorted({row.id.partition for row in rows})
        keys, spans = [], []
        for revision in facts.books.revisions:
            for partition in partitions:
                span = (revision.offsets or {}).get(partition)
                if span is not None and revision.revision is not None:
                    keys.append((revision.revision, partition))
                    spans.append((partition, span.first, span.last))
        counts = self._ask_rows(lambda asked: asked.in_spans(window, spans))
        return replace(facts, in_spans=None if counts is None else dict(zip(keys, counts, strict=True)))

    def _whole(self, facts: RecordFacts, minutes: dict[MinuteWindow, MinuteFacts]) -> RecordFacts:
        return replace(facts, minute=minutes[facts.row.minute]) if facts.row is not None else facts

    # --- places

    def _ask_rows(self, question: Callable[[Rows], _Answer]) -> _Answer | None:
        def ask() -> _Answer:
            if self._rows_client is None:
                self._rows_client = self._opened.enter_context(Rows(get_settings(WarehouseSettings), self._stream))
            return question(self._rows_client)

        return self._places.ask(Place.WAREHOUSE, ask)

    def _ask_books(self, question: Callable[[Books], _Answer]) -> _Answer | None:
        def ask() -> _Answer:
            if self._books_client is None:
                self._books_client = self._opened.enter_context(Books(get_settings(ReportStoreSettings), self._stream))
            return question(self._books_client)

        return self._places.ask(Place.REPORT_STORE, ask)

    # --- the answer

    def _answer(self, records: tuple[RecordTrace, ...]) -> Trace:
        asked = self._question
        by_event = asked.record is None
        needed = {Place.WAREHOUSE, Place.KAFKA}
        if not by_event:
            needed.add(Place.REPORT_STORE)
        complete = not needed & self._places.away.keys()
        return Trace(
            stream=self._stream.name,
            asked_at=self._rules.now,
            identity=dict(zip(self._stream.identity, asked.identity, strict=True)) if by_event else None,
            record=None if asked.record is None else "{}:{}".format(*asked.record),
            since=asked.since if by_event else None,
            until=asked.until if by_event else None,
            found=bool(records),
            complete=complete,
            says=self._summary(records, complete=complete),
            records=records,
            places=tuple(
                self._said(place) for place in Place if place in self._places.asked or place in self._places.away
            ),
        )

    def _summary(self, records: tuple[RecordTrace, ...], *, complete: bool) -> str:
        if records:
            more = f" More than {MOST} records were found; these are the first." if self._more else ""
            return f"{'; '.join(each.says for each in records[:5])}.{more}"
        if not complete:
            return "not found where it could be looked for; it may be where nobody was asked"
        if self._question.record is not None:
            return f"there is no such record{self._not_given_out()}"
        return (
            "it is in no place that was searched. What is kept longer: the table has minutes from "
            f"{MinuteWindow.containing(self._rules.now - self._rules.retention)} on, dead letters from "
            f"{utc_text(self._rules.now - _LETTERS_KEPT, 'seconds')} on: give an earlier --since{self._behind()}"
        )

    def _not_given_out(self) -> str:
        record, topic = self._question.record, self._topic
        if record is None or topic is None or self._question.log:
            return ""
        partition, offset = record
        if partition not in topic.end:
            return f": the topic has the partitions {', '.join(map(str, sorted(topic.end)))}"
        if offset >= topic.end[partition]:
            return f" yet: the next record of partition {partition} gets offset {topic.end[partition]}"
        return (
            f" any more: Kafka holds partition {partition} from offset {topic.low[partition]} on, and nobody noted it"
        )

    def _behind(self) -> str:
        behind = self._topic.behind if self._topic else 0
        return f". The sink has {behind:,} records of Kafka left to store, and it may be among them" if behind else ""

    def _said(self, place: Place) -> PlaceAnswer:
        if place in self._places.away:
            return PlaceAnswer(place=place, asked=False, says=f"not asked: {self._places.away[place]}")
        return PlaceAnswer(place=place, asked=True, says=self._looked_at(place))

    def _looked_at(self, place: Place) -> str:
        asked, now = self._question, self._rules.now
        between = f"from {MinuteWindow(asked.since)} to {MinuteWindow(asked.until)}"
        match place:
            case Place.KAFKA:
                kept = self._topic.retention_ms if self._topic else -1
                since = (
                    f"records from {utc_text(now - timedelta(milliseconds=kept), 'seconds')} on"
                    if kept >= 0
                    else "all records"
                )
                return f"topic {self._stream.topic}: offsets, and how far the sink is; it keeps {since}"
            case Place.WAREHOUSE:
                kept_from = MinuteWindow.containing(now - self._rules.retention)
                if asked.record is not None:
                    return (
                        f"table {self._stream.table} (kept from {kept_from} on) and dead letters, by the record's place"
                    )
                matched = min(self._letters_matched, MOST)
                of_more = f"; the newest {MOST} of more" if self._letters_matched > MOST else ""
                return (
                    f"table {self._stream.table}: minutes {between} (kept from {kept_from} on); dead letters that "
                    f"Kafka took {between}: the bytes of {matched} hold the id{of_more}"
                )
            case Place.REPORT_STORE:
                return "ledger, reports, the audit's marks and repairs, what was done about dead letters"
            case Place.OBJECT_STORE:
                return "extracts of the minutes that the rows are of"
            case Place.REGISTRY:
                return "schemas, by which dead letters were read"


def _by_log(records: Iterable[RecordId]) -> list[tuple[str, list[RecordId]]]:
    found: dict[str, list[RecordId]] = {}
    for record in records:
        found.setdefault(record.log, []).append(record)
    return list(found.items())

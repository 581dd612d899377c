"""Puts together what the places said of a record: its steps, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from etar.dead_letters.letters import State as LetterState
from etar.instants import utc_text
from etar.ledger import LedgerEntry, Stage, State
from etar.minute import MinuteWindow
from etar.text import printable
from etar.trace.answer import RecordTrace, Standing, Step, StepName, StepState
from etar.trace.facts import FoundLetter, FoundRow, MinuteFacts, RecordBooks, RecordFacts

_NEXT = {
    State.OPEN: "is not settled yet",
    State.SETTLED: "is settled and not extracted yet",
    State.EXTRACTED: "is extracted and not analysed yet",
    State.ANALYSED: "is analysed and its report not published yet",
}
_DONE, _WAITING, _ENDED, _NOT_ASKED = StepState.DONE, StepState.WAITING, StepState.ENDED, StepState.NOT_ASKED


@dataclass(frozen=True)
class Rules:
    """Times that decide. ``allowance``: how long a minute's own run may take; then ``etar_reconcile`` takes it up."""

    now: datetime
    grace: timedelta
    allowance: timedelta
    retention: timedelta


def record_trace(facts: RecordFacts, rules: Rules) -> RecordTrace:
    """The record's way as far as it is known."""
    of_row = _Counted.of(facts, rules) if facts.row is not None and facts.letter is None else None
    steps = [_kafka(facts), *_stored(facts), *_letter(facts), *_minute(facts, rules, of_row), *_audit(facts)]
    if of_row is not None:
        steps += [of_row.extract(), of_row.report()]
    standing, says = _standing(facts, of_row)
    row, letter = facts.row, facts.letter
    books = facts.books or RecordBooks()
    counts_as = facts.of_event[0] if facts.of_event and facts.of_event[0] != facts.id else None
    return RecordTrace(
        log=facts.id.log,
        partition=facts.id.partition,
        offset=facts.id.offset,
        standing=standing,
        says=says,
        appended_at=_appended_at(facts),
        event_at=row.event_at if row else None,
        minute=of_row.window.start if of_row else _arrival(letter).start if letter else None,
        late=of_row.late if of_row else None,
        reason=letter.letter.reason.value if letter else None,
        detail=printable(letter.letter.detail) if letter else None,
        replayed_as=tuple(each.to.name for each in books.replays if each.to is not None),
        replay_of=books.replay_of.name if books.replay_of else None,
        counts_as=counts_as.name if counts_as else None,
        object_key=of_row.object_key if of_row else None,
        in_object=of_row.in_object if of_row else None,
        revision=of_row.revision if of_row else None,
        published_at=of_row.published_at if of_row else None,
        steps=tuple(steps),
    )


def _appended_at(facts: RecordFacts) -> datetime | None:
    if facts.row is not None:
        return facts.row.appended_at
    return facts.letter.letter.appended if facts.letter else facts.appended_at


def _arrival(letter: FoundLetter) -> MinuteWindow:
    return MinuteWindow.containing(letter.letter.appended)


def _kafka(facts: RecordFacts) -> Step:
    at = _appended_at(facts)
    place = f"partition {facts.id.partition}, offset {facts.id.offset} of {facts.id.log}"
    if not facts.current:
        place += ", a log that has ended"
    replay = f"; a replay of dead letter {facts.books.replay_of.name}" if facts.books and facts.books.replay_of else ""
    if at is not None:
        return Step(name=StepName.KAFKA, state=_DONE, at=at, says=f"{place}{replay}{_kept(facts)}")
    if facts.current and facts.topic is None:
        return Step(name=StepName.KAFKA, state=_NOT_ASKED, says=place)
    low = (facts.topic.low if facts.topic else {}).get(facts.id.partition, 0)
    if facts.id.offset < low or not facts.current:
        return Step(name=StepName.KAFKA, state=_ENDED, says=f"{place}{_kept(facts) or ': Kafka does not hold it'}")
    return Step(
        name=StepName.KAFKA,
        state=_ENDED,
        says=f"{place} holds no record for readers: a transaction's marker, or what was taken back or compacted",
    )


def _kept(facts: RecordFacts) -> str:
    if facts.topic is None or not facts.current:
        return ""
    low = facts.topic.low.get(facts.id.partition, 0)
    return f"; Kafka holds the partition from offset {low} on and no longer has it" if facts.id.offset < low else ""


def _stored(facts: RecordFacts) -> Iterator[Step]:
    name = StepName.STORED
    if facts.row is not None:
        # When a row was stored stands nowhere: the sink writes down offsets only.
        also = "; it is a dead letter as well, and the audit takes one of them away" if facts.letter else ""
        happened = f"event of {utc_text(facts.row.event_at)}"
        yield Step(name=name, state=_DONE, says=f"row of the table, {happened}{_repaired(facts.books)}{also}")
    elif facts.letter is not None:
        pass
    elif not facts.stored_asked:
        yield Step(name=name, state=_NOT_ASKED, says="whether it is a row of the table or a dead letter")
    elif (closed := facts.books.closed if facts.books else None) is not None:
        where = f"the audit closed its minute of arrival {closed.minute} with {_records(closed.rows, 'row')}, " + (
            f"{_records(closed.dead_letters, 'dead letter')}, {closed.no_record} without a record, {closed.lost} lost"
        )
        yield Step(
            name=name, state=_ENDED, says=f"in neither table nor dead letters now{_repaired(facts.books)}; {where}"
        )
    elif facts.read is False:
        yield Step(name=name, state=_ENDED, says="there is nothing to store")
    elif facts.topic is not None and facts.current:
        yield _waiting_to_be_stored(facts)
    else:
        yield Step(name=name, state=_ENDED, says="in neither table nor dead letters")


def _waiting_to_be_stored(facts: RecordFacts) -> Step:
    committed = (facts.topic.committed if facts.topic else {}).get(facts.id.partition, 0)
    if committed <= facts.id.offset:
        ahead = facts.id.offset - committed
        says = f"the sink has not come to it: {_records(ahead, 'record')} of the partition before it"
    else:
        says = f"the sink has passed it (it is at {committed}) and it is in no place: the next audit stores or files it"
    return Step(name=StepName.STORED, state=_WAITING, says=says)


def _repaired(books: RecordBooks | None) -> str:
    said = [
        f"{repair.replace('_', ' ')}{f' ({reason})' if reason else ''} {utc_text(at)}"
        for repair, reason, at in (books.repairs if books else ())
    ]
    return f"; by the audit: {', '.join(said)}" if said else ""


def _letter(facts: RecordFacts) -> Iterator[Step]:
    if facts.letter is None:
        return
    letter = facts.letter.letter
    said = f"{letter.reason}: {printable(letter.detail)}"
    if facts.letter.by_bytes:
        said += " (found by its bytes: what it says cannot be read, or not with certainty)"
    yield Step(name=StepName.DEAD_LETTER, state=_DONE, says=said + _repaired(facts.books))
    if facts.books is None:
        yield Step(name=StepName.DEAD_LETTER, state=_NOT_ASKED, says="what became of it")
        return
    for change in facts.books.changes:
        why = change.detail.get("reason") or change.detail.get("why") or ""
        words = f"{change.action.replace('_', ' ')} by {change.changed_by}{f': {why}' if why else ''}"
        yield Step(name=StepName.DEAD_LETTER, state=_DONE, at=change.changed_at, says=printable(words))
    for replay in facts.books.replays:
        if replay.to is not None:
            yield Step(
                name=StepName.DEAD_LETTER, state=_DONE, at=replay.sent_at, says=f"replayed as record {replay.to.name}"
            )
        elif replay.withdrawn_at is None:
            yield Step(
                name=StepName.DEAD_LETTER,
                state=_WAITING,
                says=f"a replay was begun {utc_text(replay.begun_at)} and is in doubt; "
                "`etar dead-letters replay --apply` brings it to its end",
            )
    if facts.books.state is LetterState.OPEN:
        yield Step(
            name=StepName.DEAD_LETTER,
            state=_WAITING,
            says=f"open: `etar dead-letters show {facts.id.name}` has its fields; fix and replay it, or discard it",
        )


def _minute(facts: RecordFacts, rules: Rules, of_row: _Counted | None) -> Iterator[Step]:
    name = StepName.MINUTE
    if facts.letter is not None:
        arrival = _arrival(facts.letter)
        yield Step(name=name, state=_DONE, says=f"counts as a dead letter of {arrival}, in which it arrived")
    elif facts.row is not None:
        says = f"{facts.row.minute}, by its event time{_lateness(facts.row, rules)}"
        at = of_row.settled_at if of_row else None
        yield Step(name=name, state=_DONE, at=at, says=f"{says}; settled" if at else says)


def _lateness(row: FoundRow, rules: Rules) -> str:
    if row.appended_at < row.minute.end + rules.grace:
        return ""
    after = (row.appended_at - row.minute.end).total_seconds()
    return f"; late, {after:,.1f} s after the minute's end"


def _audit(facts: RecordFacts) -> Iterator[Step]:
    name = StepName.AUDIT
    if facts.books is None:
        yield Step(name=name, state=_NOT_ASKED, says="whether its minute of arrival is verified")
        return
    closed, mark = facts.books.closed, facts.books.mark
    if closed is not None:
        through = f"partition {facts.id.partition} is verified through {mark.previous}" if mark else ""
        lost = f"; {_records(closed.lost, 'record')} of it lost" if closed.lost else ""
        yield Step(
            name=name,
            state=_DONE,
            at=closed.closed_at,
            says=f"arrival minute {closed.minute} verified{lost}; {through}",
        )
        return
    at = _appended_at(facts)
    if at is None:
        return
    arrived = MinuteWindow.containing(at)
    if mark is not None and arrived < mark:
        # The audit begins with what arrives from the deployment on.
        yield Step(
            name=name,
            state=_ENDED,
            says=f"never audited; partition {facts.id.partition} is verified through {mark.previous}",
        )
        return
    through = f"through {mark.previous}" if mark else "in no minute so far"
    yield Step(
        name=name,
        state=_WAITING,
        says=f"arrived in {arrived}, and partition {facts.id.partition} is verified {through}: the audit comes to it "
        "when the minute is over and the sink is past it",
    )


@dataclass(frozen=True)
class _Counted:
    """How a row fares in its minute: extract and report. ``standing``: of the minute, in words, where it has no report
    with the row. ``unsure``: what there is does not tell whether a revision was made with it."""

    window: MinuteWindow
    late: bool
    minute: MinuteFacts
    row: FoundRow
    rules: Rules
    revision: int | None
    newest: int | None
    unsure: bool

    @classmethod
    def of(cls, facts: RecordFacts, rules: Rules) -> _Counted | None:
        row = facts.row
        if row is None:
            return None
        minute = facts.minute or MinuteFacts(row.minute)
        late = row.appended_at >= row.minute.end + rules.grace
        revision, unsure = _first_revision(row, minute)
        newest = max(minute.books.published, default=None) if minute.books else None
        return cls(row.minute, late, minute, row, rules, revision, newest, unsure)

    @property
    def entry(self) -> LedgerEntry | None:
        return self.minute.books.entry if self.minute.books else None

    @property
    def settled_at(self) -> datetime | None:
        """When the table held what Kafka held at the minute's end: for the revision that has the row, else lately."""
        revisions = self.minute.books.revisions if self.minute.books else ()
        own = next((each for each in revisions if each.revision == self.revision), self.entry)
        times = own.stages.get(Stage.SETTLE) if own else None
        return times.ended_at if times else None

    @property
    def object_key(self) -> str | None:
        return self.entry.object_key if self.entry else None

    @property
    def in_object(self) -> bool | None:
        if not self.minute.object_asked:
            return None
        return self.minute.object is not None and self.minute.object.holds.get(self.row.id, False)

    @property
    def published_at(self) -> datetime | None:
        books = self.minute.books
        return books.published.get(self.revision) if books and self.revision is not None else None

    def extract(self) -> Step:
        name, found = StepName.EXTRACT, self.minute.object
        if not self.minute.object_asked:
            return Step(name=name, state=_NOT_ASKED, says=f"whether the extract of {self.window} has it")
        key = self.object_key or f"the extract of {self.window}"
        if found is None or not self.in_object:
            lacks = f"{key} is not there" if found is None else f"{key} has no such row"
            if self.revision is not None:
                says = f"{lacks}, although revision {self.revision} was made with it: see `etar verify`"
                return Step(name=name, state=_ENDED, says=says)
            return Step(name=name, state=_WAITING, says=f"{lacks}: {self.waits_for}")
        other = ""
        if self.entry and self.entry.object_etag and self.entry.object_etag != found.etag:
            other = "; the ledger is about another object than this: a run is at work on the minute"
        return Step(name=name, state=_DONE, at=found.modified_at, says=f"{key} has it{other}")

    def report(self) -> Step:
        name = StepName.REPORT
        if self.minute.books is None:
            return Step(name=name, state=_NOT_ASKED, says=f"whether a report of {self.window} counts it")
        if self.revision is not None:
            newest = f"; the newest is revision {self.newest}" if self.newest and self.newest != self.revision else ""
            why = ", which its coming late made" if self.late and self.revision > 1 else ""
            at = self.published_at
            return Step(
                name=name,
                state=_DONE,
                at=at,
                says=f"revision {self.revision} of {self.window} was made with it{why}{newest}",
            )
        if self.unsure:
            return Step(
                name=name,
                state=_NOT_ASKED,
                says=f"{self.window} is reported, revision {self.newest}; what is left does not tell whether with it: "
                "`etar verify` compares the whole minute",
            )
        return Step(name=name, state=_WAITING, says=self.waits_for)

    @property
    def waits_for(self) -> str:
        """What has to happen before a report counts it."""
        if self.minute.books is None:
            return "the ledger, which says how far the minute is, was not asked"
        if self.window.start + self.rules.retention <= self.rules.now:
            return f"{self.window} has left the table, or is about to, and is not reported any more"
        if self.window.end > self.rules.now:
            return f"the minute {self.window} is not over yet"
        if self.entry is None:
            overdue = self.window.end + self.rules.allowance <= self.rules.now
            return f"no run has begun the minute {self.window}" + (
                ": the next etar_reconcile takes it up" if overdue else " yet"
            )
        return self._waits_for_run(self.entry)

    def _waits_for_run(self, entry: LedgerEntry) -> str:
        if entry.state is State.FAILED:
            return f"the minute {self.window} failed, and etar_reconcile tries it again: {printable(entry.error or '')}"
        if entry.state is not State.REPORTED:
            return f"the minute {self.window} {_NEXT[entry.state]}: run {entry.run_id} is at work on it{_since(entry)}"
        revision = max(self.newest or 0, entry.revision or 0)
        return f"reported, revision {revision}, before this row came: the next reconcile makes revision {revision + 1}"


def _since(entry: LedgerEntry) -> str:
    begun = [(stage, times) for stage, times in entry.stages.items() if times.ended_at is None]
    if not begun:
        return f", and wrote last {utc_text(entry.updated_at)}"
    stage, times = begun[-1]
    word = {Stage.SETTLE: "waiting for the sink"}.get(stage, f"in {stage}")
    return f", {word} since {utc_text(times.started_at)}"


def _first_revision(row: FoundRow, minute: MinuteFacts) -> tuple[int | None, bool]:
    """The first revision that was made with the row, and whether that cannot be told."""
    books = minute.books
    if books is None or not books.published:
        return None, False
    known = {each.revision: each for each in books.revisions if each.revision is not None}
    unsure = False
    for revision in sorted(books.published):
        had = _made_with(row, known.get(revision), minute)
        if had:
            # Before it may be one of which nothing is known: it is the first that certainly has it.
            return revision, False
        unsure = had is None
    return None, unsure


def _made_with(row: FoundRow, revision: LedgerEntry | None, minute: MinuteFacts) -> bool | None:
    """Whether a revision's extract had the row; None where that cannot be told."""
    if revision is None or revision.revision is None:
        return None
    found = minute.object
    if found is not None and found.etag == revision.object_etag:
        return found.holds.get(row.id)
    if revision.offsets is None:
        return False if revision.received == 0 else None
    span = revision.offsets.get(row.id.partition)
    if span is None or not span.first <= row.id.offset <= span.last:
        return False
    # As many rows as there were then: these very ones. With more, some were stored between these offsets since.
    left = (minute.in_spans or {}).get((revision.revision, row.id.partition))
    return True if left == span.rows else None


def _standing(facts: RecordFacts, counted: _Counted | None) -> tuple[Standing, str]:
    if facts.letter is not None:
        return _standing_of_letter(facts, facts.letter)
    if counted is not None:
        return _standing_of_row(facts, counted)
    return _standing_of_neither(facts, f"record {facts.id.name}")


def _standing_of_neither(facts: RecordFacts, record: str) -> tuple[Standing, str]:
    books = facts.books or RecordBooks()
    if not facts.stored_asked:
        return Standing.UNKNOWN, f"{record}: the warehouse was not asked"
    if facts.read is False or _is_no_record(books):
        return Standing.GONE, f"{record}: there is none for readers at this offset"
    if any(repair == "lost" for repair, *_ in books.repairs):
        return Standing.LOST, f"{record} is lost: Kafka dropped it before it was stored"
    if books.closed is not None:
        return Standing.GONE, f"{record} was accounted for, and has left the place that held it for its age"
    if facts.read:
        return Standing.WAITING, f"{record} is in Kafka and not stored yet"
    return Standing.UNKNOWN, f"{record}: nothing is left that tells"


def _is_no_record(books: RecordBooks) -> bool:
    closed = books.closed
    return closed is not None and closed.no_record == closed.offsets.size


def _standing_of_letter(facts: RecordFacts, letter: FoundLetter) -> tuple[Standing, str]:
    said = f"record {facts.id.name} is a dead letter, {letter.letter.reason}"
    if facts.books is None:
        return Standing.DEAD_LETTER, f"{said}; what became of it was not asked"
    sent = [each.to.name for each in facts.books.replays if each.to is not None]
    match facts.books.state:
        case LetterState.REPLAYED:
            return Standing.REPLAYED, f"{said}; replayed as {', '.join(sent) or 'a record in doubt'}"
        case LetterState.DISCARDED:
            return Standing.DISCARDED, f"{said}; discarded"
        case _:
            return Standing.DEAD_LETTER, f"{said}; open"


def _standing_of_row(facts: RecordFacts, counted: _Counted) -> tuple[Standing, str]:
    name, window = facts.id.name, counted.window
    others = [each.name for each in facts.of_event if each != facts.id]
    if others and facts.of_event[0] != facts.id:
        return (
            Standing.DUPLICATE,
            f"record {name} is a duplicate in {window}: its event counts once, as record {facts.of_event[0].name}",
        )
    twice = f"; sent again as {', '.join(others)}, which counts as a duplicate" if others else ""
    if counted.revision is not None:
        late = "late, and " if counted.late else ""
        return Standing.COUNTED, f"record {name} is {late}counted in {window} since revision {counted.revision}{twice}"
    if counted.minute.books is None or counted.unsure:
        return Standing.UNKNOWN, f"record {name} is a row of {window}; whether a report counts it is not known{twice}"
    return Standing.WAITING, f"record {name} is a row of {window}; {counted.waits_for}{twice}"


def _records(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def by_arrival(records: Sequence[RecordTrace]) -> tuple[RecordTrace, ...]:
    """In the order in which Kafka took them; those of which that is not known, last."""
    last = datetime.max.replace(tzinfo=UTC)
    return tuple(sorted(records, key=lambda each: (each.appended_at or last, each.log, each.partition, each.offset)))

"""Everything that can be done about the dead letters of a stream: look, fix, replay, discard. The command is thin.

Nothing here changes anything unless it is told to ``apply``.
"""

from __future__ import annotations

import base64
import copy
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from etar.audit.holdings import Holdings
from etar.audit.marks import Marks
from etar.clients import report_store_connection
from etar.dead_letter_office.document import (
    Document,
    Form,
    ReadingSchema,
    read_document,
    reading_schema,
    to_json,
)
from etar.dead_letter_office.front_door import FrontDoor, Headers
from etar.dead_letter_office.repair import NotRepairableError, Repair
from etar.dead_letter_office.replay import Replayer, Sending, Sent
from etar.dead_letter_office.unfiled import Unfiled
from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.journal import Author, BegunReplay, Change, Journal
from etar.dead_letters.letters import LetterId, Letters, Selection, State, Summary, UnknownLetterError
from etar.event_times import EventTimeBounds
from etar.instants import from_milliseconds, to_milliseconds
from etar.kafka.offsets import KafkaUnavailableError, UnknownTopicError
from etar.minute import MinuteWindow
from etar.records.codec import Codec, NotEncodableError, UnusableSchemaError
from etar.records.decode import frame_of
from etar.records.framing import IN_HEADER, OWN_SCHEMA, SchemaId
from etar.records.intake import Decoded, Intake
from etar.records.record import Record
from etar.records.registry import RegisteredSchema, Registry, RegistryUnavailableError
from etar.records.warehouse import Warehouse
from etar.settings import (
    DeadLetterSettings,
    KafkaSettings,
    PipelineSettings,
    RegistrySettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream, subject_of

_Value = tuple[bytes | None, datetime]
"""What a record holds, and when it is appended."""

_BATCH_LETTERS = 500
_BATCH_BYTES = 16 * 1024 * 1024
_LEFT_ALONE = "left alone by the hook"
_NOT_YET = "is not filed yet: the auditor decides within a minute or two whether it is a row; try again then"


class UnknownSchemaError(LookupError):
    """There is no schema to write records with."""


@dataclass(frozen=True)
class Outcome:
    """What was, or would be, done about one letter. ``done`` is False where it was refused; ``what`` says why."""

    letter: LetterId
    done: bool
    what: str


@dataclass(frozen=True)
class Dossier:
    """All there is to know about one letter. ``headers``: None where Kafka no longer holds the record."""

    letter: DeadLetter
    state: State
    document: Document
    headers: Headers | None
    changes: Sequence[Change]
    replays: Sequence[BegunReplay]
    fixed: bytes | None


class Office:
    """The dead letters of one stream, or of one former log of it. Made by :func:`open_office`.

    Every method raises, as the parts it needs are away:
        WarehouseUnavailableError, RegistryUnavailableError, KafkaUnavailableError, psycopg.OperationalError
    """

    def __init__(
        self,
        stream: Stream,
        *,
        log: str,
        letters: Letters,
        unfiled: Unfiled | None,
        journal: Journal,
        registry: Registry,
        intake: Intake,
        door: FrontDoor,
        author: Author,
        patience: timedelta,
        say: Callable[[str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stream = stream
        self._log = log
        self._letters = letters
        self._unfiled = unfiled
        self._journal = journal
        self._registry = registry
        self._intake = intake
        self._door = door
        self._author = author
        self._replayer = Replayer(journal, door, author, patience=patience)
        self._say = say
        self._now = now
        self._schemas: dict[SchemaId, ReadingSchema | str] = {}

    def find(self, selection: Selection) -> Iterator[tuple[Summary, State]]:
        """The letters of a selection with their states, read as they are asked for: what is filed by append time, then
        what is not filed yet.

        Raises:
            UnknownLetterError: an id in the selection is not a dead letter's.
        """
        for summary, state, _ in self._find(selection):
            yield summary, state

    def _find(self, selection: Selection) -> Iterator[tuple[Summary, State, DeadLetter | None]]:
        """As :meth:`find`; with the letter itself where it is in no table to be read from."""
        wanted = set(selection.ids)
        for page in self._letters.pages(selection):
            states = self._journal.states([summary.id for summary in page])
            for summary in page:
                wanted.discard(summary.id)
                state = states.get(summary.id, State.OPEN)
                if not selection.states or state in selection.states:
                    yield summary, state, None
        shown = not selection.states or State.UNFILED in selection.states
        if self._unfiled and (shown or wanted):
            for letter in self._unfiled.find(selection):
                wanted.discard(LetterId.of(letter))
                if shown:
                    yield Summary.of(letter), State.UNFILED, letter
        if wanted:
            names = ", ".join(map(str, sorted(wanted)))
            raise UnknownLetterError(f"no dead letter of {self._log}: {names}")

    def count(self, selection: Selection) -> Counter[tuple[Reason, State]]:
        """How many letters there are of each reason and state."""
        return Counter((summary.reason, state) for summary, state in self.find(selection))

    def former_logs(self) -> dict[str, int]:
        """How many letters there are of each former log of the stream."""
        return self._letters.of_former_logs()

    def show(self, letter_id: LetterId) -> Dossier:
        """Everything about one letter.

        Raises:
            UnknownLetterError: there is no such letter.
        """
        filed = self._letters.read([letter_id])
        letter = next(iter(filed), None)
        if letter is None and self._unfiled:
            letter = next(self._unfiled.find(Selection(ids=(letter_id,))), None)
        if letter is None:
            raise UnknownLetterError(f"no dead letter of {self._log}: {letter_id}")
        headers = self._headers(letter_id)
        return Dossier(
            letter=letter,
            state=self._journal.states([letter_id]).get(letter_id, State.OPEN) if filed else State.UNFILED,
            document=self._readable(letter, headers),
            headers=headers,
            changes=self._journal.history(letter_id),
            replays=self._journal.replays(letter_id),
            fixed=self._journal.fixes([letter_id]).get(letter_id),
        )

    def _readable(self, letter: DeadLetter, headers: Headers | None) -> Document:
        """What can be read of a letter now: without the registry, that it is bytes."""
        try:
            return self._document(letter, self._latest, headers)
        except RegistryUnavailableError as error:
            return Document(Form.BYTES, {}, fault=f"its schema is not to be had: {error}")

    def document(self, letter: DeadLetter) -> Document:
        """What can be read of a letter."""
        return self._document(letter, self._latest)

    def export(self, selection: Selection, file: Path) -> int:
        """Write the letters of a selection to ``file``, one JSON object a line; returns how many.

        The file is there whole or not at all.
        """
        draft = file.with_name(f".{file.name}.draft")
        count = 0
        try:
            with draft.open("w", encoding="utf-8") as out:
                for letters, states in self._batches(selection):
                    for letter in letters:
                        out.write(to_json(self._exported(letter, states[LetterId.of(letter)])) + "\n")
                        count += 1
                out.flush()
                os.fsync(out.fileno())
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
        return count

    def fix(self, selection: Selection, repair: Repair, *, schema_id: int | None, apply: bool) -> Iterator[Outcome]:
        """Repair letters, and keep the repaired records for a replay."""
        with self._changing(apply):
            writer = self._writer(schema_id)
            for letters, states in self._batches(selection):
                repaired, refused = self._repaired(letters, repair, writer)
                refused |= self._still_bad(letters, repaired)
                refused |= {letter: why for letter in repaired if (why := _not_fixable(states[letter]))}
                values = {letter: value for letter, value in repaired.items() if letter not in refused}
                if apply:
                    self._journal.fixed(values, self._author, {"schema_id": writer.schema_id})
                for letter in map(LetterId.of, letters):
                    if letter in refused:
                        yield Outcome(letter, False, refused[letter])
                    elif letter in values:
                        yield Outcome(letter, True, "fixed" if apply else "would be fixed")
                    else:
                        yield Outcome(letter, True, _LEFT_ALONE)

    def replay(
        self,
        selection: Selection,
        *,
        repair: Repair | None = None,
        schema_id: int | None = None,
        again: bool = False,
        force: bool = False,
        apply: bool,
    ) -> Iterator[Outcome]:
        """Send the records of letters through the front door again: as ``repair`` makes them, else as they were fixed
        before, else as they are.

        Before that, replays of an earlier command that was interrupted are brought to their end.

        Args:
            again: also letters that were replayed before.
            force: also records that would only become dead letters again, or events of another minute than before.

        Raises:
            ReplayInDoubtError, UnknownTopicError: see :class:`etar.dead_letter_office.replay.Replayer`.
        """
        with self._changing(apply):
            settled: set[LetterId] = set()
            if apply:
                for sent in self._replayer.settle():
                    settled.add(sent.of)
                    yield _outcome(sent)
            elif in_doubt := self._journal.replays_in_doubt():
                self._say(
                    f"{len(in_doubt)} replays of an interrupted command are in doubt; they are looked for in Kafka, "
                    "and sent again if they are not there, before anything else is replayed"
                )
            writer = self._writer(schema_id) if repair else None
            for letters, states in self._batches(selection):
                left = [letter for letter in letters if again or LetterId.of(letter) not in settled]
                yield from self._replay(left, states, repair, writer, again=again, force=force, apply=apply)

    def discard(self, selection: Selection, reason: str, *, undo: bool, apply: bool) -> Iterator[Outcome]:
        """Give letters up for good; with ``undo``, open discarded ones again."""
        with self._changing(apply):
            expected = State.DISCARDED if undo else State.OPEN
            change = self._journal.restored if undo else self._journal.discarded
            verb = "restored" if undo else "discarded"
            for summaries, states in self._summaries(selection):
                fitting = [summary.id for summary in summaries if states[summary.id] is expected]
                if apply:
                    change(fitting, self._author, reason)
                for summary in summaries:
                    state = states[summary.id]
                    if state is expected:
                        yield Outcome(summary.id, True, verb if apply else f"would be {verb}")
                    elif state is State.UNFILED:
                        yield Outcome(summary.id, False, _NOT_YET)
                    else:
                        yield Outcome(summary.id, False, f"is {state}, not {expected}")

    def _replay(
        self,
        letters: Sequence[DeadLetter],
        states: dict[LetterId, State],
        repair: Repair | None,
        writer: ReadingSchema | None,
        *,
        again: bool,
        force: bool,
        apply: bool,
    ) -> Iterator[Outcome]:
        values: dict[LetterId, bytes | None] = {LetterId.of(letter): letter.value for letter in letters}
        values |= self._journal.fixes(list(values))
        refused: dict[LetterId, str] = {}
        if repair and writer:
            repaired, refused = self._repaired(letters, repair, writer)
            yield from (
                Outcome(letter, True, _LEFT_ALONE) for letter in values.keys() - repaired.keys() - refused.keys()
            )
            values = dict(repaired)
        if not force:
            refused |= self._still_bad(letters, values) | self._moved(letters, values)
        refused |= {letter: why for letter in values if (why := _not_replayable(states[letter], again=again))}
        partitions = self._door.ends()
        refused |= {
            letter: f"the topic has no partition {letter.partition} any more"
            for letter in values
            if letter.partition not in partitions
        }
        sendings = [
            Sending(LetterId.of(letter), letter.key, values[LetterId.of(letter)])
            for letter in letters
            if LetterId.of(letter) in values.keys() - refused.keys()
        ]
        yield from (Outcome(letter, False, why) for letter, why in refused.items())
        if apply:
            yield from map(_outcome, self._replayer.send(sendings))
        else:
            yield from (Outcome(sending.of, True, "would be replayed") for sending in sendings)

    def _repaired(
        self, letters: Sequence[DeadLetter], repair: Repair, writer: ReadingSchema
    ) -> tuple[dict[LetterId, bytes], dict[LetterId, str]]:
        """Values as ``repair`` makes them, and why it cannot; letters that it leaves alone are in neither."""
        values, refused = {}, {}
        for letter in letters:
            try:
                document = self._document(letter, lambda: writer)
                fields = repair(copy.deepcopy(dict(document.fields)), letter)
                if fields is not None:
                    values[LetterId.of(letter)] = writer.encode(fields, repaired=document)
            except (NotRepairableError, NotEncodableError) as error:
                refused[LetterId.of(letter)] = str(error)
        return values, refused

    def _still_bad(self, letters: Sequence[DeadLetter], values: Mapping[LetterId, bytes | None]) -> dict[LetterId, str]:
        """Why those of ``values`` that would be dead letters again, appended now, would be."""
        bad = self._decoded(letters, self._sent_now(values)).letters
        return {
            LetterId.of(letter): f"would be a dead letter again: {letter.reason}: {letter.detail}" for letter in bad
        }

    def _moved(self, letters: Sequence[DeadLetter], values: Mapping[LetterId, bytes | None]) -> dict[LetterId, str]:
        """Why those of ``values`` that were replayed before would count once more: duplicates are told by minute."""
        earlier = self._journal.replayed(list(values))
        before = self._minutes(letters, earlier)
        after = self._minutes(letters, self._sent_now({letter: values[letter] for letter in earlier}))
        return {
            letter: f"was replayed into minute {minute}, and would count again in {after[letter]}; --force does it"
            for letter, minute in before.items()
            if letter in after and after[letter] != minute
        }

    def _minutes(self, letters: Sequence[DeadLetter], sent: Mapping[LetterId, _Value]) -> dict[LetterId, MinuteWindow]:
        """Minutes of those of the values that are good records."""
        rows = self._decoded(letters, sent).rows
        if not rows:
            return {}
        layout = self._intake.layout()
        return {
            LetterId(row.record.partition, row.record.offset): MinuteWindow.containing(
                from_milliseconds(layout.event_ms(row.values))
            )
            for row in rows
        }

    def _sent_now(self, values: Mapping[LetterId, bytes | None]) -> dict[LetterId, _Value]:
        now = self._now()
        return {letter: (value, now) for letter, value in values.items()}

    def _decoded(self, letters: Sequence[DeadLetter], sent: Mapping[LetterId, _Value]) -> Decoded:
        """What the letters' records would be with other values, appended at other times."""
        chosen = [(letter, *sent[LetterId.of(letter)]) for letter in letters if LetterId.of(letter) in sent]
        return self._intake.decode(
            [
                Record(letter.topic, letter.partition, letter.offset, to_milliseconds(at), letter.key, value)
                for letter, value, at in chosen
            ]
        )

    def _document(
        self, letter: DeadLetter, guess: Callable[[], ReadingSchema | None], headers: Headers | None = None
    ) -> Document:
        """``guess``: gives the schema that is tried where the writer's cannot be read."""
        if headers is None and IN_HEADER in letter.detail:
            headers = self._headers(LetterId.of(letter))
        at = to_milliseconds(letter.appended)
        key, value = letter.key, letter.value
        record = Record(letter.topic, letter.partition, letter.offset, at, key, value, headers or ())
        if (frame := frame_of(record, self._intake.codec)) is not None:
            schema_id, body, _ = frame
            if not isinstance(schema := self._schema(schema_id), str):
                return read_document(value, schema, None, body=body)
        return read_document(value, None, guess())

    def _headers(self, letter: LetterId) -> Headers | None:
        """None where Kafka no longer holds the record, or does not answer."""
        try:
            return self._door.headers_of(letter)
        except (KafkaUnavailableError, UnknownTopicError):
            return None

    def _schema(self, schema_id: SchemaId) -> ReadingSchema | str:
        """A schema to read and write with, or why it is none, in words."""
        if schema_id not in self._schemas:
            own = self._intake.codec.own_schema if schema_id == OWN_SCHEMA else None
            registered = own or self._registry.schema(schema_id)
            self._schemas[schema_id] = _usable(self._intake.codec, schema_id, registered)
        return self._schemas[schema_id]

    def _latest(self) -> ReadingSchema | None:
        if self._intake.codec.own_schema:
            schema = self._schema(OWN_SCHEMA)
        else:
            latest = self._registry.latest(subject_of(self._stream.topic))
            schema = self._schema(latest[0]) if latest else ""
        return None if isinstance(schema, str) else schema

    def _writer(self, schema_id: int | None) -> ReadingSchema:
        of_subject = ""
        if self._intake.codec.own_schema:
            if schema_id is not None:
                raise UnknownSchemaError(
                    f"records of {self._stream.name} have no header that names a schema; leave --schema-id out"
                )
            writer = self._schema(OWN_SCHEMA)
            if isinstance(writer, str):
                raise UnknownSchemaError(f"the schema of {self._stream.name} is nothing to write with: {writer}")
            return writer
        if schema_id is None:
            subject = subject_of(self._stream.topic)
            latest = self._registry.latest(subject)
            if latest is None:
                raise UnknownSchemaError(f"the registry has no subject {subject}; give a --schema-id")
            schema_id, of_subject = latest[0], f", the latest of subject {subject},"
        writer = self._schema(schema_id)
        if isinstance(writer, str):
            raise UnknownSchemaError(
                f"schema id {schema_id}{of_subject} is nothing to write with: {writer}; give another --schema-id"
            )
        return writer

    @contextmanager
    def _changing(self, apply: bool) -> Iterator[None]:
        with ExitStack() as stack:
            if apply:
                wait = "another command changes these dead letters right now; waiting for its end"
                stack.enter_context(self._journal.held(lambda: self._say(wait)))
            yield

    def _batches(self, selection: Selection) -> Iterator[tuple[list[DeadLetter], dict[LetterId, State]]]:
        """Letters with their bytes, a bounded amount at a time."""
        for found in self._bounded(selection):
            at_hand = {summary.id: letter for summary, _, letter in found if letter}
            filed = self._letters.read([summary.id for summary, _, letter in found if not letter])
            letters = [*filed, *at_hand.values()]
            yield letters, {summary.id: state for summary, state, _ in found}

    def _summaries(self, selection: Selection) -> Iterator[tuple[list[Summary], dict[LetterId, State]]]:
        for found in self._bounded(selection):
            yield [summary for summary, _, _ in found], {summary.id: state for summary, state, _ in found}

    def _bounded(self, selection: Selection) -> Iterator[list[tuple[Summary, State, DeadLetter | None]]]:
        # Bounded by the moment it begins: what a replay makes of these letters is not among them.
        end = min(selection.end or self._now(), self._now())
        batch: list[tuple[Summary, State, DeadLetter | None]] = []
        size = 0
        for found in self._find(replace(selection, end=end)):
            length = found[0].size or 0
            if batch and (len(batch) == _BATCH_LETTERS or size + length > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(found)
            size += length
        if batch:
            yield batch

    def _exported(self, letter: DeadLetter, state: State) -> dict[str, object]:
        document = self.document(letter)
        return {
            **letter.heading(),
            "state": state.value,
            "key": _base64(letter.key),
            "value": _base64(letter.value),
            "form": document.form.value,
            "schema_id": document.schema_id,
            "fields": dict(document.fields) or None,
        }


@contextmanager
def open_office(
    stream: Stream,
    *,
    command: str,
    say: Callable[[str], None],
    log: str | None = None,
    reading: bool = False,
) -> Iterator[Office]:
    """The office of a stream, with everything from the settings.

    Args:
        command: what the audit shall say made a change.
        say: takes what a person should know meanwhile.
        log: the former log whose letters are meant; those of the topic as it is if left out.
        reading: nothing is to be changed, and somebody waits: PostgreSQL refuses to write and to take long.

    Raises:
        pydantic.ValidationError: a setting is missing.
        psycopg.OperationalError: PostgreSQL is away.
    """
    settings = get_settings(DeadLetterSettings)
    warehouse_settings = get_settings(WarehouseSettings)
    with ExitStack() as stack:
        kafka = get_settings(KafkaSettings)
        connection = stack.enter_context(
            closing(report_store_connection(get_settings(ReportStoreSettings), reading=reading))
        )
        registry = stack.enter_context(closing(Registry.connect(get_settings(RegistrySettings))))
        warehouse = stack.enter_context(closing(Warehouse(warehouse_settings)))
        of = log or stream.topic
        letters = stack.enter_context(closing(Letters(warehouse_settings, of)))
        intake = Intake.of(
            stream,
            database=warehouse_settings.database,
            bounds=EventTimeBounds.of(get_settings(PipelineSettings)),
            registry=registry,
            warehouse=warehouse,
        )
        unfiled = None
        if not log:  # what nobody has filed yet is of the topic as it is
            unfiled = Unfiled(
                stream,
                kafka=kafka,
                marks=Marks(connection, stream),
                letters=letters,
                holdings=stack.enter_context(Holdings(warehouse_settings, stream)),
                intake=intake,
                say=say,
            )
        yield Office(
            stream,
            log=of,
            letters=letters,
            unfiled=unfiled,
            journal=Journal(connection, of, sent_to=stream.topic),
            registry=registry,
            intake=intake,
            door=FrontDoor(stream.topic, kafka, send_seconds=settings.send_seconds, of=of),
            author=Author.of_this_process(command),
            # A record that was sent at the last moment may still be on its way into the broker's log.
            patience=timedelta(seconds=settings.send_seconds + 5),
            say=say,
        )


def _usable(codec: Codec, schema_id: SchemaId, registered: RegisteredSchema | None) -> ReadingSchema | str:
    if registered is None:
        return "the registry has no such schema"
    if registered.missing:
        return f"the registry does not have {', '.join(registered.missing)}, which it refers to"
    try:
        return reading_schema(codec.writer(registered, schema_id))
    except UnusableSchemaError as error:
        return str(error)


def _not_fixable(state: State) -> str | None:
    if state is State.UNFILED:
        return _NOT_YET
    return "is discarded; `etar dead-letters discard --undo` opens it again" if state is State.DISCARDED else None


def _not_replayable(state: State, *, again: bool) -> str | None:
    if state is State.REPLAYED and not again:
        return "was replayed before; --again replays it once more"
    return _not_fixable(state)


def _outcome(sent: Sent) -> Outcome:
    if sent.refused is not None:
        return Outcome(sent.of, False, f"Kafka refused it: {sent.refused}")
    return Outcome(sent.of, True, f"replayed as {sent.of.partition}:{sent.offset}")


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()

"""Records that Kafka Connect gave up and the auditor has not looked at yet, read from the topic it leaves them in.

Connect leaves good records there, too: whole batches for one bad record, or for an outage. The auditor trusts none of
it and decides from the stream's own topic, minute by minute; until then a record may be in no other place than this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from confluent_kafka import Message

from etar.audit.holdings import Holdings
from etar.audit.marks import Marks
from etar.audit.pieces import Mark
from etar.dead_letters import DeadLetter, Reason
from etar.dead_letters.letters import LetterId, Letters, Selection
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.kafka.records import TopicReader, append_time
from etar.offsets import Span
from etar.records.intake import Decoded, Intake
from etar.records.record import Record
from etar.settings import KafkaSettings
from etar.streams import Stream

_HEADER = "__connect.errors."
_BATCH_RECORDS = 2_000
_BATCH_BYTES = 16 * 1024 * 1024

_SLACK = timedelta(minutes=1)
"""Records of a minute are looked for from a minute before it on: its first ones may have been found by timestamps of
another broker."""


class GivenUp(NamedTuple):
    """A record as the stream's topic holds it, when that was appended (aware), and what Connect said of it."""

    record: Record
    appended: datetime
    why: str

    @property
    def id(self) -> LetterId:
        return LetterId(self.record.partition, self.record.offset)


def read_given_up(message: Message) -> GivenUp | None:
    """What a message of the dead-letter topic is about; None where its headers do not say."""
    headers = {
        name.removeprefix(_HEADER): (value or b"").decode(errors="replace")
        for name, value in message.headers() or []
        if name.startswith(_HEADER) and not isinstance(value, str)
    }
    try:
        topic, partition, offset = headers["topic"], int(headers["partition"]), int(headers["offset"])
    except (KeyError, ValueError):
        return None
    # Connect hands on the timestamp that the record had, and the topic it makes keeps what it is given.
    _, appended_ms = message.timestamp()
    own = tuple((name, value) for name, value in message.headers() or () if not name.startswith(_HEADER))
    stage = headers.get("stage", "").lower() or "no stage named"
    exception = headers.get("exception.class.name", "").rpartition(".")[2] or "no exception named"
    said = headers.get("exception.message") or "no message"
    return GivenUp(
        Record(topic, partition, offset, appended_ms, message.key(), message.value(), own),
        append_time(message),
        f"Kafka Connect gave it up ({stage}, {exception}): {said}",
    )


class Unfiled:
    """Of one stream. Nothing is written, and no consumer group is joined."""

    def __init__(
        self,
        stream: Stream,
        *,
        kafka: KafkaSettings,
        marks: Marks,
        letters: Letters,
        holdings: Holdings,
        intake: Intake,
        say: Callable[[str], None],
    ) -> None:
        """``say`` takes what a person should know meanwhile."""
        self._stream = stream
        self._kafka = kafka
        self._marks = marks
        self._letters = letters
        self._holdings = holdings
        self._intake = intake
        self._say = say

    def find(self, selection: Selection) -> Iterator[DeadLetter]:
        """Those of ``selection`` (states aside), each once, in the order in which Connect gave them up.

        Each comes as the auditor would file it. One that looks good is ``insert_refused``: the auditor will store it,
        if the table takes it. None where there is no such topic, or Kafka does not answer.

        Raises:
            WarehouseUnavailableError, RegistryUnavailableError, psycopg.OperationalError
        """
        try:
            marks, held, spans = self._to_read()
            seen = _Offsets()
            for batch in self._batches(spans):
                chosen = [
                    each
                    for each in batch
                    if each.record.offset < held.get(each.record.partition, 0)  # else it is of a log that has ended
                    and self._may_be_meant(each, marks, selection)
                    and seen.add(each.id.partition, each.id.offset)
                ]
                for letter in self._as_letters(self._in_no_place(chosen)):
                    if not selection.reasons or letter.reason in selection.reasons:
                        yield letter
        except UnknownTopicError:
            return  # another sink, or nothing was given up so far
        except KafkaUnavailableError as error:
            self._say(f"what Kafka Connect gave up and is not filed yet is left out: {error}")

    def _to_read(self) -> tuple[Mapping[int, Mark], Mapping[int, int], dict[int, Span]]:
        """The audit's marks, the ends of the stream's topic, and the offsets of the dead-letter topic above which none
        of the marks can be."""
        with TopicOffsets.connect(self._stream.dead_letter_topic, settings=self._kafka) as given_up:
            ends = given_up.end()
            with TopicOffsets.connect(self._stream.topic, settings=self._kafka) as offsets:
                held = offsets.end()
            marks = self._marks.latest(list(held))
            if marks.keys() >= held.keys():
                first = given_up.held_at(min(mark.next.start for mark in marks.values()) - _SLACK)
            else:
                first = given_up.low()
        return marks, held, {partition: Span(first[partition], end) for partition, end in ends.items()}

    def _batches(self, spans: Mapping[int, Span]) -> Iterator[list[GivenUp]]:
        batch: list[GivenUp] = []
        size = nameless = 0
        for message in TopicReader(self._stream.dead_letter_topic, self._kafka).records(spans):
            given_up = read_given_up(message)
            if given_up is None:
                nameless += 1
                continue
            batch.append(given_up)
            size += len(given_up.record.value or b"")
            if len(batch) == _BATCH_RECORDS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch
        if nameless:
            self._say(
                f"{nameless} records of {self._stream.dead_letter_topic} do not say where they came from and are left "
                "out; is errors.deadletterqueue.context.headers.enable true?"
            )

    def _may_be_meant(self, given_up: GivenUp, marks: Mapping[int, Mark], selection: Selection) -> bool:
        record = given_up.record
        mark = marks.get(record.partition)
        # Below the mark every record is where it belongs, or was until the table's TTL.
        if record.topic != self._stream.topic or (mark is not None and record.offset < mark.offset):
            return False
        return (
            (not selection.ids or given_up.id in selection.ids)
            and (selection.first is None or selection.first <= given_up.appended)
            and (selection.end is None or given_up.appended < selection.end)
        )

    def _in_no_place(self, given_up: Sequence[GivenUp]) -> list[GivenUp]:
        """Those that are neither rows nor filed."""
        if not given_up:
            return []
        ids = tuple(each.id for each in given_up)
        held = {summary.id for page in self._letters.pages(Selection(ids=ids)) for summary in page}
        for partition in {each.partition for each in ids}:
            offsets = [each.offset for each in ids if each.partition == partition]
            held.update(LetterId(partition, offset) for offset in self._holdings.rows_among(partition, offsets))
        return [each for each in given_up if each.id not in held]

    def _as_letters(self, given_up: Sequence[GivenUp]) -> list[DeadLetter]:
        decoded = self._intake.decode([each.record for each in given_up]) if given_up else Decoded()
        found = {LetterId.of(letter): letter for letter in decoded.letters}
        letters = []
        for each in given_up:
            if letter := found.get(each.id):
                letters.append(each.record.dead(letter.reason, f"{letter.detail}; {each.why}"))
            else:
                letters.append(each.record.dead(Reason.INSERT_REFUSED, f"a good record by itself; {each.why}"))
        return letters


class _Offsets:
    """Which offsets were met: a bit each, in blocks, as those that Connect gives up lie together."""

    _BLOCK = 65_536

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, int], bytearray] = {}

    def add(self, partition: int, offset: int) -> bool:
        """Whether it was not there before."""
        number, place = divmod(offset, self._BLOCK)
        block = self._blocks.setdefault((partition, number), bytearray(self._BLOCK // 8))
        at, bit = divmod(place, 8)
        new = not block[at] & 1 << bit
        block[at] |= 1 << bit
        return new

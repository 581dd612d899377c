"""What each place said, before it is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from etar.dead_letters import DeadLetter
from etar.dead_letters.journal import Change
from etar.dead_letters.letters import State
from etar.ledger import LedgerEntry
from etar.minute import MinuteWindow
from etar.offsets import Span


class RecordId(NamedTuple):
    """A record, whichever log of the topic it is of."""

    log: str
    partition: int
    offset: int

    @property
    def name(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class FoundRow:
    """A row of the stream's table. ``identity``: its columns as text."""

    id: RecordId
    appended_at: datetime
    event_at: datetime
    minute: MinuteWindow
    identity: tuple[str, ...]


@dataclass(frozen=True)
class FoundLetter:
    """A dead letter. ``by_bytes``: it was found by its bytes, and what it says cannot be read with certainty."""

    id: RecordId
    letter: DeadLetter
    by_bytes: bool = False


@dataclass(frozen=True)
class ReplaySent:
    """A replay of a letter: ``to`` is None while it is in doubt."""

    of: RecordId
    to: RecordId | None
    begun_at: datetime
    sent_at: datetime | None
    withdrawn_at: datetime | None


@dataclass(frozen=True)
class ClosedPiece:
    """What the auditor closed, of the partition and arrival minute that hold the record."""

    minute: MinuteWindow
    offsets: Span
    rows: int
    dead_letters: int
    no_record: int
    lost: int
    closed_at: datetime


@dataclass(frozen=True)
class RecordBooks:
    """What PostgreSQL knows of a record. ``mark``: first arrival minute of its partition that is not closed."""

    closed: ClosedPiece | None = None
    mark: MinuteWindow | None = None
    repairs: Sequence[tuple[str, str, datetime]] = ()
    """What the auditor did to it, the letter's reason if one was concerned, and when."""

    state: State = State.OPEN
    changes: Sequence[Change] = ()
    replays: Sequence[ReplaySent] = ()
    replay_of: RecordId | None = None


@dataclass(frozen=True)
class MinuteBooks:
    """What PostgreSQL knows of a minute. ``published``: by revision."""

    entry: LedgerEntry | None
    revisions: Sequence[LedgerEntry] = ()
    published: Mapping[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundObject:
    """A minute's extract. ``holds``: whether it has each of the rows that were asked for."""

    etag: str
    modified_at: datetime
    holds: Mapping[RecordId, bool]


@dataclass(frozen=True)
class TopicFacts:
    """What Kafka says of the topic, by partition. ``retention_ms``: -1 for ever."""

    low: Mapping[int, int]
    end: Mapping[int, int]
    committed: Mapping[int, int]
    retention_ms: int

    @property
    def behind(self) -> int:
        """Records that the sink has not come to."""
        return sum(max(0, end - self.committed.get(partition, 0)) for partition, end in self.end.items())


@dataclass(frozen=True)
class MinuteFacts:
    """All that is known of the minute of a row. A place that was not asked is None; ``object`` may also be absent,
    which ``object_asked`` tells apart.

    ``in_spans``: by revision, how many rows of the minute the table has between the first and the last record of the
    partition that the revision was made of.
    """

    window: MinuteWindow
    books: MinuteBooks | None = None
    object: FoundObject | None = None
    object_asked: bool = False
    in_spans: Mapping[tuple[int, int], int] | None = None
    """By revision and partition."""


@dataclass(frozen=True)
class RecordFacts:
    """All that is known of a record; a place that was not asked is None.

    ``of_event``: the records of its event in its minute, itself among them, as the report orders them.
    ``read``: whether Kafka gave the record out, None where it was not asked for it.
    """

    id: RecordId
    current: bool
    stored_asked: bool
    row: FoundRow | None = None
    letter: FoundLetter | None = None
    books: RecordBooks | None = None
    topic: TopicFacts | None = None
    read: bool | None = None
    appended_at: datetime | None = None
    minute: MinuteFacts | None = None
    of_event: tuple[RecordId, ...] = ()

"""The answer to "where is this event?": one for the command, its JSON, the API and the page."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Place(StrEnum):
    """Where it is looked for."""

    KAFKA = "kafka"
    WAREHOUSE = "warehouse"
    REPORT_STORE = "report store"
    OBJECT_STORE = "object store"
    REGISTRY = "schema registry"


class StepName(StrEnum):
    """The way of an event, in its order."""

    KAFKA = "kafka"
    STORED = "stored"
    DEAD_LETTER = "dead letter"
    MINUTE = "minute"
    AUDIT = "audit"
    EXTRACT = "extract"
    REPORT = "report"


class StepState(StrEnum):
    """How far a step is."""

    DONE = "done"
    WAITING = "waiting"
    """Not so yet; the text says what is waited for."""

    ENDED = "ended"
    """It is not so, and will not be by itself."""

    NOT_ASKED = "not asked"
    """A place did not answer, so that nothing is known."""


class Standing(StrEnum):
    """What became of a record, in a word."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    """Another record of the same event and minute is the one that counts."""

    WAITING = "waiting"
    DEAD_LETTER = "dead letter"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    GONE = "gone"
    """It was accounted for, and what it was stored in has been dropped for its age."""

    LOST = "lost"
    UNKNOWN = "unknown"
    """A place that would know was not asked, or what there is does not tell."""


class Step(BaseModel):
    """One step of a record's way. ``at``: when it was done."""

    model_config = ConfigDict(frozen=True)

    name: StepName
    state: StepState
    at: AwareDatetime | None = None
    says: str


class RecordTrace(BaseModel):
    """One record in Kafka. What does not apply to it, or is not known, is null; ``says`` and the steps tell which."""

    model_config = ConfigDict(frozen=True)

    log: str = Field(description="Topic, or the log of it that has ended")
    partition: int
    offset: int
    standing: Standing
    says: str = Field(description="The same in a sentence")
    appended_at: AwareDatetime | None = Field(default=None, description="When Kafka took it")
    event_at: AwareDatetime | None = Field(default=None, description="When the event happened, as it says")
    minute: AwareDatetime | None = Field(default=None, description="Minute that it is accounted to")
    late: bool | None = Field(default=None, description="Whether it came after that minute's end and grace")
    reason: str | None = Field(default=None, description="Why it is a dead letter")
    detail: str | None = None
    replayed_as: tuple[str, ...] = Field(default=(), description="Where its replays stand, as PARTITION:OFFSET")
    replay_of: str | None = Field(default=None, description="The dead letter that it is a replay of")
    counts_as: str | None = Field(default=None, description="Record of the same event and minute that counts")
    object_key: str | None = Field(default=None, description="The minute's extract")
    in_object: bool | None = Field(default=None, description="Whether the extract has it")
    revision: int | None = Field(default=None, description="First revision of the report that was made with it")
    published_at: AwareDatetime | None = None
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """``3:1042``."""
        return f"{self.partition}:{self.offset}"


class PlaceAnswer(BaseModel):
    """What a place was asked for, or why it was not."""

    model_config = ConfigDict(frozen=True)

    place: Place
    asked: bool
    says: str


class Trace(BaseModel):
    """All that is known of an event, or of a record."""

    model_config = ConfigDict(frozen=True)

    stream: str
    asked_at: AwareDatetime
    identity: dict[str, str] | None = Field(default=None, description="The event asked for, by its columns")
    record: str | None = Field(default=None, description="The record asked for, as PARTITION:OFFSET")
    since: AwareDatetime | None = Field(default=None, description="Begin of what was searched, inclusive")
    until: AwareDatetime | None = Field(default=None, description="Its end, exclusive")
    found: bool
    complete: bool = Field(description="Whether every place answered that could know of it")
    says: str
    records: tuple[RecordTrace, ...] = Field(description="By the time that Kafka took them")
    places: tuple[PlaceAnswer, ...]

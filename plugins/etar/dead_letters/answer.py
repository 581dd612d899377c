"""What is said of dead letters to who looks at them: the answers of the report API, which the dashboard reads."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from etar.dead_letters import Reason
from etar.dead_letters.letters import State


class ListedLetter(BaseModel):
    """One letter of a list."""

    partition: int
    offset: int
    appended_at: AwareDatetime = Field(description="When the broker took the record")
    reason: Reason
    detail: str = Field(description="What was wrong, for a person; cut where it is long")
    field: str | None = Field(description="Path of the field that it is about, its parts joined by points; if any")
    state: State = Field(description="What became of it; `open`: nothing yet")
    size: int | None = Field(description="Bytes of its value; null for a record without one")

    @property
    def name(self) -> str:
        """As ``etar dead-letters`` names it."""
        return f"{self.partition}:{self.offset}"


class LetterBucket(BaseModel):
    """How many letters came within one hour, or one minute."""

    start: AwareDatetime
    reasons: dict[Reason, int]


class LetterCounts(BaseModel):
    """Letters of a range of time by reason, whatever became of them."""

    stream: str
    start: AwareDatetime
    end: AwareDatetime
    seconds: int = Field(description="Length of a bucket")
    total: int
    buckets: tuple[LetterBucket, ...] = Field(description="Those that have a letter, oldest first")
    fields: dict[str, int] = Field(description="Fields that reasons are about, with their letters, most first")


class Bytes(BaseModel):
    """The first of some bytes, to be looked at."""

    size: int
    lines: tuple[str, ...] = Field(description="Offset, 16 bytes in hex, and the same as ASCII")


class Leaf(BaseModel):
    """One value of a record."""

    path: str
    value: str | None = Field(description="As JSON, cut where it is long; null: it is not there")
    failing: bool = Field(description="Whether the reason is about it")


class LetterHeader(BaseModel):
    """A header of the record in Kafka."""

    name: str
    value: str | None


class LetterChange(BaseModel):
    """What was done about a letter."""

    at: AwareDatetime
    by: str
    action: str
    command: str
    detail: str = Field(description="As JSON")


class LetterReplay(BaseModel):
    """One time that the record was sent again."""

    log: str = Field(description="Where to: the topic, or a log of it that has ended")
    partition: int
    offset: int | None = Field(description="Where it stands there; null while that is in doubt")
    begun_at: AwareDatetime
    sent_at: AwareDatetime | None
    withdrawn_at: AwareDatetime | None = Field(description="When Kafka had refused it")


class WholeLetter(ListedLetter):
    """All that is known of one letter, as far as its value can be read."""

    stream: str
    form: str = Field(description="What the value is, as far as can be told")
    schema_id: int | str | None
    fault: str | None = Field(description="What stopped the reading, or is left over")
    leaves: tuple[Leaf, ...] = Field(description="Values that could be read, in the record's order")
    leaves_left_out: int = Field(description="Values that could be read beyond these")
    pointer: str | None = Field(description="JSON pointer of the failing field (RFC 6901), as a patch names it")
    there: bool = Field(description="Whether the record has the failing field")
    key: Bytes | None
    value: Bytes | None
    fixed: Bytes | None = Field(description="The value that a replay sends, where it was fixed")
    headers: tuple[LetterHeader, ...] | None = Field(description="null: Kafka no longer has them, or does not answer")
    changes: tuple[LetterChange, ...] = Field(description="Oldest first")
    replays: tuple[LetterReplay, ...] = Field(description="Oldest first")

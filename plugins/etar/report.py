"""The report of one minute: the envelope that is every stream's, around a body that is the stream's own.

What accounts for events, keeps books or says how fresh a report is reads nothing but the envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from etar.minute import MinuteWindow

Count = Annotated[int, Field(ge=0)]


def _aligned(instant: datetime) -> datetime:
    return MinuteWindow(instant).start


class Envelope(BaseModel):
    """What every report says of itself, whatever its stream counts.

    Counts are of unique events: an event that was read twice counts once.
    """

    schema_version: int = Field(default=1, ge=1, description="Version of the stream's report")
    stream: str = Field(min_length=1, max_length=200)
    minute: Annotated[AwareDatetime, AfterValidator(_aligned)] = Field(description="Start of the minute, UTC")
    total_events: Count
    rows_read: Count = Field(description="Rows of the source object, before duplicates were dropped")
    source_object: str | None = Field(description="URI of the extract; null for an empty minute", max_length=2000)

    @model_validator(mode="after")
    def _counts_no_more_than_was_read(self) -> Self:
        if self.total_events > self.rows_read:
            raise ValueError(f"total_events {self.total_events} is more than rows_read {self.rows_read}")
        return self

    @property
    def window(self) -> MinuteWindow:
        return MinuteWindow(self.minute)

    def headline(self) -> str:
        """The minute's figures in a few words, for logs and ``etar up``: ``1,234 events``."""
        return f"{self.total_events:,} events"


class MinuteReport(Envelope):
    """What happened in one minute of one stream; a stream's ``report.py`` says by a subclass what it counts.

    Each field of the subclass has a default, which is what it is in a minute without events. A subclass may say more
    in its :meth:`headline`, and has its own :meth:`of_row` where a transform's row is not yet the report. Two reports
    of a minute are the same report exactly when they are equal. ``schema_version`` is the subclass's: a change that an
    old reader would misread gets the next number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def empty(cls, window: MinuteWindow, *, stream: str) -> Self:
        """The report of a minute without events: the subclass's defaults.

        Raises:
            pydantic.ValidationError: the subclass has a field without a default, or defaults that do not add up.
        """
        return cls(stream=stream, minute=window.start, total_events=0, rows_read=0, source_object=None)

    @classmethod
    def of_row(cls, row: Mapping[str, Any], *, window: MinuteWindow, stream: str, source: str) -> Self:
        """The report that a transform's one row says: each column is the field of its name. In texts, U+FFFD stands for
        U+0000, which PostgreSQL's jsonb cannot hold: no minute is held up by what its events say.

        A subclass whose fields say more than the row (zeros for what did not occur, say) puts that into the row here.

        Args:
            row: values of Spark as Python's, structs as mappings; ``rows_read`` and ``total_events`` among them.
            source: URI of the extract.

        Raises:
            pydantic.ValidationError: a column is missing, unknown or of another type, or the row does not add up.
        """
        said = _storable(row)
        return cls.complete({**said, "stream": stream, "minute": window.start, "source_object": source})

    @classmethod
    def complete(cls, fields: Mapping[str, Any]) -> Self:
        """The report of ``fields`` that leave nothing out: what a field is in a minute without events is not what it is
        where somebody forgot it.

        Raises:
            pydantic.ValidationError: they do leave something out, or are no report.
        """
        missing = cls.model_fields.keys() - fields.keys() - {"schema_version", "stream"}
        if missing:
            raise ValidationError.from_exception_data(
                cls.__name__, [{"type": "missing", "loc": (name,), "input": fields} for name in sorted(missing)]
            )
        return cls.model_validate(fields)

    @model_validator(mode="before")
    @classmethod
    def _drop_computed(cls, data: object) -> object:
        # What is computed is written for readers of the JSON; read back, it is computed again rather than believed.
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key not in cls.model_computed_fields}
        return data

    @model_serializer(mode="wrap")
    def _body_inside(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As a reader wants it: whose minute and how much, the body, where from; last what is computed of these.
        dumped: dict[str, Any] = dump(self)
        last = ("rows_read", "source_object", *type(self).model_computed_fields)
        return {name: value for name, value in dumped.items() if name not in last} | {
            name: dumped[name] for name in last if name in dumped
        }


def faults(error: ValidationError) -> str:
    """What keeps values from being a report, as one line: each field with what is wrong with it."""
    return "; ".join(f"{'.'.join(map(str, part['loc']))} {part['msg']}".strip() for part in error.errors())


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, Mapping):
        return {_storable(name): _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


class PublishedReport(Envelope):
    """A report as the API keeps and serves it: with its revision (1 for the first) and the time it was published.

    Only the envelope is checked: the body is what was posted, when the stream's report may have had another shape.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    revision: int = Field(ge=1)
    published_at: AwareDatetime

    @property
    def body(self) -> Mapping[str, Any]:
        """What is the stream's own, as JSON has it."""
        return self.model_extra or {}

    @property
    def content(self) -> dict[str, Any]:
        """The report as it was posted, as JSON has it."""
        return self.model_dump(mode="json", exclude={"revision", "published_at"})

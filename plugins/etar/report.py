"""The report of one minute: one model for Spark's driver, the report API and the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    computed_field,
    field_validator,
    model_validator,
)

from etar.minute import MinuteWindow

SCHEMA_VERSION: Literal[1] = 1
"""Version of the report's shape. A change that an old reader would misread gets the next number."""

EVENT_TYPES = ("view", "click", "add_to_cart", "checkout", "purchase", "search")
"""Event types in funnel order; ``streams/user_interactions/schema.avsc`` has the same (a test compares them)."""

Count = Annotated[int, Field(ge=0)]


def _aligned(instant: datetime) -> datetime:
    return MinuteWindow(instant).start


class Outcomes(BaseModel):
    """Events of one type, by how they ended: in success or not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    success: Count = 0
    error: Count = 0

    @property
    def total(self) -> int:
        return self.success + self.error

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(success=self.success + other.success, error=self.error + other.error)


class Report(BaseModel):
    """What happened in one minute of one stream.

    Counts are of unique events: the same ``event_id`` read twice counts once. Two reports of a minute are the same
    report exactly when they are equal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    stream: str = Field(default="user_interactions", min_length=1, max_length=200)
    minute: Annotated[AwareDatetime, AfterValidator(_aligned)] = Field(description="Start of the minute, UTC")
    total_events: Count
    total_errors: Count
    event_types: dict[str, Outcomes] = Field(description="Success and error counts per event type", max_length=1000)
    unique_users: Count
    rows_read: Count = Field(description="Rows of the source object, before duplicates were dropped")
    source_object: str | None = Field(description="URI of the extract; null for an empty minute", max_length=2000)

    @computed_field(description="total_errors / total_events; 0 for an empty minute")  # type: ignore[prop-decorator]
    @property
    def error_rate(self) -> float:
        return self.total_errors / self.total_events if self.total_events else 0.0

    @field_validator("event_types")
    @classmethod
    def _in_funnel_order(cls, counted: dict[str, Outcomes]) -> dict[str, Outcomes]:
        # PostgreSQL's jsonb keeps an order of its own; a reader should see the funnel, then types unknown here.
        order = [*EVENT_TYPES, *sorted(counted.keys() - set(EVENT_TYPES))]
        return {name: counted[name] for name in order if name in counted}

    @model_validator(mode="before")
    @classmethod
    def _drop_computed(cls, data: object) -> object:
        # error_rate is written for readers of the JSON; read back, it is computed again rather than believed.
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key != "error_rate"}
        return data

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        by_type = sum(outcomes.total for outcomes in self.event_types.values())
        errors = sum(outcomes.error for outcomes in self.event_types.values())
        if by_type != self.total_events or errors != self.total_errors:
            raise ValueError(
                f"event_types add up to {by_type} events with {errors} errors, "
                f"but the totals say {self.total_events} and {self.total_errors}"
            )
        if self.total_events > self.rows_read:
            raise ValueError(f"total_events {self.total_events} is more than rows_read {self.rows_read}")
        if self.unique_users > self.total_events:
            raise ValueError(f"unique_users {self.unique_users} is more than total_events {self.total_events}")
        return self

    @property
    def window(self) -> MinuteWindow:
        return MinuteWindow(self.minute)

    @classmethod
    def empty(cls, window: MinuteWindow, *, stream: str = "user_interactions") -> Report:
        """The typed zero report of a minute without events."""
        return cls(
            stream=stream,
            minute=window.start,
            total_events=0,
            total_errors=0,
            event_types={name: Outcomes() for name in EVENT_TYPES},
            unique_users=0,
            rows_read=0,
            source_object=None,
        )


class PublishedReport(Report):
    """A report as the API keeps and serves it: with its revision (1 for the first) and the time it was published."""

    revision: int = Field(ge=1)
    published_at: AwareDatetime

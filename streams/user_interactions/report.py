"""What a minute of a shop's user interactions comes to: events by type and outcome, errors, users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator, model_validator
from pydantic.config import JsonDict

from etar.minute import MinuteWindow
from etar.report import Count, MinuteReport
from etar.text import printable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EVENT_TYPES = ("view", "click", "add_to_cart", "checkout", "purchase", "search")
"""Event types in funnel order; ``producer/user_event_schema.avsc`` has the same (a test compares them)."""

UNKNOWN_TYPES_LISTED = 100
"""How many event types a report lists beside :data:`EVENT_TYPES`."""

OTHER_TYPES = "(other)"
"""Stands for the event types beyond these."""

_TYPE_CHARACTERS = 100


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


def _no_events() -> dict[str, Outcomes]:
    return dict.fromkeys(EVENT_TYPES, Outcomes())


_EXAMPLE: JsonDict = {
    "schema_version": 1,
    "stream": "user_interactions",
    "minute": "2026-11-21T10:31:00Z",
    "total_events": 1000,
    "total_errors": 12,
    "event_types": {
        "view": {"success": 612, "error": 5},
        "click": {"success": 240, "error": 3},
        "add_to_cart": {"success": 61, "error": 2},
        "checkout": {"success": 22, "error": 1},
        "purchase": {"success": 14, "error": 1},
        "search": {"success": 39, "error": 0},
    },
    "unique_users": 431,
    "rows_read": 1002,
    "source_object": "s3://etar/extracts/user_interactions/2026-11-21_10-31.parquet",
}


class Report(MinuteReport):
    """Unique events of one minute by type and outcome, and how many users they are of."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    schema_version: Literal[1] = 1
    stream: str = Field(default="user_interactions", min_length=1, max_length=200)
    total_errors: Count = 0
    event_types: dict[str, Outcomes] = Field(
        default_factory=_no_events, description="Success and error counts per event type", max_length=1000
    )
    unique_users: Count = 0

    @computed_field(description="total_errors / total_events; 0 for an empty minute")  # type: ignore[prop-decorator]
    @property
    def error_rate(self) -> float:
        return self.total_errors / self.total_events if self.total_events else 0.0

    @classmethod
    def of_row(cls, row: Mapping[str, Any], *, window: MinuteWindow, stream: str, source: str) -> Self:
        """As ever, but a known event type that did not occur has zeros, and of unknown ones there may be any number."""
        counted = {name: Outcomes.model_validate(outcomes) for name, outcomes in row["event_types"].items()}
        return super().of_row(
            {**row, "event_types": _no_events() | listed(counted)}, window=window, stream=stream, source=source
        )

    def headline(self) -> str:
        """``1,234 events, 12 errors (0.97%), 431 users``."""
        errors = f"{self.total_errors:,} errors ({self.error_rate:.2%})"
        return f"{super().headline()}, {errors}, {self.unique_users:,} users"

    @field_validator("event_types")
    @classmethod
    def _in_funnel_order(cls, counted: dict[str, Outcomes]) -> dict[str, Outcomes]:
        # PostgreSQL's jsonb keeps an order of its own; a reader should see the funnel, then types unknown here.
        order = [*EVENT_TYPES, *sorted(counted.keys() - set(EVENT_TYPES))]
        return {name: counted[name] for name in order if name in counted}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        by_type = sum(outcomes.total for outcomes in self.event_types.values())
        errors = sum(outcomes.error for outcomes in self.event_types.values())
        if by_type != self.total_events or errors != self.total_errors:
            raise ValueError(
                f"event_types add up to {by_type} events with {errors} errors, "
                f"but the totals say {self.total_events} and {self.total_errors}"
            )
        if self.unique_users > self.total_events:
            raise ValueError(f"unique_users {self.unique_users} is more than total_events {self.total_events}")
        return self


def listed(counted: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    """Event types as a report lists them. Beside the known ones a writer's schema may allow any text: so many of those
    are listed as a report has room for, the most frequent, and the others together, under names that can be shown."""
    unknown = sorted(counted.keys() - set(EVENT_TYPES), key=lambda name: (-counted[name].total, name))
    types = {name: outcomes for name, outcomes in counted.items() if name in EVENT_TYPES}
    for rank, name in enumerate(unknown):
        # PostgreSQL's jsonb, for one, cannot hold U+0000.
        shown = printable(name)[:_TYPE_CHARACTERS] if rank < UNKNOWN_TYPES_LISTED else OTHER_TYPES
        types[shown] = types.get(shown, Outcomes()) + counted[name]
    return types


def transform(events: DataFrame) -> DataFrame:
    """What one minute's events come to, as exactly one row, also for no events at all.

    Args:
        events: ``event_id`` and ``user_id`` (any comparable type), ``event_type``, ``status`` (``success``; all else
            is an error, also what a writer's schema may come to call it), ``_partition``, ``_offset``; more columns
            are ignored. An event that stands in several rows counts once, as the row with the lowest partition and
            offset has it.

    Returns:
        ``rows_read``, ``total_events``, ``total_errors``, ``unique_users``: long; ``event_types``:
        ``map<string, struct<success: long, error: long>>`` with the types that occur.
    """
    from pyspark.sql import functions as F

    columns = events.select("event_id", "user_id", "event_type", "status", "_partition", "_offset")
    unique = (
        columns.groupBy("event_id")
        .agg(
            F.min_by(F.struct("user_id", "event_type", "status"), F.struct("_partition", "_offset")).alias("event"),
            F.count("*").alias("rows"),
        )
        .select("event.*", "rows")
    )
    # The rollup's grand total (grouping id 1) counts users across types in the same pass over the events.
    per_type = unique.rollup("event_type").agg(
        F.grouping_id().alias("grand_total"),
        F.count("*").alias("events"),
        F.count_if(F.col("status") == "success").alias("success"),
        F.count_if(~F.col("status").eqNullSafe("success")).alias("error"),
        F.count_distinct("user_id").alias("users"),
        F.sum("rows").alias("rows"),
    )
    is_total = F.col("grand_total") == 1
    entry = F.struct("event_type", F.struct("success", "error"))
    # The aggregate over all rows gives one row even where the rollup has none: for no events.
    return per_type.agg(
        *(
            F.coalesce(F.max(F.when(is_total, F.col(column))), F.lit(0)).alias(name)
            for column, name in (
                ("rows", "rows_read"),
                ("events", "total_events"),
                ("error", "total_errors"),
                ("users", "unique_users"),
            )
        ),
        F.map_from_entries(F.collect_list(F.when(~is_total, entry))).alias("event_types"),
    ).select("rows_read", "total_events", "total_errors", "unique_users", "event_types")

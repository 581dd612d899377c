"""The first stream's transformation as whole frames in and out, and the report that its row says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from tests.integration.spark_apps.events import WINDOW, Event, frame
from tests.interactions import EVENT_TYPES, OTHER_TYPES, UNKNOWN_TYPES_LISTED, Outcomes, Report, transform


def only_row(frame: DataFrame) -> dict[str, Any]:
    """The frame as plain values; fails unless it is one row of exactly the promised columns."""
    rows = frame.collect()
    assert len(rows) == 1
    assert frame.columns == ["rows_read", "total_events", "total_errors", "unique_users", "event_types"]
    row: dict[str, Any] = rows[0].asDict()
    row["event_types"] = {
        kind: (outcomes["success"], outcomes["error"]) for kind, outcomes in row["event_types"].items()
    }
    return row


def test_the_promised_types(spark: SparkSession) -> None:
    types = {field.name: field.dataType.simpleString() for field in transform(frame(spark, [])).schema.fields}
    assert types == {
        "rows_read": "bigint",
        "total_events": "bigint",
        "total_errors": "bigint",
        "unique_users": "bigint",
        "event_types": "map<string,struct<success:bigint,error:bigint>>",
    }


def test_no_events_are_one_row_of_zeros(spark: SparkSession) -> None:
    assert only_row(transform(frame(spark, []))) == {
        "rows_read": 0,
        "total_events": 0,
        "total_errors": 0,
        "unique_users": 0,
        "event_types": {},
    }


def test_every_type_is_counted_by_outcome(spark: SparkSession) -> None:
    events = [
        Event(event=10 * kind + n, user=n, kind=name, status="error" if n == 0 else "success", offset=10 * kind + n)
        for kind, name in enumerate(EVENT_TYPES)
        for n in range(kind + 2)
    ]
    assert only_row(transform(frame(spark, events))) == {
        "rows_read": 27,
        "total_events": 27,
        "total_errors": 6,
        "unique_users": 7,
        "event_types": {name: (kind + 1, 1) for kind, name in enumerate(EVENT_TYPES)},
    }


def test_a_user_counts_once_across_types_and_partitions(spark: SparkSession) -> None:
    events = [
        Event(1, user=7, kind="view", partition=0),
        Event(2, user=7, kind="purchase", partition=1),
        Event(3, user=8, kind="view", partition=5),
    ]
    assert only_row(transform(frame(spark, events)))["unique_users"] == 2


def test_an_event_that_stands_in_many_rows_counts_once_but_every_row_was_read(spark: SparkSession) -> None:
    twice = [Event(1, offset=offset) for offset in (3, 9, 12)]
    assert only_row(transform(frame(spark, [*twice, Event(2, user=2, offset=4)]))) == {
        "rows_read": 4,
        "total_events": 2,
        "total_errors": 0,
        "unique_users": 2,
        "event_types": {"view": (2, 0)},
    }


FIRST = Event(1, user=1, kind="purchase", status="success", partition=1, offset=5)


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(replace(FIRST, user=2, kind="view", status="error", offset=6), id="later in the partition"),
        pytest.param(replace(FIRST, user=2, kind="view", status="error", partition=2, offset=0), id="later partition"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_rows_that_disagree_the_first_by_partition_and_offset_counts(
    spark: SparkSession, later: Event, turned: bool
) -> None:
    events = [later, FIRST] if turned else [FIRST, later]
    assert only_row(transform(frame(spark, events).repartition(2))) == {
        "rows_read": 2,
        "total_events": 1,
        "total_errors": 0,
        "unique_users": 1,
        "event_types": {"purchase": (1, 0)},
    }


def test_columns_beyond_the_contract_change_nothing(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    events = frame(spark, [Event(1)])
    wider = events.withColumn("amount", F.lit(5)).withColumn("country", F.lit("DE"))
    assert only_row(transform(wider)) == only_row(transform(events))


def test_a_missing_column_is_an_error_and_not_a_count(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="user_id"):
        transform(frame(spark, [Event(1)]).drop("user_id"))


def counted(**event_types: tuple[int, int]) -> Row:
    total = sum(success + error for success, error in event_types.values())
    return Row(
        rows_read=total,
        total_events=total,
        total_errors=sum(error for _, error in event_types.values()),
        unique_users=min(total, 1),
        event_types={kind: Row(success=s, error=e) for kind, (s, e) in event_types.items()},
    )


def report_of(row: Row) -> Report:
    return Report.of_row(row.asDict(recursive=True), window=WINDOW, stream="user_interactions", source="s3a://x")


def test_the_report_lists_types_in_funnel_order_and_unknown_ones_last() -> None:
    report = report_of(counted(wishlist=(1, 0), search=(2, 1), refund=(1, 1), view=(3, 0)))
    assert list(report.event_types) == [*EVENT_TYPES, "refund", "wishlist"]
    assert report.event_types["search"] == Outcomes(success=2, error=1)
    assert report.event_types["purchase"] == Outcomes()


def test_a_status_that_is_not_success_is_an_error_whatever_it_is_called(spark: SparkSession) -> None:
    events = [Event(number, status=status, offset=number) for number, status in enumerate(("success", "error", "slow"))]
    report = report_of(transform(frame(spark, events)).collect()[0])
    assert (report.total_events, report.total_errors) == (3, 2)
    assert report.event_types["view"] == Outcomes(success=1, error=2)


def test_event_types_of_any_text_and_number_fit_into_a_report() -> None:
    """As a writer's schema may allow: text that PostgreSQL cannot hold, of any length, another for each event."""
    odd = {f"type {number:05}": (1, 0) for number in range(5_000)} | {"a\0b": (3, 1), "c" * 10_000: (2, 0)}
    report = report_of(counted(view=(1, 0), **odd))
    assert report.event_types["a\ufffdb"] == Outcomes(success=3, error=1)
    assert report.event_types["c" * 100] == Outcomes(success=2)
    assert report.event_types["type 00097"] == Outcomes(success=1)
    assert report.event_types[OTHER_TYPES] == Outcomes(success=5_000 - (UNKNOWN_TYPES_LISTED - 2))
    assert len(report.event_types) == len(EVENT_TYPES) + UNKNOWN_TYPES_LISTED + 1

"""Level 2: the report that the folder makes of its samples, of none, and of the same in another order or twice. One
local Spark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etar.event_times import EventTimeBounds
from etar.pipeline.extract import selected
from etar.records.record import Row
from etar.records.table import TableLayout
from etar.report import MinuteReport
from etar.settings import EventTimeSettings, get_settings
from etar.stream_code import report_model
from etar.stream_folder.checks.report import GOLDEN_FILE, SOME_MINUTE, SOME_SOURCE, expected_report
from etar.stream_folder.checks.samples import expected_rows
from etar.stream_folder.engine import Database
from etar.stream_folder.examples import Bench
from etar.streams import Stream
from spark_apps.minute_report import report_of
from tests.integration.spark_apps.conftest import spark  # noqa: F401  (a fixture)
from tests.streams.test_engine import insert


@pytest.fixture
def events(
    stream: Stream,
    made: Database,
    columns: TableLayout,
    spark: SparkSession,  # noqa: F811
    tmp_path: Path,
) -> DataFrame:
    """The good samples as an extract has them."""
    bench = Bench(stream, columns, EventTimeBounds.of(get_settings(EventTimeSettings)))
    outcomes = [bench.outcome(example, offset=number) for number, example in enumerate(expected_rows(stream))]
    made.run(f"CREATE TABLE kept AS {stream.table} ENGINE = Memory")
    insert(made, "kept", columns, [outcome for outcome in outcomes if isinstance(outcome, Row)], tmp_path)
    file = tmp_path / "extract.parquet"
    file.write_bytes(
        made.parquet(f"SELECT {selected(stream, made.describe('kept'))} FROM kept ORDER BY _topic, _partition, _offset")
    )
    return spark.read.parquet(f"file:{file}")


@pytest.fixture
def reported(stream: Stream) -> Callable[[DataFrame], MinuteReport]:
    return lambda rows: report_of(rows, stream=stream, window=SOME_MINUTE, source=SOME_SOURCE)


def test_the_report_of_the_samples_is_the_golden_one(
    stream: Stream, events: DataFrame, reported: Callable[[DataFrame], MinuteReport]
) -> None:
    assert stream.folder is not None
    golden = json.loads((stream.folder / GOLDEN_FILE).read_text(encoding="utf-8"))

    assert json.loads(reported(events).model_dump_json()) == json.loads(
        expected_report(stream, golden).model_dump_json()
    )


def test_the_report_does_not_depend_on_the_order_of_rows(
    events: DataFrame, reported: Callable[[DataFrame], MinuteReport]
) -> None:
    backwards = events.orderBy(F.desc("_offset")).repartition(3)

    assert reported(backwards).model_dump_json() == reported(events).model_dump_json()


def test_an_event_that_was_sent_twice_counts_once(
    stream: Stream, events: DataFrame, reported: Callable[[DataFrame], MinuteReport]
) -> None:
    again = events.union(events.withColumn("_offset", F.col("_offset") + 1_000_000))
    once, twice = (json.loads(reported(rows).model_dump_json()) for rows in (events, again))

    assert twice["rows_read"] == 2 * once["rows_read"]
    if stream.identity:
        assert {**twice, "rows_read": once["rows_read"]} == once
    else:
        assert twice["total_events"] == 2 * once["total_events"]


def test_a_minute_without_events_has_a_report(
    stream: Stream, events: DataFrame, reported: Callable[[DataFrame], MinuteReport]
) -> None:
    of_none = reported(events.limit(0))

    assert (of_none.rows_read, of_none.total_events) == (0, 0)
    empty = report_model(stream).empty(SOME_MINUTE, stream=stream.name)
    body = json.loads(empty.model_dump_json()).items()
    assert {name: value for name, value in body if name != "source_object"}.items() <= json.loads(
        of_none.model_dump_json()
    ).items()

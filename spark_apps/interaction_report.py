"""The report of one minute, from its extract: ``spark-submit interaction_report.py --minute … --source … --result …``.

Reads the Parquet object that ``etar.pipeline.extract`` wrote and leaves one JSON object, an ``etar.report.Report``.
The three options may be repeated together, for several minutes one after the other in one Spark. With a Spark that
stays (``spark_apps/analysis_server.py``) the same arguments come over HTTP.
Where Spark runs, and how it reaches the object store, is the business of Spark's own configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

if __name__ == "__main__":
    # spark-submit puts a zip of pyspark before the installed package, and what is in a zip Python compiles at every
    # start: a second of CPU for the same code.
    sys.path.sort(key=lambda entry: entry.endswith(".zip"))

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from etar.minute import MinuteWindow
from etar.report import EVENT_TYPES, Outcomes, Report
from etar.text import printable

UNKNOWN_TYPES_LISTED = 100
"""How many event types a report lists beside :data:`etar.report.EVENT_TYPES`."""

OTHER_TYPES = "(other)"
"""Stands for the event types beyond these."""

_TYPE_CHARACTERS = 100


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


def report_of(row: Row, *, minute: MinuteWindow, source: str) -> Report:
    """The report that :func:`transform`'s one row says; a known event type that did not occur has zeros."""
    counted = {name: Outcomes(success=success, error=error) for name, (success, error) in row["event_types"].items()}
    return Report(
        minute=minute.start,
        total_events=row["total_events"],
        total_errors=row["total_errors"],
        event_types=dict.fromkeys(EVENT_TYPES, Outcomes()) | listed(counted),
        unique_users=row["unique_users"],
        rows_read=row["rows_read"],
        source_object=source,
    )


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


def write_object(spark: SparkSession, uri: str, content: str) -> None:
    """Write ``content`` as one object, with the credentials Spark reads with; on S3 it appears when it is whole."""
    jvm, hadoop = spark._jvm, spark._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(uri)
    out = path.getFileSystem(hadoop).create(path, True)
    # Not closed after a failed write: closing is what makes the object appear.
    out.write(bytearray(content.encode()))
    out.close()


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def main(
    argv: Sequence[str], *, say: Callable[[str], None] = print, complain: Callable[[str], None] = _to_stderr
) -> int:
    """Exit code 0 when every result object is written, 1 otherwise; one line for each, ``complain`` for what is not.

    Raises:
        SystemExit: with 2, for other arguments than these.
    """
    parser = argparse.ArgumentParser(description="Count the events of minutes, each by itself.")
    parser.add_argument(
        "--minute", type=MinuteWindow.parse, action="append", required=True, help="e.g. 2026-11-21T10:31Z"
    )
    parser.add_argument("--source", action="append", required=True, help="URI of the minute's Parquet object")
    parser.add_argument("--result", action="append", required=True, help="URI of the JSON object to write")
    args = parser.parse_args(argv)
    if not len(args.minute) == len(args.source) == len(args.result):
        parser.error("every --minute takes one --source and one --result")
    failed = False
    for minute, source, result in zip(args.minute, args.source, args.result, strict=True):
        try:
            # Inside, so that a Spark that does not start is said of every minute.
            spark = SparkSession.builder.getOrCreate()
            row = transform(spark.read.parquet(source)).collect()[0]
            report = report_of(row, minute=minute, source=source)
            write_object(spark, result, report.model_dump_json())
        except Exception as error:
            complain(f"interaction_report {minute}: {_reason(error)}")
            failed = True
        else:
            say(f"interaction_report {minute}: {report.total_events} events from {source} to {result}")
    return int(failed)


def _reason(error: Exception) -> str:
    """One line that says most: for an error inside the JVM its own message, not Py4J's."""
    cause = getattr(error, "java_exception", None)
    text = cause.toString() if cause is not None else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:1000]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

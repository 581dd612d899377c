"""The report of one minute, from its extract: ``spark-submit minute_report.py --stream … --minute … --source …
--result …``.

Reads the Parquet object that ``etar.pipeline.extract`` wrote, has the stream's own transform make one row of it, and
leaves the report that this row says as one JSON object. The four options may be repeated together, for several minutes
of any streams one after the other in one Spark; one that fails stops no other. With a Spark that stays
(``spark_apps/analysis_server.py``) the same arguments come over HTTP.
Where Spark runs, and how it reaches the object store, is the business of Spark's own configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

if __name__ == "__main__":
    # spark-submit puts a zip of pyspark before the installed package, and what is in a zip Python compiles at every
    # start: a second of CPU for the same code.
    sys.path.sort(key=lambda entry: entry.endswith(".zip"))

from pydantic import ValidationError
from pyspark import cloudpickle
from pyspark.sql import DataFrame, Row, SparkSession

from etar.errors import PermanentError
from etar.minute import MinuteWindow
from etar.report import MinuteReport, faults
from etar.stream_code import loaded_packages, report_model, report_transform
from etar.streams import Stream, stream_named

_ONE_TASK_BYTES = 4 * 1024 * 1024
"""A file up to this is read by one task anyway (``spark.sql.files.openCostInBytes``)."""


class NotOneRowError(PermanentError):
    """A stream's transform made no row of a minute, or several."""


class NoReportError(PermanentError):
    """A stream's model does not take the row that its transform made."""


def report_of(events: DataFrame, *, stream: Stream, window: MinuteWindow, source: str) -> MinuteReport:
    """The stream's report of one minute's rows.

    Raises:
        StreamCodeError: the stream's folder has no transform or model that can be used.
        NotOneRowError: the transform made another number of rows.
        NoReportError: the row is no report.
    """
    model, transform = report_model(stream), report_transform(stream)
    _have_workers_know()
    row = only_row(transform(events), stream)
    try:
        return model.of_row(row.asDict(recursive=True), window=window, stream=stream.name, source=source)
    except ValidationError as error:
        said = f"the row that stream {stream.name} makes of a minute is no report: {faults(error)}"
        raise NoReportError(said) from error


def rows_of(spark: SparkSession, source: str) -> DataFrame:
    """The rows of a minute's Parquet object; those of a small one as one partition, which a transform has little to
    exchange with: a fifth of the processor time of a minute of some thousand events.

    Args:
        spark: a session of the minute's own.
    """
    rows = spark.read.parquet(source)
    size: int = rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()
    if size > _ONE_TASK_BYTES:
        return rows
    spark.conf.set("spark.sql.shuffle.partitions", 1)
    return rows.coalesce(1)


def only_row(made: DataFrame, stream: Stream) -> Row:
    """The one row that a transform has to make, however many rows the minute has.

    Raises:
        NotOneRowError: there is another number of them.
    """
    rows = made.take(2)
    if len(rows) != 1:
        raise NotOneRowError(
            f"the transform of stream {stream.name} made {made.count()} rows of a minute, and has to make exactly one: "
            "aggregate over all rows, without groupBy"
        )
    return rows[0]


def _have_workers_know() -> None:
    """Functions that a stream has called for each row go to Spark's Python workers as they are: there, nobody can
    import what was loaded by its path."""
    for package in loaded_packages():
        cloudpickle.register_pickle_by_value(package)


def write_object(spark: SparkSession, uri: str, content: str) -> None:
    """Write ``content`` as one object, with the credentials Spark reads with; on S3 it appears when it is whole.

    By Spark's own client: a driver has a user of the object store that may do no more than this, and is told of it by
    Spark's configuration alone.
    """
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
    parser = argparse.ArgumentParser(description="Make the reports of minutes, each by itself.")
    parser.add_argument("--stream", action="append", required=True, help="name of the stream")
    parser.add_argument(
        "--minute", type=MinuteWindow.parse, action="append", required=True, help="e.g. 2026-11-21T10:31Z"
    )
    parser.add_argument("--source", action="append", required=True, help="URI of the minute's Parquet object")
    parser.add_argument("--result", action="append", required=True, help="URI of the JSON object to write")
    args = parser.parse_args(argv)
    if not len(args.stream) == len(args.minute) == len(args.source) == len(args.result):
        parser.error("every --stream takes one --minute, one --source and one --result")
    failed = False
    for name, window, source, result in zip(args.stream, args.minute, args.source, args.result, strict=True):
        try:
            stream = stream_named(name)
            # Inside, so that a Spark that does not start is said of every minute.
            # A session of its own: what one stream's code sets or names is not there for another's.
            spark = SparkSession.builder.getOrCreate().newSession()
            spark.conf.set("spark.sql.session.timeZone", "UTC")
            report = report_of(rows_of(spark, source), stream=stream, window=window, source=source)
            write_object(spark, result, report.model_dump_json())
        except Exception as error:
            complain(f"minute_report {name} {window}: {_reason(error)}")
            failed = True
        else:
            say(f"minute_report {name} {window}: {report.headline()} from {source} to {result}")
    return int(failed)


def _reason(error: Exception) -> str:
    """One line that says most: for an error inside the JVM its own message, not Py4J's."""
    cause = getattr(error, "java_exception", None)
    text = cause.toString() if cause is not None else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:1000]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

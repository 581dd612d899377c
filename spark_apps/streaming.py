"""What the long-lived jobs of streams have in common: where their rows come from, where they go, and how they go on.

1. Spark's Kafka source reads records, and :class:`TypedBatches` makes the rows of them that the sink stores.
2. The job itself says what is counted (:class:`Job`).
3. Each micro-batch is stored in one transaction of PostgreSQL, together with its number; one that was stored before
   (Spark repeats a batch whose end it had not noted) changes nothing.
4. Spark notes in the checkpoint that the batch is done. A kill between any two of these repeats the batch at most.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from etar import job_progress
from etar.clients import WarehouseUnavailableError, report_store_connection
from etar.errors import PermanentError
from etar.event_times import EventTimeBounds
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets
from etar.records.typed_batches import RECORD_COLUMNS, TypedBatches
from etar.records.warehouse import Warehouse
from etar.settings import (
    EventTimeSettings,
    KafkaSettings,
    RegistrySettings,
    ReportStoreSettings,
    StreamJobSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import RecordFormat, Stream, stream_named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession
    from pyspark.sql.streaming import StreamingQuery

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_TOPIC_LOOK_SECONDS = 10.0
_TELL_SECONDS = 2.0
_KEPT_BATCHES = 20
"""Of which the checkpoint has all it takes to go back to; each is some objects."""

_CLAIM = """\
INSERT INTO stream_batches (job, run, batch_id) VALUES (%s, %s, %s)
ON CONFLICT (job) DO UPDATE SET run = excluded.run, batch_id = excluded.batch_id
WHERE stream_batches.run <> excluded.run OR stream_batches.batch_id < excluded.batch_id
RETURNING job"""

_DATA_LOST = "failOnDataLoss"
"""Spark names the option, to say how not to be told."""

_REPEATED_BATCH = (
    '"scala.collection.IterableOps.map(scala.Function1)" because the return value of "scala.Option.get()" is null'
)
"""What Spark 4.1.2 ends a query with when it begins by repeating a batch: it looks for what Kafka has at most, and has
not asked yet (KafkaMicroBatchStream.metrics). The batch itself is done by then, and noted."""


class JobError(PermanentError):
    """A job cannot go on by itself; the message says what a person can do."""


class Job(Protocol):
    """What one job is, beside what all have."""

    columns: tuple[str, ...]
    """Of a row of the stream's table, those that are wanted."""

    def transform(self, rows: DataFrame, stream: Stream) -> DataFrame:
        """Few rows, of what changed in a micro-batch."""
        ...

    def prepare(self, connection: psycopg.Connection[Any]) -> None:
        """Done once for each connection."""
        ...

    def store(self, connection: psycopg.Connection[Any], batch_id: int, rows: Sequence[Row]) -> None:
        """Within a transaction, by few statements however many rows."""
        ...


class StoredBatches:
    """Stores micro-batches, each in one transaction with its number. PostgreSQL is waited for until ``stopping``."""

    def __init__(self, name: str, job: Job, settings: ReportStoreSettings, stopping: Event) -> None:
        self._name = name
        self._job = job
        self._settings = settings
        self._stopping = stopping
        self._connection: psycopg.Connection[Any] | None = None

    def store(self, run: str, batch_id: int, rows: Sequence[Row]) -> bool:
        """Whether it changed something; it does not where this batch of the run was stored before.

        Args:
            run: which series of numbers the number is of.

        Raises:
            JobError: PostgreSQL refuses what it was asked.
            InterruptedError: the job was told to end while PostgreSQL was away.
        """
        told = False
        while True:
            try:
                changed = self._stored(run, batch_id, rows)
            except psycopg.OperationalError as error:
                # Whether the transaction was committed is not known where the answer was lost: its number will say.
                self.close()
                if not told:
                    _log.warning("PostgreSQL is away, and waited for: %s", " ".join(str(error).split()))
                    told = True
                if self._stopping.wait(_RETRY_SECONDS):
                    raise InterruptedError("told to end while PostgreSQL was away") from error
            except psycopg.Error as error:
                raise JobError(
                    f"PostgreSQL refuses batch {batch_id} of {self._name}: {' '.join(str(error).split())}; if a table "
                    "is missing, `etar bootstrap report-store` makes it"
                ) from error
            else:
                if told:
                    _log.warning("PostgreSQL is back")
                return changed

    def _stored(self, run: str, batch_id: int, rows: Sequence[Row]) -> bool:
        if self._connection is None or self._connection.closed:
            self._connection = report_store_connection(self._settings)
            self._job.prepare(self._connection)
            self._connection.commit()
        connection = self._connection
        with connection.transaction():
            if connection.execute(_CLAIM, (self._name, run, batch_id)).fetchone() is None:
                _log.warning("batch %d of %s was stored before; it changes nothing", batch_id, self._name)
                return False
            self._job.store(connection, batch_id, rows)
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def rows_of(spark: SparkSession, stream: Stream, columns: tuple[str, ...], settings: StreamJobSettings) -> DataFrame:
    """The stream's rows as they come in, beginning with the oldest that Kafka holds.

    Raises:
        WarehouseUnavailableError: the table cannot be described.
        KeyError: the table has no such column.
    """
    warehouse = get_settings(WarehouseSettings)
    described = Warehouse(warehouse).describe(warehouse.database, stream.table)
    typed = TypedBatches(
        stream,
        warehouse.database,
        tuple(described),
        EventTimeBounds.of(get_settings(EventTimeSettings)),
        get_settings(RegistrySettings),
        columns,
    )
    # Headers may name a record's schema where the registry has it, and cost nothing elsewhere.
    headers = stream.record is not RecordFormat.JSON
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", get_settings(KafkaSettings).bootstrap_servers)
        .option("kafka.isolation.level", "read_committed")
        .option("subscribe", stream.topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", str(settings.batch_records))
        .option("includeHeaders", str(headers).lower())
        .load()
    )
    wanted = {
        "appended_ms": F.unix_millis("timestamp"),
        "headers": F.col("headers") if headers else F.lit(None).cast("array<struct<key:string,value:binary>>"),
    }
    return (
        records.select(*(wanted.get(name, F.col(name)).alias(name) for name in RECORD_COLUMNS))
        # Not a Python for each partition, which is 130 MB: for every other core, as the state is work as well.
        .coalesce(max(1, spark.sparkContext.defaultParallelism // 2))
        .mapInArrow(typed, from_arrow_schema(typed.schema))
    )


class Checkpoints:
    """The folders below ``root`` in which a job's checkpoints are: one for each log that the topic has had.

    It is named by Kafka's id of the topic, and by how many logs of the stream have ended: offsets of one mean nothing
    in another.
    """

    def __init__(self, spark: SparkSession, root: str, stream: Stream, topic_id: str, ended: int) -> None:
        self._spark = spark
        self._root = root
        self._stream = stream
        self._topic_id = topic_id
        self._ended = ended

    def folder(self) -> str:
        """That of the log there is.

        Raises:
            JobError: the topic was made anew, and nobody has said that this is as it should be.
        """
        mine = f"{self._ended}-{_in_a_path(self._topic_id)}"
        others = [name for name in self._names() if name != mine and name.startswith(f"{self._ended}-")]
        if mine not in self._names() and others:
            raise JobError(_made_anew(self._stream, others[-1].partition("-")[2], _in_a_path(self._topic_id)))
        return f"{self._root}/{mine}"

    def _names(self) -> list[str]:
        jvm: Any = self._spark._jvm
        path = jvm.org.apache.hadoop.fs.Path(self._root)
        files = path.getFileSystem(self._spark._jsc.hadoopConfiguration())
        return sorted(each.getPath().getName() for each in files.listStatus(path)) if files.exists(path) else []


def _in_a_path(topic_id: str) -> str:
    """Kafka's client writes it in the base64 that has slashes, Kafka itself without."""
    return topic_id.replace("/", "_").replace("+", "-")


def _made_anew(stream: Stream, known: str, found: str) -> str:
    return (
        f"the topic {stream.topic} is {found}, and what this job has read was of {known}: it was made anew. "
        f"`etar topic begin-anew --stream {stream.name}` goes on with it; the job then begins with its oldest record"
    )


def _log_of(stream: Stream) -> tuple[str, int]:
    """Kafka's id of the topic, and how many logs of the stream have ended.

    Raises:
        KafkaUnavailableError, UnknownTopicError, psycopg.Error: Kafka or PostgreSQL is away.
    """
    with TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as topic:
        topic_id = topic.topic_id()
    with report_store_connection(get_settings(ReportStoreSettings)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM former_logs WHERE stream = %s AND finished_at IS NOT NULL", (stream.name,)
        ).fetchone()
    return topic_id, row[0] if row else 0


def main(job: Job, argv: Sequence[str], description: str | None) -> int:
    """Run the job until it is told to end (exit code 0) or cannot go on (1, after saying why).

    Raises:
        SystemExit: with 2, for other arguments than these.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--stream", required=True, help="name of the stream")
    parser.add_argument("--job", required=True, help="name of the job in the stream's definition")
    parser.add_argument("--checkpoints", required=True, metavar="URI", help="folder of the job's checkpoints")
    parser.add_argument(
        "--beat", type=Path, metavar="FILE", help="file to write at each progress: what Spark says of it"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        stream = stream_named(arguments.stream)
        _run(job, stream, arguments, stopping)
    except (JobError, WarehouseUnavailableError, KafkaUnavailableError, LookupError, psycopg.Error) as error:
        _log.error("%s: %s", arguments.job, " ".join(str(error).split()))
        return 1
    except PySparkException as error:
        _log.error("%s: %s", arguments.job, _reason(error, arguments))
        return 1
    return 0


def _run(job: Job, stream: Stream, arguments: argparse.Namespace, stopping: Event) -> None:
    from pyspark.sql import SparkSession

    settings = get_settings(StreamJobSettings)
    name = job_progress.job_name(stream.name, arguments.job)
    topic_id, ended = _log_of(stream)
    spark = SparkSession.builder.appName(name).config(map=_configuration(settings)).getOrCreate()
    batches = StoredBatches(name, job, get_settings(ReportStoreSettings), stopping)
    tell = ToldProgress(name, get_settings(ReportStoreSettings), arguments.beat)
    try:
        checkpoint = Checkpoints(spark, arguments.checkpoints, stream, topic_id, ended).folder()

        def store(changed: DataFrame, batch_id: int) -> None:
            # Always read, also where the batch was stored before: it is how Spark's state goes on.
            rows = changed.collect()
            if settings.console:
                changed.sparkSession.createDataFrame(rows, changed.schema).show(truncate=False) if rows else None
            if rows:
                batches.store(_run_of(spark), batch_id, rows)

        counted = job.transform(rows_of(spark, stream, job.columns, settings), stream)

        def start() -> StreamingQuery:
            return (
                counted.writeStream.outputMode("update")
                .queryName(name)
                .option("checkpointLocation", checkpoint)
                .trigger(processingTime=f"{settings.trigger_seconds} seconds")
                .foreachBatch(store)
                .start()
            )

        _log.info("%s: topic %s (%s), checkpoint %s", name, stream.topic, topic_id, checkpoint)
        try:
            _watch(start(), stopping, tell, lambda: _require_topic(stream, topic_id))
        except StreamingQueryException as error:
            if _REPEATED_BATCH not in str(error):
                raise
            _log.info("%s: a batch was repeated; Spark is started once more behind it", name)
            _watch(start(), stopping, tell, lambda: _require_topic(stream, topic_id))
    finally:
        stopping.set()
        batches.close()
        tell.close()
        spark.stop()


def _run_of(spark: SparkSession) -> str:
    """The id that the checkpoint gives its batches, known from the first one on."""
    return str(spark.sparkContext.getLocalProperty("sql.streaming.queryId"))


def _configuration(settings: StreamJobSettings) -> dict[str, str]:
    return {
        "spark.sql.session.timeZone": "UTC",
        # Kept by the checkpoint from its first batch on: another number is for the next checkpoint.
        "spark.sql.shuffle.partitions": str(settings.partitions),
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileContextBasedCheckpointFileManager"
        ),
        "spark.sql.streaming.minBatchesToRetain": str(_KEPT_BATCHES),
        # What they would do is done by the next batch with records.
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.sql.streaming.numRecentProgressUpdates": "2",
        # What Spark's own pages, which are not served, would tell of past batches.
        "spark.sql.ui.retainedExecutions": "2",
        "spark.ui.retainedJobs": "5",
        "spark.ui.retainedStages": "5",
        "spark.ui.retainedTasks": "20",
        "spark.sql.streaming.noDataProgressEventInterval": f"{int(_TOPIC_LOOK_SECONDS)}s",
    }


class ToldProgress:
    """Tells what Spark says of the job: at each look into a file, and every few seconds to the report store, whose
    outage is nothing to a job that waits for it anyway."""

    def __init__(self, name: str, settings: ReportStoreSettings, beat: Path | None) -> None:
        self._name = name
        self._settings = settings
        self._beat = beat
        self._connection: psycopg.Connection[Any] | None = None
        self._next = 0.0

    def __call__(self, told: Mapping[str, Any]) -> None:
        if self._beat is not None:
            _write_whole(self._beat, json.dumps(told))
        if monotonic() < self._next:
            return
        self._next = monotonic() + _TELL_SECONDS
        try:
            if self._connection is None or self._connection.closed:
                self._connection = report_store_connection(self._settings)
            job_progress.keep(self._connection, self._name, told)
        except psycopg.Error as error:
            _log.warning("progress is not told: %s", " ".join(str(error).split()))
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _watch(
    query: StreamingQuery, stopping: Event, tell: Callable[[Mapping[str, Any]], None], require_topic: Callable[[], None]
) -> None:
    """Return when told to end.

    Raises:
        StreamingQueryException: the query has ended.
        JobError: the topic was made anew.
    """
    seen = None
    next_look = monotonic()
    while not stopping.is_set():
        if query.awaitTermination(_LOOK_SECONDS):
            return
        if (progress := query.lastProgress) is not None and progress["timestamp"] != seen:
            seen = progress["timestamp"]
            tell(_told(progress))
        if monotonic() >= next_look:
            require_topic()
            next_look = monotonic() + _TOPIC_LOOK_SECONDS
    query.stop()


def _require_topic(stream: Stream, known: str) -> None:
    """Spark itself sees a topic that was made anew only while that has fewer records than it has read."""
    try:
        with TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as topic:
            found = topic.topic_id()
    except (KafkaUnavailableError, LookupError):
        return  # Spark waits for it, too
    if found != known:
        raise JobError(_made_anew(stream, _in_a_path(known), _in_a_path(found)))


def _told(progress: Any) -> dict[str, Any]:
    """What of Spark's progress is of use outside."""
    whole = json.loads(progress.json)
    (source,) = whole["sources"]
    return {
        "at": whole["timestamp"],
        "batch": whole["batchId"],
        "input_rows": whole["numInputRows"],
        "input_rows_per_second": whole.get("inputRowsPerSecond", 0.0),
        "processed_rows_per_second": whole.get("processedRowsPerSecond", 0.0),
        "duration_ms": whole["durationMs"],
        "watermark": whole.get("eventTime", {}).get("watermark"),
        "state_rows": sum(each["numRowsTotal"] for each in whole["stateOperators"]),
        "state_bytes": sum(each["memoryUsedBytes"] for each in whole["stateOperators"]),
        "behind": _behind(source),
    }


def _behind(source: Mapping[str, Any]) -> int:
    """Records that Kafka held when the batch was planned and that it left, over all partitions."""
    taken, latest = source.get("endOffset") or {}, source.get("latestOffset") or {}
    return sum(
        max(end - (taken.get(topic) or {}).get(partition, end), 0)
        for topic, partitions in latest.items()
        for partition, end in partitions.items()
    )


def _write_whole(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(file)


def _reason(error: Exception, arguments: argparse.Namespace) -> str:
    text = " ".join(str(error).split())
    if _DATA_LOST in text:
        return (
            "Kafka no longer has records that this job has not read, or its log was cut: the windows that they are of "
            "are corrected by their minutes' reports. If the topic was made anew or restored: `etar topic begin-anew "
            f"--stream {arguments.stream}`; else `etar stream forget-checkpoint {arguments.stream} {arguments.job}`, "
            f"and the job begins with the oldest record that there is. Spark says: {text[:1500]}"
        )
    return text[:3000]


if __name__ == "__main__":
    sys.exit("a part of jobs, and none itself")

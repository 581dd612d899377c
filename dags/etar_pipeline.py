"""
### One report for each minute of `{stream}`

{about}

Its one task *settles* the minute (waits until the sink has stored all that Kafka held when the minute had passed),
*extracts* it (copies its rows to S3 as Parquet), *analyses* it (makes the report of them with Spark; an empty minute
goes without) and *reports* it (posts the report to the report API). A run is named after its minute, and the button on
its task leads to the minute's page of the dashboard.

**A red square:** this run gave its minute up, after seven tries or at once where trying again cannot help. No event is
lost. **Press nothing:** `etar_reconcile` reports the minute once the cause is gone; the square stays red.
- *Why?* The task's log ends with what was wrong and what to do. Was it Spark, the end of Spark's log stands above it.
- *Several in a row?* A part is away: `etar status` names it.
- *Is the minute reported now?* Its page in the dashboard says so, and `etar minutes`.
- *Run it again all the same:* *Clear task*. The same rows make the same report; others make its next revision.

*Up for retry* is a try that failed and is followed by another, in seconds: its log says why. To run one minute, name
its *end*: `airflow dags test {dag_id} 2026-11-21T10:32:00` is [10:31, 10:32). Many: `etar backfill`.

The file is wiring only, a DAG for each stream: what the tasks do is in `etar.pipeline` and `spark_apps`.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from etar.backfills import SLOTS
from etar.pipeline.tasks.minute import LeftOut
from etar.pipeline.tasks.pipeline import MinuteOperator
from etar.pipeline.tasks.retries import POLICY
from etar.pipeline.timetable import MinuteTimetable
from etar.settings import PipelineSettings, get_settings
from etar.streams import catalogue

REPORT_APP = Path(__file__).resolve().parents[1] / "spark_apps" / "minute_report.py"
STREAMS, SETTINGS = catalogue(), get_settings(PipelineSettings)
AT_ONCE = SETTINGS.runs_of_each(len(STREAMS.on))

for stream in STREAMS.on:
    with DAG(
        stream.dag_id,
        schedule=MinuteTimetable(),
        start_date=SETTINGS.start_date,
        # What an outage left out is etar_reconcile's, oldest first: here the newest minute would wait behind it.
        catchup=False,
        max_active_runs=AT_ONCE,
        doc_md=(__doc__ or "").format(stream=stream.name, about=stream.about, dag_id=stream.dag_id),
        tags=["etar", stream.name],
    ):
        MinuteOperator(
            task_id="minute",
            owner="etar",
            task_display_name="settle, extract, analyse, report",
            doc_md="From the minute's end to its report, in one process: the log says when each step was done.",
            stream=stream,
            conn_id="etar_spark",
            properties_file="{{ conn.etar_spark.extra_dejson.get('properties-file', '') }}",
            application=str(REPORT_APP),
            # A backfill's runs, ten at a time, are not among the active ones: what their pool gives is beside these.
            max_active_tis_per_dag=AT_ONCE + SLOTS,
            weight_rule="etar.pipeline.priority.NewestMinuteFirst",
            # 5, then 10 s apart: what fails at once is given up after a minute, a wait for a sink that is behind after
            # seven. Then the minute is etar_reconcile's, and makes room for the newest.
            retries=6,
            retry_delay=timedelta(seconds=5),
            retry_exponential_backoff=2.0,
            max_retry_delay=timedelta(seconds=10),
            retry_policy=POLICY,
            # A cluster that lost master and executor leaves a driver waiting for ever: that would take a run's place.
            execution_timeout=SETTINGS.settle_timeout + timedelta(minutes=10),
        )

for name, why in STREAMS.left_out.items():
    left_out = LeftOut(name, why)
    with DAG(
        left_out.dag_id,
        schedule=None,
        default_args={"owner": "etar"},
        doc_md=left_out.doc,
        tags=["etar", left_out.tag, "fault"],
    ):
        task(left_out.fault)()

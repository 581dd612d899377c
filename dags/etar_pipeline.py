"""
### One report for each minute of `{stream}`

{about}

**settle** waits until the sink has stored all that Kafka held when the minute had passed. **extract** copies the
minute's rows to S3 as Parquet. **analyse** makes the report of them with Spark; an empty minute skips it. **report**
posts the result to the report API. Any task may be cleared and run again: the same rows make the same report. Each
writes to the ledger how far the minute is. A minute that got no run, or whose run failed, is `etar_reconcile`'s.

To run one minute, name its *end*: `airflow dags test {dag_id} 2026-11-21T10:32:00` is [10:31, 10:32).

The file is wiring only, a DAG for each stream: what the tasks do is in `etar.pipeline` and `spark_apps`.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, TriggerRule, task

from etar.pipeline.tasks.analysis import AnalysisOperator
from etar.pipeline.tasks.minute import LeftOut, MinuteSteps
from etar.settings import PipelineSettings, get_settings
from etar.streams import catalogue

REPORT_APP = Path(__file__).resolve().parents[1] / "spark_apps" / "minute_report.py"
HOPELESS = RetryRule(["etar.minute.NotOneMinuteError", "etar.errors.PermanentError"], RetryAction.FAIL)
STREAMS, SETTINGS = catalogue(), get_settings(PipelineSettings)
AT_ONCE = SETTINGS.runs_of_each(len(STREAMS.on))

for stream in STREAMS.on:
    steps = MinuteSteps(stream)
    with DAG(
        stream.dag_id,
        schedule=CronDataIntervalTimetable("* * * * *", timezone="UTC"),
        start_date=SETTINGS.start_date,
        # What an outage left out is etar_reconcile's, oldest first: here the newest minute would wait behind it.
        catchup=False,
        max_active_runs=AT_ONCE,
        default_args={
            # A backfill's runs, ten at a time, are not among the active ones: no step is done for more minutes.
            "max_active_tis_per_dag": AT_ONCE,
            "weight_rule": "etar.pipeline.priority.NewestMinuteFirst",
            # 5, then 10 s apart: a task that fails at once is given up after a minute, `settle` after seven waits
            # for a sink that is behind. Then the minute is etar_reconcile's, and makes room for the newest.
            "retries": 6,
            "retry_delay": timedelta(seconds=5),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(seconds=10),
            "retry_policy": ExceptionRetryPolicy([HOPELESS]),
            "on_failure_callback": steps.note_failure,
        },
        doc_md=(__doc__ or "").format(stream=stream.name, about=stream.about, dag_id=stream.dag_id),
        tags=["etar", stream.name],
    ):
        settled = task(multiple_outputs=False)(steps.settle)()
        extracted = task(multiple_outputs=False)(steps.extract)()
        analysed = AnalysisOperator(
            task_id="analyse",
            doc_md="Make the stream's report of the extract with Spark, and leave it as one JSON object.",
            conn_id="etar_spark",
            properties_file="{{ conn.etar_spark.extra_dejson.get('properties-file', '') }}",
            application=str(REPORT_APP),
            name="etar {{ ti.xcom_pull('extract')['minute'] }}",
            # A cluster that lost master and executor leaves a driver waiting for ever: that would take a run's place.
            execution_timeout=timedelta(minutes=10),
            application_args=[
                *("--stream", stream.name, "--minute", "{{ ti.xcom_pull('extract')['minute'] }}"),
                *("--source", "{{ ti.xcom_pull('extract')['source'] }}"),
                *("--result", "{{ ti.xcom_pull('extract')['result'] }}"),
            ],
            pre_execute=steps.before_analysis,
            post_execute=steps.after_analysis,
        )
        # Runs after a skipped analysis too, but not after anything failed.
        reported = task(multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED)(steps.report)(extracted)
        settled >> extracted >> analysed >> reported

for name, why in STREAMS.left_out.items():
    left_out = LeftOut(name, why)
    with DAG(left_out.dag_id, schedule=None, doc_md=left_out.doc, tags=["etar", left_out.tag, "fault"]):
        task(left_out.fault)()

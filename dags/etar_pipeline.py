"""
### One report for each minute of `user_interactions`

**settle** waits until the sink has stored all that Kafka held when the minute had passed. **extract** copies the
minute's rows to S3 as Parquet. **analyse** counts them with Spark; an empty minute skips it. **report** posts the
result to the report API. Any task may be cleared and run again: the same rows make the same report. Each writes to the
ledger how far the minute is. A minute that got no run, or whose run failed, is `etar_reconcile`'s.

To run one minute, name its *end*: `airflow dags test etar_pipeline 2026-11-21T10:32:00` is [10:31, 10:32).

This file is wiring only: what the tasks do is in `etar.pipeline` and `spark_apps`.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import CronDataIntervalTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, TriggerRule, dag, task

from etar.pipeline.tasks import minute
from etar.pipeline.tasks.analysis import AnalysisOperator
from etar.settings import PipelineSettings, get_settings
from etar.streams import USER_INTERACTIONS

REPORT_APP = Path(__file__).resolve().parents[1] / "spark_apps" / "minute_report.py"
HOPELESS = RetryRule(["etar.minute.NotOneMinuteError", "etar.errors.PermanentError"], RetryAction.FAIL)


@dag(  # type: ignore[untyped-decorator]
    schedule=CronDataIntervalTimetable("* * * * *", timezone="UTC"),
    start_date=get_settings(PipelineSettings).start_date,
    # What an outage left out is etar_reconcile's, oldest first: here the newest minute would have to wait behind it.
    catchup=False,
    max_active_runs=get_settings(PipelineSettings).max_active_runs,
    default_args={
        # A backfill's runs, ten at a time, are not among the active ones: no step is done for more minutes than these.
        "max_active_tis_per_dag": get_settings(PipelineSettings).max_active_runs,
        "weight_rule": "etar.pipeline.priority.NewestMinuteFirst",
        # 5, then 10 s apart: a task that fails at once is given up after a minute, `settle` after seven waits for a
        # sink that is behind. Then the minute is etar_reconcile's, and makes room for the newest.
        "retries": 6,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(seconds=10),
        "retry_policy": ExceptionRetryPolicy([HOPELESS]),
        "on_failure_callback": minute.note_failure,
    },
    doc_md=__doc__,
    tags=["etar"],
)
def etar_pipeline() -> None:
    settled = task(multiple_outputs=False)(minute.settle)()
    extracted = task(multiple_outputs=False)(minute.extract)()
    analysed = AnalysisOperator(
        task_id="analyse",
        doc_md="Make the stream's report of the extract with Spark, and leave it as one JSON object.",
        conn_id="etar_spark",
        properties_file="{{ conn.etar_spark.extra_dejson.get('properties-file', '') }}",
        application=str(REPORT_APP),
        name="etar {{ ti.xcom_pull('extract')['minute'] }}",
        # A cluster that lost master and executor leaves a driver waiting for ever, and that would take a run's place.
        execution_timeout=timedelta(minutes=10),
        application_args=[
            *("--stream", USER_INTERACTIONS.name),
            *("--minute", "{{ ti.xcom_pull('extract')['minute'] }}"),
            *("--source", "{{ ti.xcom_pull('extract')['source'] }}"),
            *("--result", "{{ ti.xcom_pull('extract')['result'] }}"),
        ],
        pre_execute=minute.before_analysis,
        post_execute=minute.after_analysis,
    )
    # Runs after a skipped analysis too, but not after anything failed.
    reported = task(multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED)(minute.report)(extracted)

    settled >> extracted >> analysed >> reported


etar_pipeline()

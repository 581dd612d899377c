"""
### Minutes whose report is missing or out of date, reported again

Every minute, for every stream. **find** compares ledger, reports and table: a minute that no run has taken, that
failed, whose run died, whose rows have become more since (late events), or where the three disagree. It takes a bounded
batch, which the streams share, oldest first, with some room kept for the newest; its log says each minute's cause, and
without any the rest is skipped. A minute that the table has lost rows of is left as it is until the auditor has put
them back.
**extract**, **analyse** and **report** do what they do in `etar_pipeline`, with one Spark for the whole batch. The same
rows make the same report; other rows make the minute's next revision. What fails of one stream stops no other:
**conclude** fails with it at the end, and is skipped where all is well.

**A red square:** a minute of the batch, or a whole stream, could not be reported; the others were. **Press nothing:**
the next run takes it again, a minute later.
- *Which, and why?* The log of the red task ends with each minute and its cause.
- *Red for long?* The minute waits for a part (`etar status`) or for a person: its log says which.

**Report minutes again by hand:** *Trigger*, with no more than a batch: `{"minutes": ["2026-11-21T10:31Z"]}`, and the
stream if it is not the default one: `{"stream": "payments", "minutes": ["2026-11-21T10:31Z"]}`. More: `etar backfill`.

This file is wiring only: what the tasks do is in `etar.pipeline` and `spark_apps`.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import CronTriggerTimetable, Param, TriggerRule, dag, task

from etar.pipeline.tasks import again
from etar.pipeline.tasks.analysis import AnalysisOperator
from etar.pipeline.tasks.announce import REPORTS
from etar.pipeline.tasks.retries import POLICY
from etar.settings import PipelineSettings, ReconcileSettings, get_settings
from etar.streams import DEFAULT_STREAM, catalogue

REPORT_APP = Path(__file__).resolve().parents[1] / "spark_apps" / "minute_report.py"
MOST = get_settings(ReconcileSettings).batch_minutes
STREAMS = sorted({DEFAULT_STREAM, *(stream.name for stream in catalogue().on)})
NAMED = f"At most {MOST} minutes to report again, like 2026-11-21T10:31Z; none: those found to need it"


@dag(  # type: ignore[untyped-decorator]
    # Half a minute after the minute's own run has begun: the two share the machine's cores.
    schedule=CronTriggerTimetable("* * * * * 35", timezone="UTC"),
    start_date=get_settings(PipelineSettings).start_date,
    catchup=False,  # each run looks at every minute there is
    max_active_runs=1,
    params={
        "minutes": Param([], type="array", items={"type": "string"}, maxItems=MOST, description=NAMED),
        "stream": Param(DEFAULT_STREAM, type="string", enum=STREAMS, description="Whose minutes they are"),
    },
    default_args={
        "owner": "etar",
        # Few: what fails here is found again a minute later, and a run that hangs would keep all others waiting.
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        # Before a backfill, after the newest minute.
        "priority_weight": 100,
        "weight_rule": "absolute",
        "execution_timeout": timedelta(minutes=10),
        "retry_policy": POLICY,
    },
    doc_md=__doc__,
    tags=["etar"],
)
def etar_reconcile() -> None:
    found = task.short_circuit(multiple_outputs=False)(again.find)()
    extracted = task(multiple_outputs=True)(again.extract)(found)
    analysed = AnalysisOperator(
        task_id="analyse",
        doc_md="Make the reports of the batch's extracts with one Spark, each minute by itself.",
        conn_id="etar_spark",
        properties_file="{{ conn.etar_spark.extra_dejson.get('properties-file', '') }}",
        application=str(REPORT_APP),
        name="etar {{ ti.xcom_pull('find')['minutes'] | length }} minutes again",
        application_args=extracted["arguments"],
        pre_execute=again.before_analysis,
    )
    # Also after a failed analysis: the minutes that it did analyse are reported.
    failed = task.short_circuit(multiple_outputs=False, trigger_rule=TriggerRule.ALL_DONE, outlets=[REPORTS])(
        again.report
    )(extracted, analysed=analysed.output)
    # Apart, as Airflow drops the events of a task that fails: what was reported is told in any case.
    concluded = task(multiple_outputs=False)(again.conclude)(failed)

    found >> extracted >> analysed >> failed >> concluded


etar_reconcile()

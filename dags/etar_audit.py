"""
### Every record of every stream is in one place

Trusts no sink. Each minute it compares the offsets that Kafka gave out, up to those that a stream's sink has committed,
with the table and the dead letters. A record that is in neither is read from Kafka and put where it belongs; a dead
letter whose record is a good one after all becomes a row; a record in both places stays in the right one. What is exact
is closed with its counts in `audited_offsets`, by partition and minute of arrival. What was repaired is in
`audit_repairs`. Each stream that is switched on has a task of its own, and the failure of one stops no other.

A run fails when records are lost for good. Trigger it with `accept_lost`, for one `stream` or for all, when you have
seen that: the loss stays written down, and the next runs are green again.

This file is wiring only: what the task does is in `etar.audit`.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task

from etar.pipeline.tasks import audit
from etar.settings import PipelineSettings, get_settings
from etar.streams import catalogue

HOPELESS = RetryRule("etar.errors.PermanentError", RetryAction.FAIL)
STREAMS = [stream.name for stream in catalogue().on]


@dag(  # type: ignore[untyped-decorator]
    # At second 20: the minute before is over, and the sink's last batch of it committed.
    schedule=CronTriggerTimetable("* * * * * 20", timezone="UTC"),
    start_date=get_settings(PipelineSettings).start_date,
    catchup=False,  # a run takes whatever is open, not a minute of its own
    max_active_runs=1,
    params={
        "accept_lost": Param(
            False, type="boolean", description="Records that are lost for good have been seen by a person."
        ),
        "stream": Param(
            audit.ALL, type="string", enum=[audit.ALL, *STREAMS], description="The only stream to audit in this run."
        ),
    },
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "retry_policy": ExceptionRetryPolicy([HOPELESS]),
        # Before a backfill, after the newest minute.
        "priority_weight": 100,
        "weight_rule": "absolute",
        "execution_timeout": timedelta(minutes=15),
        # So many streams at once: each takes a slot and most of a core, which the minutes' own runs need, too.
        "max_active_tis_per_dag": 2,
    },
    doc_md=__doc__,
    tags=["etar"],
)
def etar_audit() -> None:
    of_each = task(
        multiple_outputs=False, map_index_template="{{ task.op_kwargs['stream'] }}", doc_md=audit.audit.__doc__
    )
    of_each(audit.audit).expand(stream=STREAMS)


etar_audit()

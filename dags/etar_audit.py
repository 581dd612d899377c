"""
### Every record of every stream is in one place

Trusts no sink. Each minute it compares the offsets that Kafka gave out, up to those that a stream's sink has committed,
with the table and the dead letters. A record that is in neither is read from Kafka and put where it belongs; a dead
letter whose record is a good one after all becomes a row; a record in both places stays in the right one. What is exact
is closed with its counts in `audited_offsets`, by partition and minute of arrival. What was repaired is in
`audit_repairs`. The streams that are switched on are audited one after the other, eight to a task, and the failure of
one stops no other: it fails its task at the end.

**A red square:** records are lost for good, or a stream could not be audited. What can be repaired has been.
- *Which?* The log of the red task ends with the stream, its records and the cause.
- *Lost for good* stays red until a person has taken note: press *Trigger* with `accept_lost`, for one `stream` or for
  all. The loss stays written down (`etar verify`), and the next runs are green.
- *Anything else:* **press nothing.** The next run goes on where this one stopped, a minute later; `etar status` names a
  part that is away.

This file is wiring only: what the task does is in `etar.audit`.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, task

from etar.pipeline.tasks import audit
from etar.pipeline.tasks.retries import POLICY
from etar.settings import PipelineSettings, get_settings
from etar.streams import catalogue

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
        "owner": "etar",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "retry_policy": POLICY,
        # Before a backfill, after the newest minute.
        "priority_weight": 100,
        "weight_rule": "absolute",
        "execution_timeout": timedelta(minutes=15),
        # So many at once: each takes a slot and most of a core, which the minutes' own runs need, too.
        "max_active_tis_per_dag": 2,
    },
    doc_md=__doc__,
    tags=["etar"],
)
def etar_audit() -> None:
    of_each = task(
        multiple_outputs=False,
        map_index_template="{{ task.op_kwargs['streams'] | join(' ') }}",
        doc_md=audit.audit.__doc__,
    )
    of_each(audit.audit).expand(streams=audit.groups(STREAMS))


etar_audit()

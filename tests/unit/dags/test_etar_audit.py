"""Policy: what the auditing DAG promises (one run at a time, each minute, loud about losses, in few lines)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etar.audit.auditor import LostRecordsError, NotRepairedError, RewoundTopicError
from etar.audit.marks import AuditBusyError
from etar.pipeline.tasks import audit
from tests.unit.dags.conftest import Parsed


def test_it_runs_at_second_20_of_each_minute_and_never_beside_itself(dag: Any) -> None:
    from airflow.sdk import timezone
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DataInterval, TimeRestriction

    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    last = timezone.parse("2026-11-21T10:31:20Z")
    info = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=DataInterval(last, last), restriction=TimeRestriction(last, None, catchup=True)
    )
    assert info.logical_date == datetime(2026, 11, 21, 10, 32, 20, tzinfo=UTC)


def test_it_is_one_task_that_ends_soon_whatever_happens(dag: Any) -> None:
    (task,) = dag.tasks
    assert task.task_id == "audit"
    assert task.retries == 2
    assert task.retry_delay <= timedelta(seconds=10)
    assert task.execution_timeout == timedelta(minutes=15)


def test_a_loss_is_accepted_only_when_a_person_says_so(dag: Any) -> None:
    assert dag.params["accept_lost"] is False


def indices(dag: Any) -> dict[str, Any]:
    """The streams that the task is mapped over."""
    (task,) = dag.tasks
    return dict(task.op_kwargs_expand_input.value)


def test_each_stream_that_is_switched_on_has_a_task_named_after_it(parse: Callable[..., Parsed], folders: str) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    assert indices(parse("etar_audit").dag) == {"stream": ["user_interactions"]}
    dag = parse("etar_audit", streams="payments user_interactions", folders=folders).dag
    assert indices(dag) == {"stream": ["payments", "user_interactions"]}
    (task,) = DagSerialization.from_dict(DagSerialization.to_dict(dag)).tasks
    assert task.get_parse_time_mapped_ti_count() == 2
    assert dag.tasks[0].map_index_template == "{{ task.op_kwargs['stream'] }}"
    assert dag.tasks[0].max_active_tis_per_dag == 2


def test_without_a_stream_it_still_parses(parse: Callable[..., Parsed], tmp_path: Path) -> None:
    parsed = parse("etar_audit", folders=str(tmp_path))
    assert parsed.import_errors == {}
    assert indices(parsed.dag) == {"stream": []}


def test_a_run_may_be_asked_for_one_stream(parse: Callable[..., Parsed], folders: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException, ParamValidationError

    param = parse("etar_audit", streams="payments trips", folders=folders).dag.params.get_param("stream")
    assert [param.resolve(), param.resolve(value="trips")] == ["all", "trips"]
    with pytest.raises(ParamValidationError, match="'broken' is not one of"):
        param.resolve(value="broken")
    with pytest.raises(AirflowSkipException, match="this run audits trips, not payments"):
        audit.audit("payments", {"stream": "trips", "accept_lost": True})


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (LostRecordsError("gone"), "fail"),
        (RewoundTopicError("made anew"), "fail"),
        (NotRepairedError("not yet"), "default"),
        (AuditBusyError("another"), "default"),
        (ConnectionError("away"), "default"),
    ],
)
def test_what_cannot_help_is_not_retried(dag: Any, error: Exception, action: str) -> None:
    (task,) = dag.tasks
    assert task.retry_policy.evaluate(error, 1, 2).action.value == action


def test_it_is_documented_and_not_indented_into_a_code_block(dag: Any) -> None:
    for text in (dag.doc_md, dag.tasks[0].doc_md):
        assert text
        assert "\n\n    " not in text

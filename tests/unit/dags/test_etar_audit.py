"""Policy: what the auditing DAG promises (one run at a time, each minute, loud about losses, in few lines)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etar.audit.auditor import LostRecordsError, NotRepairedError, RewoundTopicError
from etar.audit.marks import AuditBusyError


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

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


def test_the_streams_that_are_switched_on_share_tasks_named_after_them(
    parse: Callable[..., Parsed], folders: str
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    assert indices(parse("etar_audit").dag) == {"streams": [["user_interactions"]]}
    dag = parse("etar_audit", streams="payments user_interactions", folders=folders).dag
    assert indices(dag) == {"streams": [["payments", "user_interactions"]]}
    (task,) = DagSerialization.from_dict(DagSerialization.to_dict(dag)).tasks
    assert task.get_parse_time_mapped_ti_count() == 1
    assert dag.tasks[0].map_index_template == "{{ task.op_kwargs['streams'] | join(' ') }}"
    assert dag.tasks[0].max_active_tis_per_dag == 2


@pytest.mark.parametrize(("streams", "sizes"), [(0, []), (1, [1]), (8, [8]), (9, [8, 1]), (17, [8, 8, 1])])
def test_eight_streams_share_a_task(streams: int, sizes: list[int]) -> None:
    names = [f"stream_{number}" for number in range(streams)]
    made = audit.groups(names)
    assert [len(group) for group in made] == sizes
    assert [name for group in made for name in group] == names


def test_without_a_stream_it_still_parses(parse: Callable[..., Parsed], tmp_path: Path) -> None:
    parsed = parse("etar_audit", folders=str(tmp_path))
    assert parsed.import_errors == {}
    assert indices(parsed.dag) == {"streams": []}


def test_a_run_may_be_asked_for_one_stream(parse: Callable[..., Parsed], folders: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException, ParamValidationError

    param = parse("etar_audit", streams="payments trips", folders=folders).dag.params.get_param("stream")
    assert [param.resolve(), param.resolve(value="trips")] == ["all", "trips"]
    with pytest.raises(ParamValidationError, match="'broken' is not one of"):
        param.resolve(value="broken")
    with pytest.raises(AirflowSkipException, match="this run audits trips, not payments, rides"):
        audit.audit(["payments", "rides"], {"stream": "trips", "accept_lost": True})


class Audits:
    """In place of the audits: those of some streams fail."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.audited: list[str] = []

    def __call__(self, name: str, *, accept_lost: bool) -> dict[str, Any]:
        self.audited.append(name)
        if error := self.errors.get(name):
            raise error
        return {"stream": name, "accepted": accept_lost}


@pytest.fixture
def of_three(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Audits, Any]]:
    """Audits the streams a, b and c, of which those that are named fail."""

    def of_three(params: dict[str, Any], **errors: Exception) -> tuple[Audits, Any]:
        audits = Audits(**errors)
        monkeypatch.setattr(audit, "_audit_of", audits)
        try:
            return audits, audit.audit(["a", "b", "c"], params)
        except Exception as error:
            return audits, error

    return of_three


def test_streams_are_audited_in_turn_and_all_are_told(of_three: Any) -> None:
    audits, counts = of_three({"accept_lost": True})
    assert sorted(audits.audited) == ["a", "b", "c"]
    assert counts == [{"stream": name, "accepted": True} for name in audits.audited]


@pytest.mark.parametrize(("minute", "order"), [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc")])
def test_another_stream_comes_first_in_each_minute(monkeypatch: pytest.MonkeyPatch, minute: int, order: str) -> None:
    class Clock:
        @staticmethod
        def now(_: Any) -> datetime:
            return datetime.fromtimestamp(minute * 60 + 21, UTC)

    monkeypatch.setattr(audit, "datetime", Clock)
    assert audit._in_turn(list("abc")) == list(order)


@pytest.mark.parametrize(
    ("errors", "kind", "action"),
    [
        ({"b": LostRecordsError("gone")}, LostRecordsError, "fail"),
        ({"b": ConnectionError("away")}, ConnectionError, "retry"),
        ({"b": LostRecordsError("gone"), "c": RewoundTopicError("anew")}, audit.AuditsFailedError, "fail"),
        ({"b": LostRecordsError("gone"), "c": ConnectionError("away")}, audit.AuditsUnfinishedError, "retry"),
    ],
)
def test_what_fails_of_some_streams_stops_no_other_and_fails_the_task(
    dag: Any, of_three: Any, errors: dict[str, Exception], kind: type[Exception], action: str
) -> None:
    audits, error = of_three({}, **errors)
    assert sorted(audits.audited) == ["a", "b", "c"]
    assert type(error) is kind
    assert all(str(each) in str(error) for each in errors.values())
    assert dag.tasks[0].retry_policy.evaluate(error, 1, 2).action.value == action


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (LostRecordsError("gone"), "fail"),
        (RewoundTopicError("made anew"), "fail"),
        (NotRepairedError("not yet"), "retry"),
        (AuditBusyError("another"), "retry"),
        (ConnectionError("away"), "retry"),
    ],
)
def test_what_cannot_help_is_not_retried(dag: Any, error: Exception, action: str) -> None:
    (task,) = dag.tasks
    assert task.retry_policy.evaluate(error, 1, 2).action.value == action


def test_it_is_documented_and_not_indented_into_a_code_block(dag: Any) -> None:
    for text in (dag.doc_md, dag.tasks[0].doc_md):
        assert text
        assert "\n\n    " not in text

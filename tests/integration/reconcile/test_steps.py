"""The tasks' own functions, through Airflow's connections, from what a person or nobody asked for to the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from etar.extracts import Extract
from etar.ledger import Stage, StageCost, State
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.tasks import again as steps
from etar.pipeline.tasks.again import BatchFailedError, BatchUnfinishedError
from etar.pipeline.tasks.announce import REPORTS
from tests.integration.reconcile.world import World, report_all
from tests.ports import free_ports


@dataclass(frozen=True)
class Run:
    dag_id: str = "etar_reconcile"
    run_id: str = "scheduled__2026-11-21"
    data_interval_start: None = None
    data_interval_end: None = None


RUN = Run()


def asked_for(world: World, *windows: MinuteWindow) -> dict[str, Any]:
    """The parameters with which a person names minutes."""
    return {"stream": world.stream.name, "minutes": [str(window) for window in windows]}


def item(world: World, window: MinuteWindow, **fields: object) -> dict[str, Any]:
    """What of a minute travels between the tasks."""
    return {"stream": world.stream.name, "minute": str(window), **fields}


def analyse(world: World, extracted: dict[str, Any]) -> None:
    world.analyse([Extract.model_validate(each) for each in extracted["extracts"]])


def test_from_finding_to_the_report(world: World, first: MinuteWindow) -> None:
    world.arrive([world.row(first), world.row(first)])
    found = steps.find(RUN, {"minutes": []})
    assert found["minutes"][0] == item(world, first, cause="missing", detail="no run has taken it")
    extracted = steps.extract(found, RUN)
    json.dumps(extracted)  # as XCom does
    key = world.stream.extract_key(first)
    result = f"s3a://{world.stores.bucket}/{world.stream.result_key(first)}"
    assert extracted["arguments"] == [
        *("--stream", world.stream.name, "--minute", str(first)),
        *("--source", f"s3a://{world.stores.bucket}/{key}", "--result", result),
    ], "minutes without rows have nothing to analyse"
    analyse(world, extracted)
    reported = report_all(extracted, RUN)
    assert reported == [
        {"stream": world.stream.name, "minute": each["minute"], "revision": 1} for each in found["minutes"]
    ]
    entry = world.entries(first)[first]
    assert (entry.state, entry.run_id) == (State.REPORTED, "etar_reconcile/scheduled__2026-11-21")
    assert world.served(first)["total_events"] == 2
    assert steps.find(RUN, {"minutes": []}) == {}


def test_what_a_batch_cost_is_divided_among_its_minutes_by_their_rows(world: World, first: MinuteWindow) -> None:
    world.arrive([world.row(first), world.row(first), world.row(first), world.row(first.next)])
    extracted = steps.extract(steps.find(RUN, asked_for(world, first, first.next, first.previous)), RUN)
    analyse(world, extracted)
    report_all(extracted, RUN, {"cpu_seconds": 4.0})
    costs = {
        window: {stage: times.cost for stage, times in entry.stages.items()}
        for window, entry in world.entries(first.previous).items()
    }
    assert Stage.ANALYSE not in costs[first.previous], "nothing was analysed of an empty minute"
    for window, rows in ((first, 3), (first.next, 1)):
        size = world.entries(window)[window].object_size
        assert costs[window][Stage.ANALYSE] == StageCost(rows=rows, bytes=size, cpu_seconds=rows)
        assert costs[window][Stage.EXTRACT] == StageCost(
            rows=rows, bytes=size, cpu_seconds=getattr(costs[window][Stage.EXTRACT], "cpu_seconds", None)
        )
    assert all(cost and cost.cpu_seconds and cost.cpu_seconds > 0 for each in costs.values() for cost in each.values())


def test_a_minute_that_left_the_table_unreported_is_written_down_as_failed(
    world: World, first: MinuteWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage longer than the table keeps a minute. What the auditor counted says in which one rows were."""
    day = 24 * 60
    lost, empty, reported, still_kept = (
        MinuteWindow(first.start - age * MINUTE) for age in (2 * day, 2 * day - 1, 2 * day - 2, day)
    )
    with world.connection.transaction():
        for window, rows in ((lost, 7), (empty, 0), (reported, 5), (still_kept, 3)):
            world.connection.execute(
                'INSERT INTO audited_offsets (stream, "partition", minute, first_offset, end_offset, "rows", '
                "dead_letters, no_record) VALUES (%s, 0, %s, 0, %s, %s, 1, 0)",
                [world.stream.name, window.start, rows + 1, rows],
            )
        world.connection.execute(
            "INSERT INTO minutes (stream, minute, state, run_id, received, duplicates, unique_events, revision, "
            "updated_at) VALUES (%s, %s, 'reported', 'run', 5, 0, 5, 1, now())",
            [world.stream.name, reported.start],
        )

    # Not caplog: Airflow, once it is imported, leads logs past it.
    said: list[str] = []
    monkeypatch.setattr(steps._LOG, "error", lambda message, *values: said.append(message % values))
    for _ in range(2):
        steps.find(RUN, {"minutes": []})
    entries = world.entries(lost)
    assert entries.keys() == {lost, reported}
    assert (entries[lost].state, entries[reported].state) == (State.FAILED, State.REPORTED)
    assert "7 rows arrived in this minute" in (entries[lost].error or "")
    assert [str(lost) in line for line in said] == [True], "it is said once"


def test_named_minutes_are_taken_though_nothing_is_wrong_with_them(world: World, first: MinuteWindow) -> None:
    for _ in range(3):
        found = steps.find(RUN, asked_for(world, first.previous))
        assert [each["cause"] for each in found["minutes"]] == ["named"]
        assert report_all(steps.extract(found, RUN), RUN) == [item(world, first.previous, revision=1)]


def test_a_minute_that_lost_rows_is_left_as_it_is_whoever_asks(world: World, first: MinuteWindow) -> None:
    world.arrive([world.row(first), world.row(first)])
    extracted = steps.extract(steps.find(RUN, {"minutes": []}), RUN)
    analyse(world, extracted)
    report_all(extracted, RUN)
    world.client.command(f"DELETE FROM {world.stream.table} WHERE _offset = 1")
    assert steps.find(RUN, {"minutes": []}) == {}
    assert steps.find(RUN, asked_for(world, first, first.next)) == {
        "minutes": [item(world, first.next, cause="named", detail="asked for")],
        "failures": {},
    }
    assert world.entries(first)[first].state is State.REPORTED


def test_the_ledger_says_when_the_analysis_began(world: World, first: MinuteWindow) -> None:
    @dataclass
    class Task:
        extracted: dict[str, Any]

        def xcom_pull(self, *, task_ids: str) -> dict[str, Any]:
            assert task_ids == "extract"
            return self.extracted

    world.arrive([world.row(first)])
    extracted = steps.extract(steps.find(RUN, asked_for(world, first, first.next)), RUN)
    before = datetime.now(UTC)
    steps.before_analysis({"ti": Task(extracted), "dag_run": RUN})
    entries = world.entries(first)
    assert before <= entries[first].stages["analyse"].started_at <= datetime.now(UTC)  # type: ignore[index]
    assert "analyse" not in entries[first.next].stages


def test_a_batch_with_a_failed_minute_fails_after_the_others_are_reported(world: World, first: MinuteWindow) -> None:
    world.arrive([world.row(first)])
    extracted = steps.extract(steps.find(RUN, asked_for(world, first)), RUN)
    analyse(world, extracted)
    extracted["failures"] = {str(first.next): "extract: RuntimeError: broken"}
    with pytest.raises(BatchFailedError, match=rf"{first.next}: extract: RuntimeError: broken"):
        report_all(extracted, RUN)
    assert world.served(first)["total_events"] == 1


def test_on_its_last_try_what_was_reported_is_told_though_another_minute_still_fails(
    world: World, first: MinuteWindow
) -> None:
    """A task that failed would tell nothing."""
    from airflow.sdk.execution_time.context import OutletEventAccessors

    world.arrive([world.row(first), world.row(first.next)])
    extracted = steps.extract(steps.find(RUN, asked_for(world, first, first.next)), RUN)
    world.analyse([Extract.model_validate(extracted["extracts"][0])])

    def one_try(number: int) -> Any:
        outlets = OutletEventAccessors()
        ti = SimpleNamespace(try_number=number, max_tries=2)
        return steps.report(extracted, RUN, outlets, None, ti), outlets[REPORTS].asset_alias_events

    with pytest.raises(BatchUnfinishedError, match=str(first.next)):
        one_try(2)
    failed, told = one_try(3)
    assert [event.extra for event in told] == [item(world, first, revision=1)]
    assert list(failed) == [f"{world.stream.name} {first.next}"]


def test_an_api_that_is_away_is_worth_another_try(
    world: World, first: MinuteWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted = steps.extract(steps.find(RUN, asked_for(world, first)), RUN)
    away = {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": free_ports(1)[0], "password": "x"}
    with monkeypatch.context() as gone:
        gone.setenv("AIRFLOW_CONN_ETAR_API", json.dumps(away))
        with pytest.raises(BatchUnfinishedError, match=f"{first}: report: ConnectionError"):
            report_all(extracted, RUN)
    assert world.entries(first)[first].state is State.FAILED
    assert report_all(extracted, RUN) == [item(world, first, revision=1)]
    assert world.entries(first)[first].state is State.REPORTED


def test_a_store_that_is_away_is_worth_another_try(
    world: World, first: MinuteWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.arrive([world.row(first)])
    found = steps.find(RUN, asked_for(world, first))
    nowhere = {
        "endpoint_url": f"http://127.0.0.1:{free_ports(1)[0]}",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    away = {"conn_type": "aws", "login": "x", "password": "x", "extra": nowhere}
    with monkeypatch.context() as gone:
        gone.setenv("AIRFLOW_CONN_ETAR_S3", json.dumps(away))
        with pytest.raises(
            BatchUnfinishedError, match=f"no minute of the batch could be extracted: {world.stream.name} {first}"
        ):
            steps.extract(found, RUN)
    assert world.entries(first)[first].state is State.FAILED

"""Tasks that are run, or cleared, when their minute has long been reported: its report and its row stay true."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etar.errors import PermanentError
from etar.ledger import LedgerEntry, State, SupersededError
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.affected import EXPIRY_MARGIN
from etar.pipeline.extract import ExpiredMinuteError
from etar.pipeline.lost_rows import LostRowsError
from etar.pipeline.settle import MinuteNotOverError
from etar.pipeline.tasks import minute as steps
from etar.settings import PipelineSettings
from tests.integration.pipeline.world import ROWS, STEPS, Minute, Record, Run

TICK = timedelta(microseconds=1)

pytestmark = pytest.mark.usefixtures("kafka", "warehouse_connection", "ledger_connection", "policy", "connected")


@pytest.fixture
def reported(minute: Minute) -> Minute:
    minute.run_from("settle")
    return minute


def gives_up(minute: Minute, task: str, error: type[Exception]) -> None:
    """The task fails for good, and Airflow says so."""
    with pytest.raises(error) as raised:
        getattr(minute, task)()
    assert isinstance(raised.value, PermanentError)
    STEPS.note_failure({"dag_run": minute.run, "exception": raised.value})


@pytest.mark.parametrize("by_another_run", [False, True])
@pytest.mark.parametrize("task", ["settle", "extract"])
def test_a_minute_that_has_left_the_table_keeps_its_row(
    reported: Minute, policy: PipelineSettings, monkeypatch: pytest.MonkeyPatch, task: str, by_another_run: bool
) -> None:
    before = reported.entry(), reported.stored(), reported.published()
    # Settling leaves time for what comes after it.
    expired = reported.window.start + policy.retention - (EXPIRY_MARGIN if task == "settle" else timedelta(0))
    if by_another_run:
        reported.run = Run(reported.window, run_id="manual__of-a-person")

    with monkeypatch.context() as aged:
        aged.setattr(steps, "_now", lambda: expired)
        gives_up(reported, task, ExpiredMinuteError)
    assert (reported.entry(), reported.stored(), reported.published()) == before

    with monkeypatch.context() as aged:
        aged.setattr(steps, "_now", lambda: expired - TICK)
        getattr(reported, task)()
    assert reported.entry() != before[0]


def test_a_minute_that_is_not_over_opens_no_row(minute: Minute, policy: PipelineSettings) -> None:
    ahead = replace(minute, window=MinuteWindow.containing(datetime.now(UTC) + policy.settle_timeout + 2 * MINUTE))
    with pytest.raises(MinuteNotOverError):
        ahead.settle()
    assert ahead.entry() is None


def without_times(entry: LedgerEntry | None) -> dict[str, object]:
    assert entry is not None
    return entry.model_dump(exclude={"updated_at", "stages"})


@pytest.mark.parametrize("task", ["analyse", "report"])
def test_a_cleared_task_leaves_a_minute_that_was_revised_since_to_the_revision(reported: Minute, task: str) -> None:
    extract_of_the_first = reported.extracted
    late = [Record(ROWS + n, event=ROWS + n, arrived=reported.window.end + timedelta(hours=1)) for n in (1, 2)]
    reported.arrive(late)
    own, reported.run = reported.run, Run(reported.window, run_id="later", dag_id="etar_reconcile")
    reported.run_from("settle")
    revised = reported.entry(), reported.published()
    assert revised[0] is not None
    assert revised[0].revision == 2

    reported.run, reported.extracted = own, extract_of_the_first
    gives_up(reported, task, SupersededError)
    assert (reported.entry(), reported.published()) == revised


@pytest.mark.parametrize("first", ["settle", "extract", "analyse", "report"])
def test_each_step_done_three_times_leaves_the_same(reported: Minute, first: str) -> None:
    before = without_times(reported.entry()), reported.stored(), reported.published()
    for _ in range(3):
        reported.run_from(first)
        assert (without_times(reported.entry()), reported.stored(), reported.published()) == before
    assert len(reported.ledger.history(reported.window)) == 1


def test_a_minute_that_lost_its_rows_is_not_reported_without_them(reported: Minute) -> None:
    before = reported.stored(), reported.published()
    reported.lose_all(known_reason=False)
    reported.settle()
    with pytest.raises(LostRowsError, match=f"{ROWS} rows that minute {reported.window} was reported from"):
        reported.extract()
    entry = reported.entry()
    assert entry is not None
    assert entry.state is State.SETTLED
    assert (reported.stored(), reported.published()) == before

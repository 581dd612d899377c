"""``etar backfill``: what it says of a range before it starts anything, and what it then starts.

What the places say of a minute: tests/integration/reconcile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import backfill, repair
from cli.main import app
from etar.ledger import State
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.affected import Cause, MinuteFacts, ReportCounts
from etar.settings import get_settings
from stack.configuration import prepare_settings
from stack.layout import Layout
from tests.unit.pipeline.test_affected import entry

NOW = datetime.now(UTC)
FIRST = MinuteWindow.containing(NOW - timedelta(hours=2))
RANGE = [MinuteWindow(FIRST.start + number * MINUTE) for number in range(5)]
END = RANGE[-1].next


def facts_of(window: MinuteWindow) -> MinuteFacts:
    """Of a minute that is well."""
    row = entry(minute=window.start)
    return MinuteFacts(window, row, ReportCounts(1, rows_read=10, total_events=9), rows=10, dead_letters=3)


def facts() -> list[MinuteFacts]:
    """A minute without a run, one that is well, one with late rows, one given up, one at work."""
    never, well, late, failed, at_work = map(facts_of, RANGE)
    return [
        replace(never, entry=None, report=None),
        well,
        replace(late, rows=12),
        replace(failed, entry=entry(State.FAILED, minute=failed.window.start), report=None),
        replace(
            at_work, entry=entry(State.SETTLED, minute=at_work.window.start, updated_at=datetime.now(UTC)), report=None
        ),
    ]


@dataclass
class Scheduler:
    """Airflow; ``seen`` is what had been printed when it was asked."""

    state: str = "success"
    asked: list[dict[str, Any]] = field(default_factory=list)

    def run(self, dag: str, configuration: dict[str, Any]) -> str:
        assert dag == "etar_reconcile"
        self.asked.append(configuration)
        return self.state


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    found = Scheduler()
    monkeypatch.setattr(repair, "Airflow", lambda _stack: nullcontext(found))
    monkeypatch.setattr(backfill, "_facts", lambda _windows, _stream: facts())
    return found


@pytest.fixture
def etar(tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """The command, beside a stack that was deployed long ago."""
    layout = Layout.at(tmp_path)
    layout.create()
    prepare_settings(layout.settings_file, {}, datetime(2026, 1, 1, tzinfo=UTC))
    before = dict(os.environ)
    yield lambda *arguments: CliRunner().invoke(app, ["backfill", *arguments, "--dir", str(tmp_path)])
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    get_settings.cache_clear()


def test_missing_minutes_are_told_with_what_they_need_and_why_and_a_dry_run_starts_nothing(
    etar: Callable[..., Result], scheduler: Scheduler
) -> None:
    result = etar("--missing", "--dry-run", str(FIRST), str(END))
    assert result.exit_code == 0, result.output
    assert scheduler.asked == []
    lines = [" ".join(line.split()) for line in result.stdout.splitlines() if line.startswith(" 20")]
    assert lines == [
        f"{RANGE[0]} - its report missing: no run has taken it",
        f"{RANGE[2]} reported a revision late: 2 rows more than the 10 reported",
        f"{RANGE[3]} failed another try failed: etar_pipeline/run: gone",
    ]
    assert "of 5 minutes 3 to report, 2 are well or at work, 0 cannot be reported" in result.stdout
    assert "nothing was started (--dry-run)" in result.stdout


def test_what_is_told_is_then_reported_and_nothing_else(etar: Callable[..., Result], scheduler: Scheduler) -> None:
    result = etar("--missing", str(FIRST), str(END))
    assert result.exit_code == 0, result.output
    assert scheduler.asked == [{"minutes": [str(RANGE[0]), str(RANGE[2]), str(RANGE[3])]}]
    said = result.output
    assert said.index("no run has taken it") < said.index("3 minutes reported again: success")


def test_without_missing_every_minute_is_reported(etar: Callable[..., Result], scheduler: Scheduler) -> None:
    assert etar(str(FIRST), str(END)).exit_code == 0
    assert scheduler.asked == [{"minutes": [str(window) for window in RANGE]}]


def test_programs_get_the_same_and_whether_it_was_done(etar: Callable[..., Result], scheduler: Scheduler) -> None:
    told = [
        json.loads(etar("--missing", *more, str(FIRST), str(END), "--json").stdout) for more in ((), ("--dry-run",))
    ]
    assert [each["done"] for each in told] == [True, None]
    assert len(scheduler.asked) == 1
    assert [(each["minute"], each["cause"]) for each in told[0]["minutes"]] == [
        (str(RANGE[0]), "missing"),
        (str(RANGE[2]), "late"),
        (str(RANGE[3]), "failed"),
    ]
    assert (told[0]["left"], told[0]["refused"]) == (2, [])


def test_a_run_that_fails_ends_with_1_and_says_where_to_look(etar: Callable[..., Result], scheduler: Scheduler) -> None:
    scheduler.state = "failed"
    result = etar("--missing", str(FIRST), str(END))
    assert result.exit_code == 1
    assert "the logs of etar_reconcile in the Airflow UI say why" in result.stderr


def test_where_all_is_well_airflow_is_not_asked(
    etar: Callable[..., Result], scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_facts", lambda _windows, _stream: [facts_of(window) for window in RANGE])
    result = etar("--missing", str(FIRST), str(END))
    assert (result.exit_code, scheduler.asked) == (0, [])
    assert "of 5 minutes 0 to report, 5 are well" in result.stdout


def test_minutes_that_nobody_can_report_are_named_and_not_asked_for(
    etar: Callable[..., Result], scheduler: Scheduler
) -> None:
    newest = MinuteWindow.containing(datetime.now(UTC))
    result = etar(str(newest), str(newest.next.next))
    assert (result.exit_code, scheduler.asked) == (0, [])
    assert "2 minutes: it is not over yet" in result.stdout
    old = MinuteWindow(FIRST.start - timedelta(days=2))
    assert "are leaving the table" in etar(str(old), str(old.next)).stdout
    assert scheduler.asked == []


def test_a_plan_holds_every_minute_of_its_range_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", "2026-01-01T00:00:00Z")
    get_settings.cache_clear()
    for only_missing in (True, False):
        made = backfill.plan(RANGE, facts(), now=NOW, only_missing=only_missing)
        assert len(made.needs) + len(made.refused) + made.left == made.minutes == 5
    assert {need.cause for need in made.needs} == {Cause.MISSING, Cause.LATE, Cause.FAILED, Cause.NAMED}
    get_settings.cache_clear()


@pytest.mark.parametrize(("first", "end"), [("10:00Z", str(END)), (str(END), str(FIRST))])
def test_what_is_no_range_is_refused(etar: Callable[..., Result], scheduler: Scheduler, first: str, end: str) -> None:
    result = etar("--missing", first, end)
    assert (result.exit_code, scheduler.asked) == (1, [])
    assert "minute" in result.stderr

"""``etar report --range`` on a real API: what it asks of Airflow, and what it prints when that is done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import repair
from cli.main import app
from etar.minute import MINUTE, MinuteWindow
from etar.settings import get_settings
from stack.configuration import prepare_settings
from stack.layout import Layout
from tests.integration.dashboard.serving import READ_TOKEN, RunningApi
from tests.unit.dashboard.samples import a_report

# The command reads the stream that tests share: minutes of this file's own.
FIRST = MinuteWindow.parse("2023-07-01T10:00Z")

Etar = Callable[..., Result]


@dataclass
class Scheduler:
    """Airflow, whose runs report a minute that has more views each time."""

    api: RunningApi
    state: str = "success"
    asked: list[dict[str, Any]] = field(default_factory=list)

    def run(self, dag: str, configuration: dict[str, Any]) -> str:
        assert dag == "etar_reconcile"
        self.asked.append(configuration)
        if self.state == "success":
            for minute in configuration["minutes"]:
                report = a_report(MinuteWindow.parse(minute), views=100 + len(self.asked))
                self.api.writer.post("/report", json=report.model_dump(mode="json")).raise_for_status()
        return self.state


@pytest.fixture
def scheduler(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    found = Scheduler(api)
    monkeypatch.setattr(repair, "Airflow", lambda _stack: nullcontext(found))
    return found


@pytest.fixture
def etar(api: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etar]:
    """The command, beside a stack's folder."""
    layout = Layout.at(tmp_path)
    layout.create()
    prepare_settings(layout.settings_file, {}, datetime.now(UTC))
    with monkeypatch.context() as environment:
        for name, value in {
            "ETAR_API_URL": api.url,
            "ETAR_API_READ_TOKEN": READ_TOKEN,
            "ETAR_RECONCILE_BATCH_MINUTES": "2",
        }.items():
            environment.setenv(name, value)
        get_settings.cache_clear()
        before = dict(os.environ)
        yield lambda *arguments: CliRunner().invoke(app, ["report", *arguments, "--dir", str(tmp_path)])
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
    get_settings.cache_clear()


def test_a_range_is_reported_again_batch_by_batch_and_its_reports_are_printed(etar: Etar, scheduler: Scheduler) -> None:
    end = MinuteWindow(FIRST.start + 3 * MINUTE)
    result = etar("--range", str(FIRST), str(end), "--json")
    assert result.exit_code == 0, result.output
    assert [asked["minutes"] for asked in scheduler.asked] == [[str(FIRST), str(FIRST.next)], [str(FIRST.next.next)]]
    printed = json.loads(result.stdout)
    assert [each["minute"][:16] for each in printed] == ["2023-07-01T10:00", "2023-07-01T10:01", "2023-07-01T10:02"]
    lines = etar("--range", str(FIRST), str(FIRST.next)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(FIRST)]
    assert scheduler.asked[-1] == {"minutes": [str(FIRST)]}


def test_a_run_that_fails_is_told_with_what_stands(etar: Etar, scheduler: Scheduler) -> None:
    scheduler.state = "failed"
    end = MinuteWindow(FIRST.start + 3 * MINUTE)
    result = etar("--range", str(FIRST), str(end))
    assert result.exit_code == 1
    assert len(scheduler.asked) == 2, "a batch that fails keeps no other from its turn"
    assert "not all of these minutes could be reported again" in result.stderr


@pytest.mark.parametrize(
    ("range_", "says"),
    [
        (("2023-07-01T10:00Z", "2023-07-01T10:00Z"), "are 0 minutes"),
        (("2023-07-01T10:05Z", "2023-07-01T10:00Z"), "are 0 minutes"),
        (("2023-07-01T10:00Z", "2023-07-02T10:01Z"), "are 1441 minutes"),
        (("2023-07-01T10:00Z", "tomorrow"), "is not a minute"),
    ],
)
def test_what_is_no_range_is_refused(etar: Etar, scheduler: Scheduler, range_: tuple[str, str], says: str) -> None:
    result = etar("--range", *range_)
    assert (result.exit_code, scheduler.asked) == (1, [])
    assert says in result.stderr


def test_without_a_stack_nothing_is_asked(scheduler: Scheduler, tmp_path: Path) -> None:
    arguments = ["report", "--range", str(FIRST), str(FIRST.next), "--dir", str(tmp_path / "none")]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, scheduler.asked) == (1, [])
    assert "there is no stack" in result.stderr

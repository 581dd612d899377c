"""``etar cost`` on a real API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from etar.ledger import LedgerEntry, Stage, StageCost
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings, get_settings
from tests.integration.dashboard.ledger_rows import keep_minutes
from tests.integration.dashboard.serving import READ_TOKEN, RunningApi
from tests.unit.dashboard.samples import a_failed_entry, an_entry, an_open_entry, minutes_after

Etar = Callable[..., Result]

COSTS = {
    Stage.SETTLE: StageCost(cpu_seconds=0.25),
    Stage.EXTRACT: StageCost(rows=102, bytes=4821, cpu_seconds=0.5),
    Stage.ANALYSE: StageCost(rows=102, bytes=4821, cpu_seconds=1.0),
    Stage.REPORT: StageCost(rows=1, bytes=400, cpu_seconds=0.25),
}


@pytest.fixture
def etar(api: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etar]:
    """The command, with the environment of a reader of the API."""
    monkeypatch.setenv("ETAR_API_URL", api.url)
    monkeypatch.setenv("ETAR_API_READ_TOKEN", READ_TOKEN)
    get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, ["cost", *arguments, "--dir", str(tmp_path / "no-stack")])
    get_settings.cache_clear()


def with_costs(window: MinuteWindow, *, stream: str) -> LedgerEntry:
    """A reported minute of 100 events that cost 2 s of a core."""
    entry = an_entry(window, stream=stream)
    stages = {stage: times.model_copy(update={"cost": COSTS[stage]}) for stage, times in entry.stages.items()}
    return entry.model_copy(update={"stages": stages})


@pytest.fixture
def minutes(report_store: ReportStoreSettings, stream: str) -> str:
    """Minutes 0 to 2 with their costs, 3 from before they were kept, one failed and one at work."""
    keep_minutes(
        report_store,
        *(with_costs(minutes_after(count), stream=stream) for count in range(3)),
        an_entry(minutes_after(3), stream=stream),
        a_failed_entry(minutes_after(4), stream=stream),
        an_open_entry(minutes_after(5), stream=stream),
    )
    return stream


def test_costs_are_summed_and_told_a_minute_and_a_million_events(etar: Etar, minutes: str) -> None:
    told = json.loads(etar("--stream", minutes, "--json").stdout)
    assert (told["stream"], told["minutes"], told["minutes_not_kept"], told["events"]) == (minutes, 3, 1, 300)
    assert list(told["stages"]) == ["settle", "extract", "analyse", "report"]
    assert told["stages"]["extract"] == {
        "rows": 306,
        "bytes": 3 * 4821,
        "cpu_seconds": 1.5,
        "a_minute": {"rows": 102, "bytes": 4821, "cpu_seconds": 0.5},
        "a_million_events": {"rows": 1_020_000, "bytes": 48_210_000, "cpu_seconds": 5000},
    }
    assert told["stages"]["settle"]["bytes"] is None
    assert told["all"]["cpu_seconds"] == 6
    assert told["all"]["a_minute"]["cpu_seconds"] == 2
    assert told["all"]["a_million_events"]["cpu_seconds"] == 20_000


def test_a_person_gets_a_line_a_stage_and_is_told_what_was_not_kept(etar: Etar, minutes: str) -> None:
    result = etar("--stream", minutes)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert lines == [
        "not kept: the cost of 1 minutes, left out here: an older etar reported them",
        f"{minutes}: 3 minutes, 300 events",
        "CPU s CPU s of rows rows of bytes bytes of",
        "stage a minute M events a minute M events a minute M events",
        "settle 0.250 2,500.000 - - - -",
        "extract 0.500 5,000.000 102 1,020,000 4,821 48,210,000",
        "analyse 1.000 10,000.000 102 1,020,000 4,821 48,210,000",
        "report 0.250 2,500.000 1 10,000 400 4,000,000",
        "all 2.000 20,000.000 - - - -",
    ]


@pytest.mark.parametrize(
    ("range_", "found"),
    [
        (("--from", 1), 2),
        (("--to", 2), 2),
        (("--from", 1, "--to", 2), 1),
        (("--from", 0), 3),
    ],
)
def test_a_range_is_asked_for_in_as_many_answers_as_it_takes(
    etar: Etar, minutes: str, range_: tuple[str | int, ...], found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.cost.MINUTES_A_DAY", 2 if "--from" in range_ else 1440)
    given = [str(minutes_after(each)) if isinstance(each, int) else each for each in range_]
    assert json.loads(etar("--stream", minutes, *given, "--json").stdout)["minutes"] == found


def test_a_stream_without_minutes_says_so(etar: Etar, stream: str) -> None:
    assert etar("--stream", stream).stdout == f"{stream}: no minute whose cost was kept\n"


def test_the_api_has_the_costs_of_those_that_were_kept_and_nothing_in_place_of_others(
    api: RunningApi, minutes: str
) -> None:
    kept, *_, before = api.reader.get("/minutes", params={"stream": minutes, "state": "reported"}).json()
    assert kept["stages"]["extract"]["cost"] == {"rows": 102, "bytes": 4821, "cpu_seconds": 0.5}
    assert [list(stage) for stage in before["stages"].values()] == [["started_at", "ended_at"]] * 4

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from cli.minutes import age, render, render_history, took
from etar.ledger import MinuteHistory, StageTimes, State
from tests.unit.dashboard.samples import MINUTE, a_failed_entry, an_entry, an_open_entry

NOW = MINUTE.end + timedelta(seconds=42)  # half a minute after a sample was last written


def printed(render: Callable[[Console], None]) -> list[str]:
    """The lines on a console that is no terminal, each cell apart by single blanks."""
    out = StringIO()
    render(Console(file=out, width=60))
    return [" ".join(line.split()) for line in out.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("started", "ended", "seconds"),
    [
        (0, 2.5, "2.5"),
        (0, 0.04, "0.0"),
        (0, 75, "75.0"),
        (0, None, "…"),
        (None, None, "-"),
    ],
)
def test_a_step_took_its_seconds_or_is_at_work_or_has_not_begun(
    started: float | None, ended: float | None, seconds: str
) -> None:
    def at(offset: float) -> datetime:
        return MINUTE.end + timedelta(seconds=offset)

    times = (
        None if started is None else StageTimes(started_at=at(started), ended_at=None if ended is None else at(ended))
    )

    assert took(times) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86400, "1 d")],
)
def test_an_age_is_said_in_its_largest_unit(seconds: float, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text


def test_a_range_is_one_line_a_minute_with_the_reasons_of_failures_under_it() -> None:
    entries = [
        an_entry(received=1_234_567, duplicates=7, unique_events=1_234_560, revision=2),
        a_failed_entry(MINUTE.next, error="the sink [bold]is away[/bold]"),
        an_open_entry(MINUTE.next.next),
    ]

    lines = printed(lambda console: render(entries, console, now=NOW))

    run = "etar_pipeline/scheduled__2025-11-21T10"
    assert lines[0] == "Minutes, by event time"
    assert f"2025-11-21T10:31Z reported 1,234,567 7 1,234,560 2 3 2 2.5 2.5 2.5 2.5 30 s {run}:32:00+00:00" in lines
    assert f"2025-11-21T10:32Z failed - - - - - - … - - - 0 s {run}:33:00+00:00" in lines
    assert f"2025-11-21T10:33Z open - - - - - - … - - - 0 s {run}:34:00+00:00" in lines
    assert lines[-1] == "2025-11-21T10:32Z: the sink [bold]is away[/bold]"


def test_a_terminal_shows_the_dag_of_each_run_and_cuts_no_number() -> None:
    entry = an_entry(received=1_234_567, unique_events=1_234_560, duplicates=7, dead_letters=12_345)

    def on_terminal(console: Console) -> None:
        terminal = Console(file=console.file, width=80, force_terminal=True, no_color=True, highlight=False)
        render([entry], terminal, now=NOW)

    *_, line = printed(on_terminal)
    assert line == "2025-11-21T10:31Z reported 1,234,567 7 1,234,560 2 12,345 1 2.5 2.5 2.5 2.5 30 s etar_pipeline"


def test_no_minute_is_said() -> None:
    assert printed(lambda console: render([], console, now=NOW)) == [
        "the ledger has no such minute; a minute without a row is one that no run has begun"
    ]


def test_one_minute_has_its_revisions_offsets_and_extract() -> None:
    second = an_entry(revision=2, received=104, unique_events=102, run_id=None)
    now_at = an_entry(state=State.EXTRACTED, revision=2, settled_offsets={0: 70, 2: 1_000}, object_key="an.parquet")
    history = MinuteHistory(**now_at.model_dump(), revisions=(an_entry(), second))

    lines = printed(lambda console: render_history(history, console, now=NOW))

    assert lines[0] == "Minute 2025-11-21T10:31Z of user_interactions"
    revisions = lines[lines.index("Its revisions") : lines.index("Offsets of the extract")]
    run = "etar_pipeline/scheduled__2025-11-21T10:32:00+00:00"
    assert [line for line in revisions if line.startswith("2025")] == [
        f"2025-11-21T10:31Z reported 102 2 100 2 3 1 2.5 2.5 2.5 2.5 30 s {run}",
        "2025-11-21T10:31Z reported 104 2 102 2 3 2 2.5 2.5 2.5 2.5 30 s -",
    ]
    assert f"run: {run}" in lines
    partitions = lines[lines.index("Offsets of the extract") :]
    assert partitions[-4:] == [
        "0 5 66 60 70",
        "1 7 48 42 -",
        "2 - - - 1,000",
        "extract: an.parquet, 4,821 bytes, etag 0123456789abcdef0123456789abcdef",
    ]


def test_a_minute_of_nothing_has_neither_history_nor_extract() -> None:
    history = MinuteHistory(**an_open_entry().model_dump(), revisions=())

    lines = printed(lambda console: render_history(history, console, now=NOW))

    assert not {"Its revisions", "Offsets of the extract"} & set(lines)
    assert not any(line.startswith("extract:") for line in lines)

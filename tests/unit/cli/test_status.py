"""What `etar status` shows, once and live. What parts and places say: tests/e2e and tests/integration."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.status import Standing, live_view, show_live
from etar.stream_state import StreamState
from stack.configuration import prepare_settings
from stack.lifecycle import PartStatus, StackStatus

AT = datetime(2026, 11, 21, 10, 31, 7, tzinfo=UTC)
KAFKA = PartStatus("kafka", "healthy", 4711, "127.0.0.1:9092", 512.4)
SINK = PartStatus("sink", "unready", 4712, None, 1_100.0)
PAYMENTS = StreamState("payments", behind=1_200, audited_through=AT)


def standing(*parts: PartStatus, streams: tuple[StreamState, ...] = (PAYMENTS,)) -> Standing:
    healthy = all(part.state == "healthy" for part in parts)
    return Standing(StackStatus(healthy, list(parts)), streams, (), "not known: postgres does not run")


def shown(found: Standing, width: int = 120) -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(live_view(found, AT))
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def test_the_live_view_begins_with_what_matters_and_of_the_parts_with_those_that_are_not_well() -> None:
    lines = shown(standing(KAFKA, SINK))
    assert lines[0] == "NOT healthy, 1612 MB, 10:31:07 UTC, Ctrl-C ends"
    assert lines[1] == "alerts: not known: postgres does not run"
    assert lines[2] == "payments: the sink is 1,200 records behind, audited through 2026-11-21T10:31Z"
    assert [line.split() for line in lines[3:] if line.strip()[0].isalpha()] == [
        ["part", "state", "pid", "MB", "address"],
        ["sink", "unready", "4712", "1,100"],
        ["kafka", "healthy", "4711", "512", "127.0.0.1:9092"],
    ]


def test_on_a_narrow_terminal_only_addresses_are_cut() -> None:
    long = PartStatus("airflow-dag-processor", "unready", 4713, "http://127.0.0.1:12081/apis/ccompat/v7", 290.0)
    (line,) = [line for line in shown(standing(long), width=60) if "airflow" in line]
    assert line.split()[:4] == ["airflow-dag-processor", "unready", "4713", "290"]
    assert line.endswith("…")


def test_a_stream_is_shown_with_its_faults_and_warnings() -> None:
    faulty = StreamState("rides", faults=("no topic [rides]",), warnings=("it keeps records too short",))
    lines = shown(standing(KAFKA, streams=(faulty,)))
    assert lines[0].startswith("NOT healthy")
    place = lines.index("rides: Kafka does not say, nothing is audited yet")
    assert lines[place + 1 : place + 3] == ["  fault: no topic [rides]", "  warning: it keeps records too short"]


def test_one_look_follows_the_other_until_ctrl_c_and_the_last_one_stays() -> None:
    looks = iter([standing(SINK), standing(KAFKA)])
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 2:
            raise KeyboardInterrupt

    out = StringIO()
    show_live(lambda: next(looks), Console(file=out, force_terminal=True, width=120, height=40), rest)
    first, _, second = out.getvalue().partition("unready")
    assert "NOT healthy" in first
    assert "4711" not in first
    assert "4711" in second


@pytest.fixture
def stopped(tmp_path: Path) -> dict[str, str]:
    """The environment of a stack that has never run."""
    prepare_settings(tmp_path / "settings.env", {}, AT)
    return {"ETAR_DIR": str(tmp_path)}


def test_without_a_terminal_it_is_shown_once_and_plain(stopped: dict[str, str]) -> None:
    live = CliRunner().invoke(app, ["status", "--watch"], env=stopped)
    assert live.exit_code == 1
    assert live.output == CliRunner().invoke(app, ["status"], env=stopped).output
    assert "\x1b" not in live.output
    assert live.output.splitlines()[-1] == "NOT healthy, 0 MB"


def test_live_json_is_refused(stopped: dict[str, str]) -> None:
    refused = CliRunner().invoke(app, ["status", "--watch", "--json"], env=stopped)
    assert (refused.exit_code, refused.output) == (1, "etar: give either --watch or --json\n")

"""What ``python -m tests.chaos`` says and leaves, given how a run ended. A run: ``tests/long/test_chaos.py``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producer.account import Account, Counts
from tests.chaos import __main__ as command
from tests.chaos.faults import Fault, Kind
from tests.chaos.run import Asked, Hit, Result, RunError

RunEnds = Callable[[Result | Exception], list[Asked]]
Capture = pytest.CaptureFixture[str]

NOW = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
HITS = (
    Hit(Fault(10, Kind.KILL, "kafka"), NOW, NOW, 4711, True),
    Hit(Fault(30, Kind.CUT, "s3", 5), NOW, NOW + timedelta(seconds=5), None, True),
    Hit(Fault(50, Kind.KILL, "task"), NOW, NOW, None, False),
)


def result(
    difference: int | None,
    back_after: timedelta | None = timedelta(seconds=80),
    *,
    hits: tuple[Hit, ...] = HITS,
    acknowledged: int = 0,
    stored: int = 0,
) -> Result:
    counts = Counts.model_validate({"kinds": {"event": {"acknowledged": acknowledged}}})
    return Result(
        account=Account(
            topic="t", seed=7, workers=3, started_at=NOW, ended_at=NOW, counts=counts, in_doubt=2, respawns=1
        ),
        difference=difference,
        differences=("minute 2026-11-21T10:31Z: 3: no report",) if difference else (),
        back_after=back_after,
        dead_letters={"not_avro": 3, "too_late": 1},
        hits=hits,
        stored=stored,
    )


@pytest.fixture
def run_ends(monkeypatch: pytest.MonkeyPatch) -> RunEnds:
    """Makes the run end like that; returns what was asked of it."""

    def ends(with_: Result | Exception) -> list[Asked]:
        asked: list[Asked] = []

        def run(question: Asked, folder: Path) -> Result:
            asked.append(question)
            (folder / "logs").mkdir()
            if isinstance(with_, Exception):
                raise with_
            return with_

        monkeypatch.setattr(command, "run", run)
        return asked

    return ends


def test_an_exact_run_ends_with_its_difference_and_leaves_nothing(
    run_ends: RunEnds, tmp_path: Path, capsys: Capture
) -> None:
    run_ends(result(0))
    assert command.main(["--seed", "7", "--dir", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "difference: 0"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("difference", "last"), [(3, "difference: 3"), (None, "difference: unknown")])
def test_another_keeps_its_folder_and_says_what_differs(
    run_ends: RunEnds, tmp_path: Path, capsys: Capture, difference: int | None, last: str
) -> None:
    run_ends(result(difference))
    assert command.main(["--seed", "7", "--dir", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == last
    assert ("minute 2026-11-21T10:31Z: 3: no report" in printed) is bool(difference)
    assert "the same again: make chaos SEED=7 MINUTES=3 RATE=200" in printed
    assert (tmp_path / "run" / "logs").exists()


def test_it_says_what_was_done_to_whom(run_ends: RunEnds, tmp_path: Path, capsys: Capture) -> None:
    run_ends(result(0))
    command.main(["--seed", "7", "--dir", str(tmp_path / "run")])
    said = capsys.readouterr().out
    for part in (
        "seed 7: 2 faults of 3 planned, 1 workers replaced",
        "kill   kafka                pid 4711",
        "kill   task                 nothing to hit",
        "2 in doubt",
        "dead letters: 3 not_avro, 1 too_late",
        "back to reporting 80 s after the last fault",
    ):
        assert part in said
    assert "TOO LATE" not in said


@pytest.mark.parametrize(
    ("back_after", "code", "said"),
    [
        (timedelta(seconds=120), 0, "back to reporting 120 s after the last fault"),
        (timedelta(seconds=121), 3, "back to reporting 121 s after the last fault, which is TOO LATE"),
        (None, 3, "back to reporting: NOT within twice the time it may take"),
    ],
)
def test_coming_back_too_late_is_said_and_is_the_exit_code_of_an_exact_run(
    run_ends: RunEnds, tmp_path: Path, capsys: Capture, *, back_after: timedelta | None, code: int, said: str
) -> None:
    run_ends(result(0, back_after))
    assert command.main(["--seed", "7", "--dir", str(tmp_path / "run")]) == code
    printed = capsys.readouterr().out.splitlines()
    assert said in printed
    assert printed[-1] == "difference: 0"
    assert (tmp_path / "run").exists() is bool(code)


def test_a_difference_counts_before_the_time(run_ends: RunEnds, tmp_path: Path) -> None:
    run_ends(result(3, None))
    assert command.main(["--seed", "7", "--dir", str(tmp_path / "run")]) == 1


@pytest.mark.parametrize("kind", [RunError, TimeoutError])
def test_a_run_that_could_not_be_made_is_no_verdict(
    run_ends: RunEnds, tmp_path: Path, capsys: Capture, kind: type[Exception]
) -> None:
    run_ends(kind("the stack did not start"))
    assert command.main(["--seed", "7", "--dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().out
    assert "the stack did not start" in said
    assert "difference" not in said


def test_options_arrive(run_ends: RunEnds, tmp_path: Path) -> None:
    asked = run_ends(result(0))
    given = ["--seed", "7", "--minutes", "30", "--rate", "2000", "--only", "kill", "cut"]
    command.main([*given, "--dir", str(tmp_path / "run")])
    assert asked == [Asked(seed=7, minutes=30, rate=2000, kinds=(Kind.KILL, Kind.CUT))]


def test_without_a_seed_each_run_has_another(run_ends: RunEnds, tmp_path: Path) -> None:
    asked = run_ends(result(0))
    for name in "ab":
        command.main(["--dir", str(tmp_path / name)])
    assert asked[0].seed != asked[1].seed


def test_a_folder_with_something_in_it_is_refused_for_it_would_be_deleted(
    run_ends: RunEnds, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "precious").touch()
    asked = run_ends(result(0))
    with pytest.raises(SystemExit):
        command.main(["--dir", str(tmp_path)])
    assert "is not empty" in capsys.readouterr().err
    assert asked == []
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize(
    ("difference", "stored", "code"),
    [
        pytest.param(100, 900, 0, id="records are gone, and the account says so"),
        pytest.param(None, 900, 0, id="it cannot say"),
        pytest.param(0, 900, 1, id="green"),
        pytest.param(0, 1000, 0, id="nothing was taken after all"),
        pytest.param(1, 1000, 1, id="nothing was taken, and it is red"),
    ],
)
def test_where_a_fault_took_records_the_account_must_say_so(
    run_ends: RunEnds, tmp_path: Path, difference: int | None, stored: int, code: int
) -> None:
    taken = (Hit(Fault(10, Kind.ANEW, "topic"), NOW, NOW, None, True),)
    run_ends(result(difference, None, hits=taken, acknowledged=1000, stored=stored))
    assert command.main(["--seed", "7", "--only", "anew", "--dir", str(tmp_path / "run")]) == code

"""Lanes of small test files of their own: what is run, what is said of it, and what an interrupt leaves."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from stack.waiting import wait_until
from tests.lanes import __main__ as command
from tests.lanes import plan
from tests.lanes.plan import Lane, Part, Plan
from tests.lanes.running import INTERRUPTED

PASSES = "def test_it_passes(): assert True\n"
FAILS = "def test_it_fails():\n    found = 41\n    assert found == 42\n"
SKIPS = "import pytest\n\n@pytest.mark.skip(reason='no such machine here')\ndef test_it_is_skipped(): ...\n"
WAITS = """
import pathlib, time
def test_it_waits():
    try:
        pathlib.Path({began!r}).touch()
        time.sleep(60)
    finally:
        pathlib.Path({ended!r}).touch()
"""
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def part(tmp_path: Path):
    def make(name: str, text: str) -> Part:
        # A file name alone would be the same module for all of them.
        file = tmp_path / f"test_{name}.py"
        file.write_text(text)
        return Part(name, (str(file),), options=("-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull))

    return make


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    def run(*lanes: Lane, shared: Sequence[Part] = ()) -> tuple[int, str]:
        monkeypatch.setitem(plan.PLANS, "each-change", Plan(lanes, tuple(shared)))
        code = command.main(["--results", str(tmp_path / "results")])
        return code, capsys.readouterr().out

    return run


def test_what_ran_and_was_skipped_is_said_last_with_pytests_own_closing_lines(run, part) -> None:
    shell = Part("shell", command=("true",))
    code, said = run(Lane("left", (part("one", PASSES), shell)), Lane("right", (part("two", SKIPS + PASSES),)))
    assert code == 0
    assert re.search(r"1  .*no such machine here", said)
    for name in ("one", "shell", "two"):
        assert re.search(rf"{name} +[\d.]+ min  passed", said), said
    *_, first, second = said.splitlines()
    assert re.fullmatch(r"=+ 1 passed in [\d.]+s =+", first)
    assert re.fullmatch(r"=+ 1 passed, 1 skipped in [\d.]+s =+", second)


def test_a_failure_is_shown_first_and_hides_no_other_part(run, part) -> None:
    broken = Part("broken", command=("sh", "-c", "echo what the program said; exit 3"))
    code, said = run(Lane("left", (part("bad", FAILS), part("good", PASSES))), Lane("right", (broken,)))
    assert code == 1
    summary = said[said.index("left: bad FAILED (1); the whole output") :]
    assert "assert 41 == 42" in summary.split("What ran:")[0]
    assert "right: broken FAILED (3); the whole output" in summary
    assert "what the program said" in summary
    assert re.search(r"good +[\d.]+ min  passed", summary)
    assert "2 of 3 parts" not in summary
    assert "1 of 3 parts passed" in summary


def test_durations_and_reasons_are_those_of_this_run(run, part) -> None:
    _, said = run(Lane("left", (part("one", PASSES),)))
    assert re.search(r"[\d.]+ s  one +test_one::test_it_passes", said)
    # A run that ends before pytest writes anything shows nothing of the one before.
    code, said = run(Lane("left", (Part("one", ("no/such/file.py",)),)))
    assert code == 1
    assert "test_it_passes" not in said


def test_what_is_shared_runs_once_in_the_lane_that_is_free(run, tmp_path: Path) -> None:
    done = tmp_path / "done"
    # The left lane is busy until the right one has run what is shared.
    busy = Part("busy", command=("sh", "-c", f"until [ -e {done} ]; do sleep 0.1; done"))
    shared = [Part("first", command=("true",)), Part("second", command=("touch", str(done)))]
    code, said = run(Lane("left", (busy,)), Lane("right", (Part("own", command=("true",)),)), shared=shared)
    assert code == 0
    ran = re.findall(r"(left|right) +(\w+) +[\d.]+ min  passed", said)
    assert ran == [("left", "busy"), ("right", "own"), ("right", "first"), ("right", "second")]


def test_a_lane_waits_for_what_it_comes_after_and_is_as_nice_as_it_is_told(run, tmp_path: Path) -> None:
    done, niceness = tmp_path / "done", tmp_path / "nice"
    first = Part("first", command=("touch", str(done)))
    second = Part("second", command=("sh", "-c", f"[ -e {done} ] && nice > {niceness}"))
    code, said = run(Lane("left", (second,), after="first", nice=3), Lane("right", (first,)))
    assert code == 0, said
    assert int(niceness.read_text()) == os.nice(0) + 3
    with pytest.raises(ValueError, match="'third', which is no part"):
        Plan((Lane("left", (first,), after="third"),))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_part_in_its_own_way_and_begins_no_other(
    run, part, tmp_path: Path, number: signal.Signals
) -> None:
    marks = [{when: str(tmp_path / f"{lane}-{when}") for when in ("began", "ended")} for lane in "ab"]
    waits = [Lane(f"lane {n}", (part(f"wait{n}", WAITS.format(**mark)),)) for n, mark in enumerate(marks)]
    behind = Lane(waits[0].name, (*waits[0].parts, part("behind", PASSES)))

    def interrupt() -> None:
        wait_until(lambda: all(Path(mark["began"]).exists() for mark in marks), timeout=60, what="both lanes to begin")
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, said = run(behind, waits[1])
    thread.join()
    assert code == INTERRUPTED
    assert all(Path(mark["ended"]).exists() for mark in marks)
    assert re.search(r"behind +0.0 min  NOT BEGUN", said)
    assert ["no tests ran" in line for line in said.splitlines()[-2:]] == [True, True]  # pytest's own word, from each


@pytest.mark.parametrize(
    ("path", "runs"),
    [("tests/unit/etar/test_minute.py", True), ("tests/long/test_x.py", False), ("tests/e2e2/test_x.py", False)],
)
def test_what_runs_at_each_change_is_known_by_its_folder(path: str, runs: bool) -> None:
    assert plan.runs_at_each_change(path) is runs

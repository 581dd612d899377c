"""When a part that does not answer is given up, and when one that answers is not well."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from stack.configuration import START_SECONDS, SettingsError, make_settings
from stack.launch import environment_of
from stack.layout import Layout
from stack.lifecycle import is_ready
from stack.parts import Stack, part_named, possible_parts, sink
from stack.starting import Look, StartGivenUpError, Watch, ends_again, forget_starts, keeps_ending, note_start

EVERY = 5.0
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def watch(*looks: Look, limit: float = 180.0) -> float:
    """Looks every 5 s; the second at which the part was given up, or the last."""
    watched = Watch("kafka", limit)
    at = 0.0
    for number, look in enumerate(looks, start=1):
        at = number * EVERY
        watched.look(look, at)
    return at


def test_a_part_that_gets_a_twentieth_of_a_core_is_waited_for_however_long_it_takes() -> None:
    assert watch(*(Look(1, 0.05 * EVERY * number) for number in range(700))) == 3_500


def test_one_that_stands_still_is_given_up() -> None:
    started = [Look(1, 1.0 * number) for number in range(5)]
    idle = [Look(1, 5.0 + 0.004 * EVERY * number) for number in range(40)]
    with pytest.raises(StartGivenUpError, match="kafka does not answer, and has done nothing for 180 s"):
        watch(*started, *idle)
    assert watch(*started, *idle[:35]) == 200, "not before its time"


def test_one_that_goes_round_in_circles_is_given_up() -> None:
    with pytest.raises(StartGivenUpError, match="after 20 s of processor time"):
        watch(*(Look(1, EVERY * number) for number in range(6)), limit=20)


def test_one_that_ends_each_time_is_given_up_at_once() -> None:
    with pytest.raises(StartGivenUpError, match="started 5 times, and ended each time"):
        watch(*(Look(began, 3.0) for began in range(6)))
    assert watch(*(Look(min(began, 4), 3.0) for began in range(8))) == 40


@pytest.mark.parametrize("text", ["0", "-5", "soon"])
def test_the_limit_is_a_setting_and_a_time(text: str) -> None:
    assert make_settings({START_SECONDS: "600"}, {}, NOW).start_seconds == 600
    with pytest.raises(SettingsError, match=START_SECONDS):
        make_settings({START_SECONDS: text}, {}, NOW)


@pytest.mark.parametrize(
    ("starts", "now", "again"),
    [
        ([], 100.0, False),
        ([0.0, 5.0], 6.0, False),  # killed once
        ([0.0, 5.0, 10.0], 11.0, True),
        ([0.0, 5.0, 10.0], 15.0, True),
        ([0.0, 5.0, 10.0], 15.1, False),  # it has lived longer than the two before it
        ([0.0, 3600.0, 3605.0], 3606.0, False),  # it had lived long
        ([0.0, 90.0, 180.0], 260.0, True),
    ],
)
def test_a_part_that_ends_again_and_again_is_not_well_until_it_outlives_the_lives_before(
    starts: list[float], now: float, again: bool
) -> None:
    assert ends_again(starts, now) is again


def test_the_last_starts_are_kept_until_a_person_starts_the_part(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.create()
    clock = count(0.0)
    for _ in range(5):
        note_start(layout, "sink", now=lambda: next(clock))
    assert keeps_ending(layout, "sink", now=lambda: 4.5)
    assert len(layout.starts("sink").read_text().splitlines()) == 3
    forget_starts(layout, "sink")
    assert not keeps_ending(layout, "sink", now=lambda: 4.5)


@pytest.mark.parametrize("folder", ["short", "a folder " + "of a long name " * 6])
def test_each_parts_temporary_files_are_its_own(folder: str) -> None:
    stack = Stack(Layout.at(Path("/srv") / folder), make_settings({}, {}, NOW))
    parts = possible_parts(stack)
    folders = {environment_of(stack, part)["TMPDIR"] for part in parts}
    assert len(folders) == len(parts)
    for part in parts:
        environment = environment_of(stack, part)
        assert environment["JAVA_TOOL_OPTIONS"] == f'-Djava.io.tmpdir="{environment["TMPDIR"]}"'
        assert len(environment["TMPDIR"]) <= 100, "a Unix socket has to fit into it"


@pytest.mark.parametrize(("seconds_ago", "ready"), [(1, True), (59, True), (61, False), (None, False)])
def test_a_sink_is_well_while_it_does_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_ago: int | None, ready: bool
) -> None:
    """A member of its group it is also while it waits for a table, and for seconds after its death."""
    monkeypatch.setattr(sink, "_is_consuming", lambda *_: True)
    stack = Stack(Layout.at(tmp_path), make_settings({}, {}, NOW))
    stack.layout.create()
    if seconds_ago is not None:
        command = part_named("sink", stack).command(stack)
        beat = Path(command[command.index("--beat") + 1])
        beat.touch()
        then = time.time() - seconds_ago
        os.utime(beat, (then, then))
    assert is_ready(part_named("sink", stack), stack) is ready

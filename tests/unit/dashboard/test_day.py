from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
import pytest

from dashboard.ui import day as days
from dashboard.ui.client import Snapshot
from dashboard.ui.freshness import Level
from etar.minute import MINUTES_A_DAY, MinuteWindow
from etar.pipeline.standing import Day, Standing, windows_of

DAY = date(2025, 11, 21)
NEWEST = MinuteWindow.parse("2025-11-21T10:31Z")


def a_day(
    standings: dict[str, Standing] | None = None,
    *,
    newest: MinuteWindow | None = NEWEST,
    rest: Standing = Standing.REPORTED,
) -> Day:
    """A day of which each named minute (``10:31``) has its standing, and all others ``rest``. Those with a report have
    100 events and 3 dead letters; a revised one is of revision 2."""
    named = {MinuteWindow.parse(f"{DAY}T{text}Z"): each for text, each in (standings or {}).items()}
    found = tuple(named.get(window, rest) for window in windows_of(DAY))
    reported = [each in (Standing.REPORTED, Standing.REVISED) for each in found]
    return Day(
        stream="user_interactions",
        day=DAY,
        newest=newest.start if newest else None,
        reportable_from=0,
        standings=found,
        revisions=tuple(
            1 + (each is Standing.REVISED) if known else None for each, known in zip(found, reported, strict=True)
        ),
        events=tuple(100 if known else None for known in reported),
        dead_letters=tuple(3 if known else None for known in reported),
    )


def answered(day: Day, *, at: datetime = NEWEST.end, problem: str | None = None) -> Snapshot[Day]:
    return Snapshot((day,), at, problem)


def at(text: str) -> MinuteWindow:
    return MinuteWindow.parse(f"{DAY}T{text}Z")


def test_every_standing_has_a_look_of_its_own() -> None:
    assert set(days.LOOKS) == set(Standing)
    assert len({look.label for look in days.LOOKS.values()}) == len(Standing)
    assert len({look.color for look in days.LOOKS.values()}) == len(Standing)
    # Told without color: all but the usual, and those of which there is nothing to say.
    signs = {standing: look.sign for standing, look in days.LOOKS.items() if look.sign}
    assert len(set(signs.values())) == len(signs)
    assert set(Standing) - set(signs) == {Standing.REPORTED, Standing.NOT_EXPECTED, Standing.AHEAD}


def test_each_minute_is_the_cell_of_its_hour_and_minute() -> None:
    found = days.figure(a_day({"00:00": Standing.FAILED, "10:31": Standing.REVISED, "23:59": Standing.GIVEN_UP}))

    cells = found.data[0]
    order = list(days.LOOKS)
    assert cells.z.shape == (24, 60)
    assert order[cells.z[0, 0]] is Standing.FAILED
    assert order[cells.z[10, 31]] is Standing.REVISED
    assert order[cells.z[23, 59]] is Standing.GIVEN_UP
    assert np.count_nonzero(cells.z == order.index(Standing.REPORTED)) == MINUTES_A_DAY - 3
    assert (cells.text[0][0], cells.text[10][31], cells.text[23][59], cells.text[0][1]) == ("X", "2", "†", "")


def test_a_cell_has_the_color_of_its_standing() -> None:
    cells = days.figure(a_day()).data[0]

    for place, look in enumerate(days.LOOKS.values()):
        share = (place - cells.zmin) / (cells.zmax - cells.zmin)
        below = [color for edge, color in cells.colorscale if edge <= share][-1]
        above = next(color for edge, color in cells.colorscale if edge >= share)
        assert below == above == look.color


@pytest.mark.parametrize(("revision", "sign"), [(2, "2"), (9, "9"), (10, "+"), (120, "+")])
def test_a_revised_minute_shows_its_revision(revision: int, sign: str) -> None:
    day = a_day({"10:31": Standing.REVISED})
    revised = day.model_copy(update={"revisions": tuple(revision if each == 2 else each for each in day.revisions)})

    assert days.figure(revised).data[0].text[10][31] == sign


def test_every_minute_can_be_clicked_on_and_says_what_it_is() -> None:
    _, *points = days.figure(a_day({"10:31": Standing.REVISED, "10:32": Standing.MISSING})).data

    assert sum(len(trace.x) for trace in points) == MINUTES_A_DAY
    reported, revised, missing = points
    assert (revised.x.tolist(), revised.y.tolist(), revised.customdata.tolist()) == ([31], [10], [[2, 100, 3]])
    assert "Revised, revision %{customdata[0]}: %{customdata[1]:,} events" in revised.hovertemplate
    assert (missing.x.tolist(), missing.y.tolist(), missing.customdata) == ([32], [10], None)
    assert "%{y:02d}:%{x:02d} UTC<br>Missing<" in missing.hovertemplate
    assert len(reported.customdata) == MINUTES_A_DAY - 2


def test_the_chosen_minute_is_framed_and_the_shared_figure_is_left_as_it_was() -> None:
    shared = days.figure(a_day())
    framed = days.framed(shared, at("10:31"))

    assert [(shape.x0, shape.x1, shape.y0, shape.y1) for shape in framed.layout.shapes] == [(30.5, 31.5, 9.5, 10.5)] * 2
    assert shared.layout.shapes == ()


def test_a_cell_is_read_back_as_its_minute() -> None:
    assert days.window_of(DAY, days.cell_of(at("23:59"))) == at("23:59")


def test_the_legend_counts_the_standings_there_are() -> None:
    legend = days.legend(a_day({"10:31": Standing.FAILED, "10:32": Standing.FAILED}))

    assert "Reported <b>1,438</b>" in legend
    assert "Failed <b>2</b>" in legend
    assert "Missing" not in legend


def test_the_summary_is_of_minutes_that_should_be_reported() -> None:
    day = a_day({"10:30": Standing.REPORTED, "10:31": Standing.REVISED, "10:32": Standing.DUE}, rest=Standing.AHEAD)

    assert days.summary(day) == "**2 of 3 minutes reported** · 200 events"
    assert days.summary(a_day(rest=Standing.NOT_EXPECTED)) == "**0 of 0 minutes reported** · 0 events"


@pytest.mark.parametrize(
    ("standing", "revision", "stands"),
    [
        (Standing.FAILED, 2, True),
        (Standing.GIVEN_UP, 1, True),
        (Standing.GIVEN_UP, None, False),
        (Standing.REVISED, 2, False),
    ],
)
def test_a_minute_that_is_not_reported_now_says_which_report_stands(
    standing: Standing, revision: int | None, stands: bool
) -> None:
    day = a_day({"10:31": standing})
    day = day.model_copy(update={"revisions": (*day.revisions[:631], revision, *day.revisions[632:])})

    said = days.meaning(day, at("10:31"))

    assert said.startswith(days.LOOKS[standing].about)
    assert (f"Revision {revision} of its report stands." in said) is stands


def test_what_wants_a_look_is_gone_through_in_turn() -> None:
    day = a_day({"10:31": Standing.FAILED, "12:00": Standing.UNDER_WAY, "15:00": Standing.MISSING})

    assert days.next_to_look_at(day, None) == at("10:31")
    assert days.next_to_look_at(day, at("10:31")) == at("15:00")
    assert days.next_to_look_at(day, at("15:00")) == at("10:31")
    assert days.next_to_look_at(a_day(), None) is None


def test_a_day_as_it_should_be_needs_no_notice() -> None:
    assert days.notice(answered(a_day({"10:31": Standing.FAILED, "10:32": Standing.DUE}))) is None


@pytest.mark.parametrize(
    ("day", "level", "words"),
    [
        (a_day(newest=None, rest=Standing.AHEAD), Level.INFO, ["No minutes yet"]),
        (a_day(rest=Standing.UNKNOWN), Level.INFO, ["no minute of 2025-11-21", "newest is 2025-11-21T10:31Z"]),
        (
            a_day({"10:32": Standing.OVERDUE, "10:33": Standing.OVERDUE}),
            Level.WARNING,
            ["Overdue: 2 minutes", "after 2025-11-21T10:31Z"],
        ),
        (
            a_day({"10:32": Standing.OVERDUE, "03:00": Standing.GIVEN_UP, "02:00": Standing.GIVEN_UP}),
            Level.WARNING,
            ["2 minutes cannot be reported any more", "2025-11-21T02:00Z", "Overdue: 1 minute."],
        ),
    ],
)
def test_what_is_wrong_with_a_day_is_said(day: Day, level: Level, words: list[str]) -> None:
    notice = days.notice(answered(day))

    assert notice is not None
    assert notice.level is level
    for each in words:
        assert each in notice.text


def test_while_the_api_is_away_nobody_knows_of_minutes_that_have_ended_since() -> None:
    day = a_day({"10:30": Standing.REPORTED, "10:31": Standing.DUE, "10:32": Standing.UNDER_WAY}, rest=Standing.AHEAD)
    away = answered(day, at=NEWEST.end, problem="gone")

    found = days.as_known(away, at("10:35").start)

    assert found is not None
    assert found.standings[630:636] == (
        Standing.REPORTED,
        Standing.UNKNOWN,
        Standing.UNDER_WAY,
        Standing.UNKNOWN,
        Standing.UNKNOWN,
        Standing.AHEAD,
    )
    notice = days.notice(away)
    assert notice is not None
    assert notice.level is Level.ERROR
    assert "gone. Below is what it said at 2025-11-21 10:32:00 UTC" in notice.text


def test_an_answer_is_shown_as_it_is_while_the_api_is_there() -> None:
    day = a_day({"10:31": Standing.DUE}, rest=Standing.AHEAD)

    assert days.as_known(answered(day), NEWEST.end + timedelta(hours=1)) is day
    assert days.as_known(Snapshot(problem="gone"), NEWEST.end) is None
    assert days.notice(Snapshot()) is None


@pytest.mark.parametrize(
    ("day", "minute", "expected"),
    [
        (None, None, (DAY, None)),
        ("2025-11-20", None, (date(2025, 11, 20), None)),
        ("2025-11-21", "10:31", (DAY, time(10, 31))),
        (None, "23:59", (DAY, time(23, 59))),
    ],
)
def test_the_address_names_day_and_minute(day: str | None, minute: str | None, expected: tuple[date, time]) -> None:
    assert days.asked_for(day, minute, today=DAY) == expected


@pytest.mark.parametrize(
    ("day", "minute", "reason"),
    [
        ("yesterday", None, "'yesterday' is not a day"),
        ("2025-11-22", None, "2025-11-22 has not begun"),
        (None, "noon", "'noon' is not a minute"),
        (None, "10:31:30", "'10:31:30' is not the start of a minute"),
    ],
)
def test_an_address_that_names_neither_is_refused(day: str | None, minute: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        days.asked_for(day, minute, today=DAY)

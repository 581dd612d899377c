from __future__ import annotations

import pytest

from dashboard.ui import accounting, figures
from dashboard.ui.accounting import Accounted, Standing, accounted
from etar.ledger import LedgerEntry, State
from etar.minute import MinuteWindow
from tests.unit.dashboard.samples import MINUTE, a_failed_entry, an_entry, an_open_entry, minutes_after

# Minute 3 has no row.
ENTRIES = [
    an_entry(minutes_after(0)),
    an_entry(minutes_after(1), revision=2, received=1_103, duplicates=3, unique_events=1_100, late_events=1_000),
    a_failed_entry(minutes_after(2), revision=1),
    an_open_entry(minutes_after(4), State.EXTRACTED, received=50, late_events=0, dead_letters=0),
]


@pytest.mark.parametrize(
    ("entry", "standing", "state"),
    [
        (an_entry(), Standing.REPORTED, "reported"),
        (an_entry(revision=2), Standing.REVISED, "reported"),
        (an_open_entry(), Standing.UNDER_WAY, "open"),
        (an_open_entry(state=State.SETTLED, revision=3), Standing.UNDER_WAY, "settled"),
        (an_open_entry(state=State.EXTRACTED), Standing.UNDER_WAY, "extracted"),
        (an_open_entry(state=State.ANALYSED), Standing.UNDER_WAY, "analysed"),
        (a_failed_entry(), Standing.NOT_REPORTED, "failed"),
        (a_failed_entry(revision=2), Standing.NOT_REPORTED, "failed"),
        (None, Standing.NOT_REPORTED, "no run"),
    ],
)
def test_every_state_has_a_standing(entry: LedgerEntry | None, standing: Standing, state: str) -> None:
    minute = Accounted(MINUTE, entry)

    assert (minute.standing, minute.state) == (standing, state)


def test_a_minute_without_a_row_is_one_too() -> None:
    minutes = accounted(ENTRIES)

    assert [each.window for each in minutes] == [minutes_after(count) for count in range(5)]
    assert [each.entry for each in minutes] == [*ENTRIES[:3], None, ENTRIES[3]]
    assert accounted([]) == []
    assert [each.entry for each in accounted(ENTRIES[:1])] == ENTRIES[:1]


def test_the_summary_adds_up_what_is_reported_and_names_what_is_not() -> None:
    minutes, sums = accounting.summary(accounted(ENTRIES)).split("  \n")

    assert minutes == "**2 of 5 minutes reported** · 1 extracted · 1 failed · 1 no run · 1 revised"
    assert sums == "1,205 received = 1,200 unique + 5 duplicates; 1,002 late among them; 6 dead letters beside them"


def test_the_summary_of_nothing_but_good_minutes_says_no_more() -> None:
    assert accounting.summary(accounted(ENTRIES[:1])).startswith("**1 of 1 minutes reported**  \n")


def test_each_minute_is_once_in_the_strip_by_its_standing() -> None:
    strip = {trace.name: trace for trace in accounting.figure(accounted(ENTRIES)).data[: len(Standing)]}

    assert {name: [MinuteWindow.containing(x) for x in trace.x] for name, trace in strip.items()} == {
        "Reported": [minutes_after(0)],
        "Revised": [minutes_after(1)],
        "Under way": [minutes_after(4)],
        "Not reported": [minutes_after(2), minutes_after(3)],
    }
    assert strip["Revised"].customdata[0] == "10:32 UTC: reported, revision 2"
    # What a step said is text, not markup.
    assert list(strip["Not reported"].customdata) == [
        "10:33 UTC: failed<br>the sink is &lt;away&gt;",
        "10:34 UTC: no run",
    ]


def test_duplicates_late_events_and_dead_letters_are_drawn_for_each_minute() -> None:
    duplicates, late, dead = accounting.figure(accounted(ENTRIES)).data[len(Standing) :]

    assert (duplicates.name, list(duplicates.y)) == ("Duplicates", [2, 3, None, None, None])
    assert (late.name, list(late.y)) == ("Late", [2, 1_000, None, None, 0])
    assert (dead.name, list(dead.y)) == ("Dead letters", [3, 3, None, None, 0])


@pytest.mark.parametrize("count", [0, 1])
def test_few_minutes_are_a_figure_too(count: int) -> None:
    figure = accounting.figure(accounted(ENTRIES[:count]))

    assert [len(trace.x) for trace in figure.data[len(Standing) :]] == [count] * 3
    assert figure.layout.yaxis2.range[1] > 0


def test_the_table_lists_the_newest_first_with_every_count() -> None:
    frame = accounting.table(accounted(ENTRIES)).data

    assert list(frame.columns) == [
        "Minute (UTC)",
        "State",
        "Received",
        "Unique",
        "Duplicates",
        "Late",
        "Dead letters",
        "Revision",
    ]
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    assert rows == [
        ["10:35", "extracted", 50, None, None, 0, 0, None],
        ["10:34", "no run", None, None, None, None, None, None],
        ["10:33", "failed", None, None, None, None, None, 1],
        ["10:32", "reported", 1_103, 1_100, 3, 1_000, 3, 2],
        ["10:31", "reported", 102, 100, 2, 2, 3, 1],
    ]


def test_the_table_marks_what_is_not_reported_and_what_is_revised() -> None:
    styles = accounting.table(accounted(ENTRIES))._compute().ctx
    colored = {(row, column): dict(style)["color"] for (row, column), style in styles.items() if "color" in dict(style)}

    state, revision = 1, 7
    assert colored == {
        (0, state): accounting.UNDER_WAY,
        (1, 0): figures.ERROR,
        (1, state): figures.ERROR,
        (2, 0): figures.ERROR,
        (2, state): figures.ERROR,
        (3, revision): accounting.REVISED,
    }

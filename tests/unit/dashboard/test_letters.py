"""What the page of dead letters makes of the API's answers."""

from __future__ import annotations

import json
import shlex
from datetime import date, timedelta

import pytest

from dashboard.ui.client import FoundLetters, Snapshot
from dashboard.ui.freshness import Level
from dashboard.ui.letters import (
    LOOKS,
    MARK,
    NOT_THERE,
    Asked,
    appended,
    asked_for,
    commands,
    fields_table,
    figure,
    history,
    left_out,
    list_all,
    notice,
    outcome,
    rows,
    summary,
)
from dashboard.ui.times import Clock
from etar.dead_letters import Reason
from etar.dead_letters.answer import Bytes, Leaf
from etar.dead_letters.letters import LetterId, State
from tests.unit.dashboard.letter_samples import (
    AT,
    DAY,
    START,
    a_change,
    a_letter,
    a_listed_letter,
    a_replay,
    found_letters,
)

SOME = found_letters((10, {Reason.TRUNCATED: 1, Reason.OUT_OF_RANGE: 7}), (23, {Reason.TRUNCATED: 2}))


def test_every_reason_is_drawn_like_no_other_also_without_color() -> None:
    assert set(LOOKS) == set(Reason)
    assert len({look.color for look in LOOKS.values()}) == len(Reason)
    # Patterns are fewer than reasons: of two reasons with one pattern, one is far darker.
    by_pattern: dict[str, list[float]] = {}
    for look in LOOKS.values():
        red, green, blue = (int(look.color[place : place + 2], 16) for place in (1, 3, 5))
        by_pattern.setdefault(look.pattern, []).append(0.299 * red + 0.587 * green + 0.114 * blue)
    for greys in by_pattern.values():
        assert len(greys) <= 2
        assert len(greys) == 1 or abs(greys[0] - greys[1]) > 35


def test_bars_are_stacked_by_reason_over_the_whole_day() -> None:
    drawn = figure(SOME.counts)
    assert [bar.name for bar in drawn.data] == ["truncated 3", "out of range 7"]
    assert [list(bar.y) for bar in drawn.data] == [[1, 2], [7]]
    assert [list(bar.customdata) for bar in drawn.data] == [["10:00", "23:00"], ["10:00"]]
    assert drawn.layout.barmode == "stack"
    assert drawn.layout.xaxis.range == (START, START.replace(day=22))


def test_the_summary_says_the_most_first() -> None:
    assert summary(SOME, DAY) == "**10 dead letters** on 2026-11-21 · out of range 7 · truncated 3"
    one = found_letters((0, {Reason.NULL_VALUE: 1}))
    assert summary(one, DAY) == "**1 dead letter** on 2026-11-21 · null value 1"


def test_what_a_viewer_must_know_first() -> None:
    nothing, some = Snapshot((found_letters(listed=0),), AT), Snapshot((SOME,), AT)
    narrowed = Asked(state=State.DISCARDED)

    assert notice(some, Asked(), DAY) is None
    assert notice(Snapshot((found_letters(listed=0, more=True),), AT), narrowed, DAY) is None
    empty, fits_not = notice(nothing, Asked(), DAY), notice(nothing, narrowed, DAY)
    assert empty
    assert fits_not
    assert (empty.level, "No dead letters on 2026-11-21" in empty.text) == (Level.INFO, True)
    assert (fits_not.level, "Take a filter away" in fits_not.text) == (Level.INFO, True)


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (Snapshot[FoundLetters](problem="warehouse"), "There is nothing to show yet"),
        (Snapshot((SOME,), AT, problem="warehouse"), "Below is what was known at 2026-11-21 10:31:07 UTC"),
    ],
    ids=["never known", "stale"],
)
def test_while_there_is_no_answer_the_last_one_is_dated(snapshot: Snapshot[FoundLetters], said: str) -> None:
    shown = notice(snapshot, Asked(), DAY)
    assert shown
    assert shown.level is Level.ERROR
    assert said in shown.text


def test_a_row_is_told_as_text() -> None:
    (row,) = rows([a_listed_letter(field=None, size=None, detail="<b>x</b>")])
    assert row == {
        "Appended (UTC)": "10:31:07.250",
        "Letter": "3:1042",
        "Reason": "missing or wrong field",
        "Field": "",
        "State": "open",
        "Bytes": None,
        "What was wrong": "<b>x</b>",
    }


def test_times_stand_in_the_viewers_zone_beside_utc() -> None:
    kolkata = Clock.of("Asia/Kolkata")
    (row,) = rows([a_listed_letter()], kolkata)
    assert (row["Appended (UTC)"], row["Appended (Asia/Kolkata)"]) == ("10:31:07.250", "16:01:07")
    done = a_letter(state=State.DISCARDED, changes=(a_change(action="discarded"),))
    (change,) = history(done, kolkata)
    assert change["At (UTC)"] == f"{AT:%Y-%m-%d %H:%M:%S}"
    assert change["At (Asia/Kolkata)"] == f"{AT + timedelta(hours=5, minutes=30):%Y-%m-%d %H:%M:%S}"
    assert kolkata.said(AT) in outcome(done, kolkata)
    assert appended(done, kolkata) == "2026-11-21 10:31:07.250 UTC, 2026-11-21 16:01:07 in Asia/Kolkata"
    assert appended(done) == "2026-11-21 10:31:07.250 UTC"
    stale = notice(Snapshot((SOME,), AT, problem="warehouse"), Asked(), DAY, kolkata)
    assert stale
    assert f"known at {kolkata.said(AT)}" in stale.text


def test_the_failing_field_is_marked_by_a_sign_and_a_color() -> None:
    absent = Leaf(path="items.1.price", value=None, failing=True)
    table = fields_table(a_letter(leaves=(Leaf(path="event_id", value='"e-1"', failing=False), absent)))
    assert table.data.to_dict("records") == [
        {"": "", "Field": "event_id", "Value": '"e-1"'},
        {"": MARK, "Field": "items.1.price", "Value": NOT_THERE},
    ]
    assert "bold" in table.to_html()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Waiting: it is neither replayed nor discarded."),
        ({"fixed": Bytes(size=5, lines=())}, "It was fixed: a replay sends 5 bytes."),
        ({"state": State.UNFILED}, "Not filed yet"),
        (
            {"state": State.REPLAYED, "changes": (a_change("replayed"),), "replays": (a_replay(1107),)},
            "Replayed as 3:1107 of user_interactions by ana, 2026-11-21 10:31:07 UTC.",
        ),
        (
            {"state": State.REPLAYED, "changes": (a_change("replayed"),), "replays": (a_replay(None),)},
            "it is not known whether Kafka has it",
        ),
        (
            {"state": State.DISCARDED, "changes": (a_change("discarded", '{"reason": "ours"}'),)},
            'Discarded by ana, 2026-11-21 10:31:07 UTC: {"reason": "ours"}',
        ),
    ],
)
def test_what_came_of_it(changes: dict[str, object], said: str) -> None:
    assert said in outcome(a_letter(**changes))


def test_a_list_that_goes_on_says_so_also_where_nothing_is_listed() -> None:
    assert left_out(found_letters(listed=3, more=True)).startswith("These are the newest 3.")
    assert left_out(found_letters(listed=0, more=True)).startswith("None is among the newest letters")


class TestCommands:
    def test_an_open_letter_can_be_fixed_replayed_and_discarded(self) -> None:
        fix, replay, discard, show = commands(a_letter()).values()
        words = shlex.split(fix)
        assert words[:5] == ["etar", "dead-letters", "fix", "3:1042", "--patch"]
        assert json.loads(words[5]) == [{"op": "replace", "path": "/amount", "value": "THE RIGHT VALUE"}]
        assert replay == "etar dead-letters replay 3:1042"
        assert discard == "etar dead-letters discard 3:1042 --reason-text WHY"
        assert show == "etar dead-letters show 3:1042"

    def test_a_field_that_is_not_there_is_added_and_without_one_the_record_is_written_again(self) -> None:
        absent, none = a_letter(there=False), a_letter(pointer=None, field=None)
        assert json.loads(shlex.split(next(iter(commands(absent).values())))[5])[0]["op"] == "add"
        assert shlex.split(next(iter(commands(none).values())))[5] == "[]"

    @pytest.mark.parametrize("name", ["'; rm -rf ~; '", "$(reboot)", "a\nb", "`id`"])
    def test_a_field_of_any_name_is_one_word_for_the_shell(self, name: str) -> None:
        fix = next(iter(commands(a_letter(pointer=f"/{name}")).values()))
        assert "\n" not in fix
        assert json.loads(shlex.split(fix)[5])[0]["path"] == f"/{name}"
        assert len(shlex.split(fix)) == 6

    def test_others_can_be_taken_back(self) -> None:
        replayed, discarded = a_letter(state=State.REPLAYED), a_letter(state=State.DISCARDED, stream="rides")
        assert "etar dead-letters replay 3:1042 --again" in commands(replayed).values()
        assert (
            "etar dead-letters discard 3:1042 --undo --reason-text WHY --stream rides" in commands(discarded).values()
        )
        assert list(commands(a_letter(state=State.UNFILED)).values()) == ["etar dead-letters show 3:1042"]

    def test_all_of_a_day(self) -> None:
        asked = Asked(reason=Reason.TRUNCATED, state=State.OPEN)
        assert list_all("rides", asked, DAY) == (
            "etar dead-letters list --limit 0 --from 2026-11-21T00:00Z --to 2026-11-22T00:00Z "
            "--reason truncated --state open --stream rides"
        )


class TestTheAddress:
    def test_is_read_back(self) -> None:
        asked = Asked(DAY, Reason.TRUNCATED, "items.1.price", State.OPEN, LetterId(3, 1042))
        assert asked_for(asked.address, today=date(2026, 11, 30)) == asked
        assert asked_for({}, today=DAY) == asked_for({"day": f"{DAY}"}, today=DAY) == Asked()

    @pytest.mark.parametrize(
        "address",
        [
            {"day": "2999-01-01"},
            {"day": "noon"},
            {"reason": "bad"},
            {"state": "lost"},
            {"state": "unfiled"},
            {"letter": "three"},
        ],
    )
    def test_that_names_nothing_is_refused(self, address: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=next(iter(address.values()))):
            asked_for(address, today=DAY)

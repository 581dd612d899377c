"""From verdicts to alerts that begin and end, each told once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from etar.alerts.rules import AlertRule, Verdict, rules_of
from etar.alerts.states import Alert, AlertState, Key, Kind, Notice, Silence, advance, merged

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def rule(name: str = "MinutesMissing", patience: str = "1m") -> AlertRule:
    (made,) = rules_of(
        {
            "groups": [
                {
                    "rules": [
                        {
                            "alert": name,
                            "expr": "etar_minutes_missing > 0",
                            "for": patience,
                            "labels": {"severity": "critical"},
                            "annotations": {
                                "summary": "{{ $value }} minutes of {{ $labels.stream }} are missing",
                                "description": "Press `etar status`",
                            },
                        }
                    ]
                }
            ]
        }
    )
    return made


class Looker:
    """Looks again and again, each time some seconds later."""

    def __init__(self, patience: str = "1m") -> None:
        self.rule = rule(patience=patience)
        self.now = NOON
        self.alerts: dict[Key, Alert] = {}
        self.looked_at: datetime | None = None
        self.silences: list[Silence] = []
        self.told: list[Notice] = []

    def look(self, value: float | None, *, after: float = 5, stream: str | None = "rides") -> AlertState | None:
        """State of the alert after a look at this number; None: nobody knows it."""
        self.now += timedelta(seconds=after)
        holds = None if value is None else value > 0
        verdicts = [Verdict(self.rule, {"stream": stream}, holds, value)] if stream else []
        step = advance(self.alerts, verdicts, self.silences, self.now, looked_at=self.looked_at)
        self.alerts, self.looked_at = dict(step.alerts), self.now
        self.told += step.notices
        return self.alert.state if self.alerts else None

    @property
    def alert(self) -> Alert:
        (found,) = self.alerts.values()
        return found

    @property
    def kinds(self) -> list[Kind]:
        return [notice.kind for notice in self.told]

    def silence(self, seconds: float, *, stream: str | None = None, alert: str = "MinutesMissing") -> None:
        until = self.now + timedelta(seconds=seconds)
        self.silences = [Silence(alert=alert, stream=stream, begun_at=self.now, until=until, why="known", by="me")]


@pytest.fixture
def looker() -> Looker:
    return Looker()


def fire(looker: Looker) -> datetime:
    """Have it fire; returns when its condition began."""
    looker.look(0)
    looker.look(3)
    began = looker.now
    looker.look(3, after=30)
    assert looker.look(3, after=30) is AlertState.FIRING
    return began


def test_a_condition_fires_once_it_has_held_for_its_time(looker: Looker) -> None:
    assert looker.look(0) is AlertState.WELL
    assert looker.look(3) is AlertState.PENDING
    began = looker.now
    assert looker.look(3, after=59) is AlertState.PENDING
    assert looker.told == []
    assert looker.look(3, after=1) is AlertState.FIRING
    assert (looker.alert.since, looker.alert.told_at) == (began, looker.now)
    assert looker.kinds == [Kind.START]


def test_one_that_is_over_before_its_time_is_never_told(looker: Looker) -> None:
    looker.look(3)
    looker.look(3, after=59)
    assert looker.look(0, after=0.5) is AlertState.WELL
    # It has to hold for the whole time again.
    assert looker.look(3, after=0.5) is AlertState.PENDING
    assert looker.look(3, after=59) is AlertState.PENDING
    assert looker.told == []


def test_without_a_time_it_fires_at_once() -> None:
    looker = Looker("0s")
    assert looker.look(3) is AlertState.FIRING
    assert looker.kinds == [Kind.START]


def test_start_and_end_are_told_once_however_often_it_is_looked(looker: Looker) -> None:
    began = fire(looker)
    for _ in range(3):
        looker.look(5)
    assert looker.kinds == [Kind.START]
    assert looker.alert.summary == "5 minutes of rides are missing"
    for _ in range(3):
        assert looker.look(0) is AlertState.WELL
    assert looker.kinds == [Kind.START, Kind.END]
    assert looker.told[1].alert.since == began
    fire(looker)
    assert looker.kinds == [Kind.START, Kind.END, Kind.START]
    assert len({notice.id for notice in looker.told}) == 3


def test_a_start_says_what_is_wrong_since_when_and_what_to_press(looker: Looker) -> None:
    fire(looker)
    (start,) = looker.told
    assert start.title == "etar: MinutesMissing of rides"
    assert start.body == (
        "3 minutes of rides are missing.\n"
        "Since 2026-11-21 12:00:10 UTC (etar_minutes_missing > 0; it is 3). Severity: critical.\n"
        "What to do: Press `etar status`"
    )


def test_an_end_says_what_it_was_and_how_long(looker: Looker) -> None:
    fire(looker)
    looker.look(0, after=3600)
    end = looker.told[-1]
    assert end.title == "etar: over: MinutesMissing of rides"
    assert end.body == (
        "It holds no more.\nIt was: 3 minutes of rides are missing.\n"
        "From 2026-11-21 12:00:10 UTC to 2026-11-21 13:01:10 UTC (1 h 1 min)."
    )


def test_what_nobody_knows_ends_nothing(looker: Looker) -> None:
    fire(looker)
    before = looker.alert
    assert looker.look(None) is AlertState.FIRING
    assert looker.alert == before
    looker.look(2)
    assert looker.kinds == [Kind.START]
    looker.look(None)
    looker.look(0)
    assert looker.kinds == [Kind.START, Kind.END]


def test_what_nobody_knows_is_not_well_and_no_time_that_it_held(looker: Looker) -> None:
    looker.look(3)
    assert looker.look(None, after=30) is AlertState.NO_DATA
    assert looker.look(3, after=29) is AlertState.PENDING
    assert looker.look(3, after=59) is AlertState.PENDING
    assert looker.told == []


def test_a_time_in_which_nobody_looked_is_none_that_it_held(looker: Looker) -> None:
    looker.look(3)
    assert looker.look(3, after=61) is AlertState.PENDING
    assert looker.alert.since == looker.now
    fire(looker)
    # One that fires stays so, and was told.
    assert looker.look(3, after=86_400) is AlertState.FIRING
    assert looker.kinds == [Kind.START]


def test_a_stream_that_is_switched_off_ends_its_alert(looker: Looker) -> None:
    fire(looker)
    assert looker.look(None, stream=None) is None
    assert looker.kinds == [Kind.START, Kind.END]
    assert looker.told[-1].body.startswith("It is not looked at any more")


@pytest.mark.parametrize("stream", [None, "rides"])
def test_a_silenced_start_is_not_told_and_is_when_the_silence_ends(looker: Looker, stream: str | None) -> None:
    looker.silence(90, stream=stream)
    began = fire(looker)
    assert (looker.told, looker.alert.told_at) == ([], None)
    looker.look(3, after=30)
    assert looker.kinds == [Kind.START]
    assert looker.told[0].alert.since == began


def test_one_that_comes_and_goes_while_silenced_is_never_told(looker: Looker) -> None:
    looker.silence(600)
    fire(looker)
    looker.look(0)
    looker.silences = []
    looker.look(0)
    assert looker.told == []


def test_whoever_was_told_of_the_start_is_told_of_the_end_also_while_it_is_silenced(looker: Looker) -> None:
    fire(looker)
    looker.silence(600)
    looker.look(0)
    assert looker.kinds == [Kind.START, Kind.END]
    fire(looker)
    assert looker.kinds == [Kind.START, Kind.END]


@pytest.mark.parametrize("other", [{"stream": "sales"}, {"alert": "SinkBehind"}])
def test_a_silence_of_something_else_silences_nothing(looker: Looker, other: dict[str, str]) -> None:
    looker.silence(600, **other)
    fire(looker)
    assert looker.kinds == [Kind.START]


def fired(**changed: object) -> Callable[[], dict[Key, Alert]]:
    def made() -> dict[Key, Alert]:
        looker = Looker()
        fire(looker)
        alert = looker.alert.model_copy(update=changed)
        return {alert.key: alert}

    return made


FIRING = fired()
EARLIER = fired(since=NOON - timedelta(hours=1), told_at=NOON)
WELL = fired(state=AlertState.WELL, told_at=None)
NO_DATA = fired(state=AlertState.NO_DATA, told_at=None)


@pytest.mark.parametrize(
    ("loaded", "memory", "goes_on"),
    [
        # Told by an earlier process, or by this one, or not at all; the end is told of what was told.
        (EARLIER, FIRING, EARLIER),
        (EARLIER, WELL, EARLIER),
        (WELL, FIRING, FIRING),
        (WELL, NO_DATA, WELL),
        (dict, FIRING, FIRING),
        (FIRING, dict, FIRING),
    ],
)
def test_what_goes_on_when_a_store_is_back_that_was_away_at_the_start(
    loaded: Callable[[], dict[Key, Alert]],
    memory: Callable[[], dict[Key, Alert]],
    goes_on: Callable[[], dict[Key, Alert]],
) -> None:
    assert merged(loaded(), memory()) == goes_on()

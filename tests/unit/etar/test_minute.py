"""The window: which instants are in it, what names it, and which intervals are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etar.minute import MINUTE, MinuteWindow, NotOneMinuteError
from etar.streams import default_stream

START = datetime(2025, 8, 9, 10, 30, tzinfo=UTC)
WINDOW = MinuteWindow(START)
TICK = timedelta(microseconds=1)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("instant", "inside"),
    [
        pytest.param(START - TICK, False, id="just before"),
        pytest.param(START, True, id="at the start"),
        pytest.param(START + timedelta(seconds=30), True, id="inside"),
        pytest.param(START + MINUTE - TICK, True, id="just before the end"),
        pytest.param(START + MINUTE, False, id="at the end"),
        pytest.param(START + MINUTE + TICK, False, id="after"),
    ],
)
def test_contains_its_start_and_not_its_end(instant: datetime, inside: bool) -> None:
    assert WINDOW.contains(instant) is inside
    assert (MinuteWindow.containing(instant) == WINDOW) is inside


@given(st.timedeltas(min_value=timedelta(days=-20_000), max_value=timedelta(days=20_000)))
def test_every_instant_is_in_exactly_one_minute(distance: timedelta) -> None:
    instant = START + distance
    window = MinuteWindow.containing(instant)
    assert window.contains(instant)
    assert not window.previous.contains(instant)
    assert not window.next.contains(instant)
    assert window.end == window.next.start
    assert MinuteWindow.parse(str(window)) == window


@pytest.mark.parametrize("zone", [UTC, BERLIN, timezone(timedelta(hours=5, minutes=45))])
def test_an_instant_is_the_same_minute_in_every_zone(zone: tzinfo) -> None:
    window = MinuteWindow(START.astimezone(zone))
    assert window == WINDOW
    assert hash(window) == hash(WINDOW)
    assert window.start.tzinfo is UTC
    assert (window.slug, str(window)) == ("2025-08-09_10-30", "2025-08-09T10:30Z")


def test_the_hour_that_summer_time_repeats_has_two_different_minutes() -> None:
    first = MinuteWindow(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=0))
    second = MinuteWindow(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1))
    assert second.start - first.start == timedelta(hours=1)
    assert [str(first), str(second)] == ["2026-10-25T00:30Z", "2026-10-25T01:30Z"]


def test_the_minutes_around_a_clock_change_follow_one_another_without_a_gap() -> None:
    last_of_summer = MinuteWindow(datetime(2026, 10, 25, 2, 59, tzinfo=BERLIN, fold=0))
    assert last_of_summer.next == MinuteWindow(datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN, fold=1))


@pytest.mark.parametrize(
    "text",
    ["2025-08-09T10:30Z", "2025-08-09T10:30:00+00:00", "2025-08-09 10:30", "2025-08-09T12:30+02:00"],
)
def test_parse_takes_any_iso_form_and_means_utc_where_none_is_said(text: str) -> None:
    assert MinuteWindow.parse(text) == WINDOW


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2025-08-09T10:30:01Z", "is not the start of a minute"),
        ("2025-08-09T10:30:00.000001Z", "is not the start of a minute"),
        ("yesterday", "write it like 2026-11-21T10:31Z"),
        ("", "write it like 2026-11-21T10:31Z"),
    ],
)
def test_parse_refuses_what_is_not_a_minute(text: str, said: str) -> None:
    with pytest.raises(NotOneMinuteError, match=said):
        MinuteWindow.parse(text)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(NotOneMinuteError, match="has no time zone"):
        MinuteWindow(datetime(2025, 8, 9, 10, 30))  # noqa: DTZ001


def test_windows_sort_by_time_and_so_do_their_slugs() -> None:
    windows = [WINDOW.next.next, WINDOW, WINDOW.next]
    assert sorted(windows) == [WINDOW, WINDOW.next, WINDOW.next.next]
    assert [w.slug for w in sorted(windows)] == sorted(w.slug for w in windows)


def test_between_has_its_first_and_not_its_end() -> None:
    assert list(MinuteWindow.between(WINDOW, WINDOW.next.next)) == [WINDOW, WINDOW.next]
    assert list(MinuteWindow.between(WINDOW, WINDOW)) == []


def test_a_runs_interval_is_its_minute() -> None:
    assert MinuteWindow.from_data_interval(START, START + MINUTE, dag_id="etar_pipeline") == WINDOW


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(None, None, id="none: triggered without a logical date"),
        pytest.param(START, None, id="no end"),
        pytest.param(START, START, id="zero width"),
        pytest.param(START, START - MINUTE, id="backwards"),
        pytest.param(START, START + MINUTE - TICK, id="too short"),
        pytest.param(START, START + 2 * MINUTE, id="two minutes"),
        pytest.param(START + timedelta(seconds=30), START + timedelta(seconds=90), id="a minute long, not aligned"),
        pytest.param(START + TICK, START + MINUTE + TICK, id="not aligned by a microsecond"),
    ],
)
def test_any_other_interval_is_refused_with_how_to_ask(start: datetime | None, end: datetime | None) -> None:
    with pytest.raises(NotOneMinuteError, match="airflow dags test etar_pipeline_payments") as refused:
        MinuteWindow.from_data_interval(start, end, dag_id="etar_pipeline_payments")
    assert "data interval" in str(refused.value)


def test_the_object_keys_of_a_minute_are_fixed() -> None:
    assert default_stream().extract_key(WINDOW) == "extracts/user_interactions/2025-08-09_10-30.parquet"
    assert default_stream().result_key(WINDOW) == "results/user_interactions/2025-08-09_10-30.json"


@pytest.mark.parametrize(
    ("microseconds", "minute"),
    [(-1, "10:31"), (0, "10:31"), (1, "10:32"), (59_999_999, "10:32"), (60_000_000, "10:32")],
)
def test_the_first_minute_at_or_after_an_instant(microseconds: int, minute: str) -> None:
    instant = datetime(2026, 11, 21, 10, 31, tzinfo=UTC) + timedelta(microseconds=microseconds)
    assert str(MinuteWindow.first_at_or_after(instant)) == f"2026-11-21T{minute}Z"

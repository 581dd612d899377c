from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from dashboard.ui.client import MadeOnce
from dashboard.ui.letters_view import figure
from dashboard.ui.live_view import drawn
from dashboard.ui.minutes_view import calendar
from dashboard.ui.stream_view import account, charts
from dashboard.ui.times import IN_UTC, Clock

OTHERS = (("plain", IN_UTC), ("rides", Clock.of("Asia/Kolkata")))
MONDAY, TUESDAY = date(2025, 11, 17), date(2025, 11, 18)


@pytest.mark.parametrize(
    ("made", "first", "other"),
    [
        *((made, ("rides", IN_UTC), other) for made in (charts, account, drawn) for other in OTHERS),
        (calendar, ("rides", MONDAY), ("plain", MONDAY)),
        (calendar, ("rides", MONDAY), ("rides", TUESDAY)),
        (figure, ("rides", MONDAY, ()), ("plain", MONDAY, ())),
        (figure, ("rides", MONDAY, ()), ("rides", TUESDAY, ())),
        (figure, ("rides", MONDAY, ()), ("rides", MONDAY, (("reason", "truncated"),))),
    ],
)
def test_what_two_viewers_look_at_is_not_made_anew_for_each_in_turn(
    made: Callable[..., MadeOnce[Any, Any]], first: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    assert made(*first) is made(*first)
    assert made(*first) is not made(*other)

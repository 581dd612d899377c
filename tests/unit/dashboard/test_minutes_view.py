from __future__ import annotations

from datetime import date, timedelta

import pytest
import streamlit as st

from dashboard.ui.minutes_view import Choice
from etar.minute import MinuteWindow

pytestmark = pytest.mark.usefixtures("session")


def test_a_widget_of_an_earlier_choice_does_not_take_a_later_one_back() -> None:
    first = Choice("rides")
    yesterday = first.today - timedelta(days=1)
    st.session_state[first.day_key] = first.today
    first.choose_day(yesterday)

    first.chosen()
    assert Choice("rides").day == yesterday
    assert dict(st.query_params) == {"day": f"{yesterday}"}


def test_what_the_widgets_say_is_the_next_choice() -> None:
    first = Choice("rides")
    st.session_state[first.day_key] = date(2026, 11, 20)
    first.chosen()
    second = Choice("rides")
    assert (second.day, second.at) == (date(2026, 11, 20), None)

    window = MinuteWindow.parse("2026-11-20T22:10Z")
    st.session_state[second.day_key] = second.day
    st.session_state[second.minute_key] = window.start.time()
    second.chosen()
    assert Choice("rides").window == window
    assert dict(st.query_params) == {"day": "2026-11-20", "minute": "22:10"}


def test_an_address_that_is_not_understood_is_said_at_each_refresh_until_something_is_chosen() -> None:
    st.query_params.update({"day": "2999-01-01"})
    assert "has not begun" in (Choice("rides").refused.text or "")
    assert "has not begun" in (Choice("rides").refused.text or "")

    Choice("rides").choose_day(date(2026, 11, 20))
    assert Choice("rides").refused.text is None

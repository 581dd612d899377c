from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace

import pytest
import streamlit as st

from dashboard.ui.letters_view import Choice
from etar.dead_letters import Reason
from etar.dead_letters.letters import LetterId

pytestmark = pytest.mark.usefixtures("session")


def test_a_widget_of_an_earlier_choice_does_not_take_a_later_one_back() -> None:
    first = Choice("rides")
    yesterday = first.today - timedelta(days=1)
    st.session_state[first.key("day")] = first.today
    st.session_state[first.key("letter")] = "3:1042"
    first.choose_day(yesterday)

    first.chosen("day")
    first.chosen_letter()
    assert (Choice("rides").day, Choice("rides").asked.letter) == (yesterday, None)
    assert dict(st.query_params) == {"day": f"{yesterday}"}


def test_what_the_widgets_say_is_the_next_choice_and_stands_in_the_address() -> None:
    first = Choice("rides")
    st.session_state[first.key("reason")] = Reason.TRUNCATED
    first.chosen("reason")
    second = Choice("rides")
    st.session_state[second.key("letter")] = " 3:1042 "
    second.chosen_letter()

    assert Choice("rides").asked.letter == LetterId(3, 1042)
    assert dict(st.query_params) == {"reason": "truncated", "letter": "3:1042"}

    third = Choice("rides")
    st.session_state[third.key("reason")] = None
    third.chosen("reason")
    assert dict(st.query_params) == {"letter": "3:1042"}


def test_the_row_that_is_clicked_on_is_the_letter_and_a_second_click_takes_nothing_back() -> None:
    first = Choice("rides")
    listed = [LetterId(0, 1), LetterId(0, 2)]
    st.session_state[first.key("table")] = SimpleNamespace(selection=SimpleNamespace(rows=[1]))
    first.choose_row(listed)
    second = Choice("rides")
    assert second.asked.letter == LetterId(0, 2)
    assert second.key("table") == first.key("table")

    st.session_state[second.key("table")].selection.rows = []
    second.choose_row(listed)
    assert Choice("rides").asked.letter == LetterId(0, 2)


def test_a_name_that_is_none_is_said_until_something_is_chosen() -> None:
    first = Choice("rides")
    st.session_state[first.key("letter")] = "three"
    first.chosen_letter()
    assert "PARTITION:OFFSET" in (Choice("rides").refused.text or "")

    Choice("rides").choose_day(date(2026, 11, 20))
    assert Choice("rides").refused.text is None


def test_an_address_that_is_not_understood_is_said() -> None:
    st.query_params.update({"reason": "bad", "day": "2026-11-20"})
    assert "not understood" in (Choice("rides").refused.text or "")
    assert Choice("rides").day == Choice("rides").today

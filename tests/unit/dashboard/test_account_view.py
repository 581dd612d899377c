from __future__ import annotations

import pytest
import streamlit as st

from dashboard.ui.account_view import Choice

pytestmark = pytest.mark.usefixtures("session")


def test_an_address_that_is_not_understood_is_said_at_each_refresh_until_something_is_chosen() -> None:
    st.query_params.update({"hours": "7"})
    assert "is no number of hours" in (Choice("rides").refused.text or "")
    assert "is no number of hours" in (Choice("rides").refused.text or "")

    Choice("rides").keep(6, None)
    assert Choice("rides").refused.text is None
    assert (Choice("rides").hours, dict(st.query_params)) == (6, {"hours": "6"})

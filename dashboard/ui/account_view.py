"""The page of a stream's account: whether each record of Kafka is accounted for, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui import flow
from dashboard.ui.client import Snapshot
from dashboard.ui.feeds import account_feed, now
from dashboard.ui.page_parts import (
    Refused,
    asked,
    link_to_reports,
    set_address,
    show_last_answer,
    show_notice,
    show_text,
)
from etar.account import Account, Answer
from etar.minute import MinuteWindow
from etar.settings import DashboardSettings, get_settings


def show(stream: str, title: str, pages: Mapping[str, StreamlitPage]) -> None:
    """The page. ``pages``: by their paths; a stream's is its name."""
    st.title(f"etar · account of {title}", anchor=False)
    link_to_reports(stream, title, pages)
    _live(stream)


class Choice:
    """The range that a viewer looks at: of the session, and in the page's address, which may be sent to somebody."""

    def __init__(self, stream: str) -> None:
        self._key = f"{stream}-account-choice"
        self.refused = Refused(self._key)
        state, given = st.session_state, st.query_params
        if self._key not in state:
            try:
                state[self._key] = flow.asked_for(given.get("hours"), given.get("to"), now=now())
            except ValueError as error:
                self.refused.say_of_address(error)
                state[self._key] = flow.asked_for(None, None, now=now())
        self.hours: int
        self.end: MinuteWindow | None
        self.hours, self.end = state[self._key]

    def keep(self, hours: int, end: MinuteWindow | None) -> None:
        """Of the session, and in the address. ``end``: None for the newest."""
        self.refused.forget()
        st.session_state[self._key] = (hours, end)
        set_address("hours", f"{hours}")
        set_address("to", None if end is None else f"{end}")


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live(stream: str) -> None:
    choice = Choice(stream)
    range_row = st.container(horizontal=True, vertical_alignment="bottom", key="choose-range")
    choice.refused.show()
    feed = account_feed(stream, choice.hours, choice.end)
    snapshot = asked(feed, "Reading the books of the audit and of the reports …", height=420)
    show_notice(flow.notice(snapshot))
    account = snapshot.newest
    with range_row:
        _choose(choice, account)
    if account is None or account.verified_through is None:
        return
    _show(snapshot, account)
    show_last_answer(snapshot.taken_at, stream)


def _choose(choice: Choice, account: Account | None) -> None:
    span = timedelta(hours=choice.hours)
    shown = choice.end or (MinuteWindow(account.end) if account else None)
    later = None if choice.end is None else MinuteWindow(choice.end.start + span)
    for hours, name in flow.SPANS.items():
        st.button(
            name,
            type="primary" if hours == choice.hours else "secondary",
            on_click=choice.keep,
            args=(hours, choice.end),
            key=f"span-{hours}",
        )
    earlier = None if shown is None else MinuteWindow(shown.start - span)
    st.button("Earlier", on_click=choice.keep, args=(choice.hours, earlier), disabled=earlier is None)
    if later is not None and later.start > now():
        later = None
    st.button("Later", on_click=choice.keep, args=(choice.hours, later), disabled=choice.end is None)
    st.button("Newest", on_click=choice.keep, args=(choice.hours, None), disabled=choice.end is None)


def _show(snapshot: Snapshot[Account], account: Account) -> None:
    verdict = flow.verdict(snapshot)
    if verdict is None:
        return
    with st.container(key="answer"):
        if verdict.answer is Answer.EXACT:
            st.success(verdict.text, icon=":material/check_circle:")
        elif verdict.answer is Answer.DIFFERENT:
            st.error(verdict.text, icon=":material/error:")
        else:
            st.warning(verdict.text, icon=":material/help:")
    st.caption(flow.told(account))
    if not account.partitions:
        return
    with st.container(border=True, key="flow"):
        st.header("From Kafka to reports", anchor=False)
        st.html(flow.drawing(account))
    with st.container(border=True, key="partitions"):
        st.header("By partition", anchor=False)
        st.html(flow.partitions_table(account))
    if account.answer is Answer.DIFFERENT:
        _show_command(account)


def _show_command(account: Account) -> None:
    if account.command is None:
        st.markdown("The table no longer has these minutes: `etar verify` cannot compare them any more.")
        return
    st.markdown("**Name the records**, and with `--repair` put right what can be:")
    show_text(account.command)

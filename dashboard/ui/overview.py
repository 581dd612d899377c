"""The overview: a line a stream, with its newest minute, what is worst about it, and how far it is verified."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui.feeds import now, reports_feed, standings, streams_feed
from dashboard.ui.page_parts import viewers_clock
from dashboard.ui.standing import delay, summary, verified, worst
from etar.settings import DashboardAddress, DashboardSettings, get_settings
from etar.stream_code import headline

SPARK_MINUTES = 60
"""Of the line beside the number of events."""


def live_path(stream: str) -> str:
    """Where the page of a stream's live windows is. No stream's name has a hyphen."""
    return f"{stream}-live"


def show(pages: Mapping[str, StreamlitPage]) -> None:
    """The page. ``pages``: by their paths; a stream's is its name."""
    st.title("etar · streams", anchor=False)
    _live(pages)


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live(pages: Mapping[str, StreamlitPage]) -> None:
    if (problem := streams_feed().poll().problem) is not None:
        st.error(problem, icon=":material/cloud_off:")
    shown = standings()
    overdue_after = timedelta(seconds=get_settings(DashboardSettings).overdue_seconds)
    found = {each.name: worst(each, now=now(), overdue_after=overdue_after) for each in shown}
    st.markdown(summary({each.title: found[each.name] for each in shown}))
    for each in shown:
        with st.container(border=True, key=f"stream-{each.name}"):
            name, standing, events, newest = st.columns([2, 4, 3, 4], vertical_alignment="center")
            if each.name in pages:
                name.page_link(pages[each.name], label=f"**{each.title}**")
            if each.windows is not None and (page := pages.get(live_path(each.name))) is not None:
                name.page_link(page, label=each.windows, icon=":material/bolt:")
            if (page := pages.get(DashboardAddress.minutes_path(each.name))) is not None:
                name.page_link(page, label="Minutes", icon=":material/calendar_view_month:")
            if (page := pages.get(DashboardAddress.account_path(each.name))) is not None:
                name.page_link(page, label="Account", icon=":material/balance:")
            if (page := pages.get(DashboardAddress.dead_letters_path(each.name))) is not None:
                name.page_link(page, label="Dead letters", icon=":material/mark_email_unread:")
            standing.markdown(found[each.name].markdown())
            standing.caption(verified(each))
            reports = reports_feed(each.name).poll()
            if reports.newest is None:
                newest.markdown("no report yet")
                continue
            spark = [report.total_events for report in reports.items[-SPARK_MINUTES:]]
            events.metric("events a minute", f"{reports.newest.total_events:,}", chart_data=spark)
            newest.markdown(f"{reports.newest.window} · {headline(reports.newest)}")
            here = viewers_clock().beside(reports.newest.minute)
            newest.caption(delay(reports.newest) + (f" · {here}" if here else ""))

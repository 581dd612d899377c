"""The overview: a line a stream, with its newest minute and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui import freshness
from dashboard.ui.client import StreamStanding
from dashboard.ui.feeds import now, reports_feed, standings, streams_feed
from etar.minute import MinuteWindow
from etar.settings import DashboardSettings, get_settings
from etar.stream_code import headline


def show(pages: Mapping[str, StreamlitPage]) -> None:
    """The page. ``pages``: of each stream, by its name."""
    st.title("etar · streams", anchor=False)
    _live(pages)


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live(pages: Mapping[str, StreamlitPage]) -> None:
    if (problem := streams_feed().poll().problem) is not None:
        st.error(problem, icon=":material/cloud_off:")
    for each in standings():
        with st.container(border=True, key=f"stream-{each.name}"):
            name, newest, standing = st.columns([2, 4, 4], vertical_alignment="center")
            if each.name in pages:
                name.page_link(pages[each.name], label=f"**{each.title}**")
            newest.markdown(_newest(each))
            standing.markdown(_standing(each))


def _newest(stream: StreamStanding) -> str:
    newest = reports_feed(stream.name).poll().newest
    return "no report yet" if newest is None else f"{newest.window} · {headline(newest)}"


def _standing(stream: StreamStanding) -> str:
    """How it stands, in words; a color only beside them."""
    if stream.fault is not None:
        return f":red[fault] {stream.fault}"
    if stream.newest_minute is None:
        return ":orange[waiting for its first minute]"
    age = now() - MinuteWindow(stream.newest_minute).end
    said = f"newest minute ended {freshness.words(age)} ago"
    if age > timedelta(seconds=get_settings(DashboardSettings).overdue_seconds):
        return f":orange[overdue] {said}"
    return f":green[fresh] {said}"

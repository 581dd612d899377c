"""What several pages show in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui.client import Feed, Snapshot
from dashboard.ui.drawing import Shown
from dashboard.ui.freshness import Level, Notice
from dashboard.ui.times import Clock

CHART = {"displayModeBar": False}

_Item = TypeVar("_Item")


def plain(text: str) -> str:
    """Text of anybody's as Markdown that shows it as it is."""
    return "".join(f"\\{each}" if each in "\\`*_{}[]()#+-.!|<>~$:^&" else each for each in text)


def asked(feed: Feed[_Item], doing: str, *, height: int) -> Snapshot[_Item]:
    """What a feed has to say. Who waits for its first answer sees that.

    The place is taken in any case: where it came and went, all below it would move, and until the run has ended a page
    would have each of its buttons twice.
    """
    with st.container():
        if feed.has_answered:
            return feed.poll()
        # A place for each: Streamlit 1.67 shows of two transients in one place the one whose timer ended last.
        words, shape = st.container(), st.container()
        with words, st.spinner(doing, show_time=True), shape, st.skeleton(height=height):
            return feed.poll()


class Refused:
    """What was given last, and cannot be looked at: of the session, and said at each refresh until it is forgotten.

    Args:
        key: of the choice that it was given for.
    """

    def __init__(self, key: str) -> None:
        self._key = f"{key}-refused"

    @property
    def text(self) -> str | None:
        return st.session_state.get(self._key)

    def say(self, text: str) -> None:
        st.session_state[self._key] = text

    def say_of_address(self, error: ValueError) -> None:
        self.say(f"The address of this page is not understood: {error}.")

    def forget(self) -> None:
        """Something else was chosen."""
        st.session_state.pop(self._key, None)

    def show(self) -> None:
        if self.text:
            st.warning(plain(self.text), icon=":material/link_off:")


def link_to_reports(stream: str, title: str, pages: Mapping[str, StreamlitPage]) -> None:
    """Of a page that is about the same stream. ``pages``: by their paths; a stream's is its name."""
    if stream in pages:
        st.page_link(pages[stream], label=f"Reports of {title}", icon=":material/arrow_back:")


def show_last_answer(taken_at: datetime | None, stream: str) -> None:
    """When the API answered last, by the viewer's clock; None: not yet."""
    if taken_at is not None:
        with st.container(key="last-updated"):
            st.caption(f"API last answered {viewers_clock().said(taken_at)} · stream {stream}")


def show_text(text: str) -> None:
    """A command or a message, to be copied. In the colors of a language it would be too pale to read (WCAG 2 AA), and
    a line that is not wrapped would be scrolled by mouse alone."""
    st.code(text, language=None, wrap_lines=True)


def set_address(name: str, value: str | None) -> None:
    """Of the page's address, the part after the question mark; None takes it out."""
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


def viewers_clock() -> Clock:
    """Of who looks at the page, as the browser says."""
    return Clock.of(st.context.timezone)


def show_notice(notice: Notice | None) -> None:
    """What is wrong, if anything, above all else."""
    with st.container(key="notice"):
        if notice is None:
            return
        show = {
            Level.INFO: partial(st.info, icon=":material/hourglass_empty:"),
            Level.WARNING: partial(st.warning, icon=":material/schedule:"),
            Level.ERROR: partial(st.error, icon=":material/cloud_off:"),
        }[notice.level]
        show(notice.text)


_ROOM, _BORDERS, _DIGIT = 1120, 50, 19
"""Pixels: of a page of ordinary width, around a number, of a digit."""
_WIDE = 265
"""Of which four have room."""


def show_metrics(metrics: Iterable[Shown]) -> None:
    """Numbers side by side, in several rows where a row would cut one off."""
    shown = list(metrics)
    longest = max((len(each.value) for each in shown), default=0)
    fit = len(shown) * (_BORDERS + longest * _DIGIT) <= _ROOM
    with st.container(key="metrics", horizontal=True):
        for each in shown:
            with st.container(key=f"metric-{each.key}", width="stretch" if fit else _WIDE):
                # Whether more is better is the reader's to know: no color, and no arrow beside the sign.
                st.metric(
                    each.name,
                    each.value,
                    each.change or None,
                    delta_color="off",
                    delta_arrow="off",
                    help=each.about or None,
                    border=True,
                )

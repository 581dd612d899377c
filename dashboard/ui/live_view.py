"""The page of a stream's live windows: its newest window in numbers and bars, the last ones as lines and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st

from dashboard.ui import drawing, live
from dashboard.ui.client import MadeOnce
from dashboard.ui.feeds import now, windows_feed
from dashboard.ui.page_parts import CHART, show_metrics, show_notice, viewers_clock
from dashboard.ui.times import Clock
from etar.settings import DashboardSettings, get_settings
from etar.windows import StreamWindows

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


@dataclass(frozen=True)
class Drawn:
    """What an answer with windows comes to on the page."""

    metrics: Sequence[drawing.Shown]
    bars: go.Figure
    lines: go.Figure
    table: Styler

    @classmethod
    def of(cls, answers: Sequence[StreamWindows], *, clock: Clock) -> Drawn:
        shown = answers[-1]
        return cls(live.metrics(shown, clock), live.bars(shown), live.lines(shown, clock), live.table(shown, clock))


# Made once for all viewers in a time zone, however often they look; as in stream_view, without a _ before what is part
# of the key.
@st.cache_resource(show_spinner=False, max_entries=60)
def drawn(stream: str, clock: Clock) -> MadeOnce[StreamWindows, Drawn]:  # noqa: ARG001
    return MadeOnce(partial(Drawn.of, clock=clock))


def show(stream: str, title: str) -> None:
    """The page."""
    st.title(f"etar · {title}", anchor=False)
    st.caption(
        "As the stream's job counts it, within seconds. Hatched bars, shaded windows and grey rows are still streamed; "
        "the others are final: their minute's report has said the same from the table."
    )
    _live(stream)


@st.fragment(run_every=get_settings(DashboardSettings).live_seconds)
def _live(stream: str) -> None:
    snapshot, clock = windows_feed(stream).poll(), viewers_clock()
    still_after = timedelta(seconds=get_settings(DashboardSettings).overdue_seconds)
    show_notice(live.notice(snapshot, clock, now=now(), still_after=still_after))
    shown = snapshot.newest
    if shown is None or not shown.windows:
        return
    made = drawn(stream, clock).of(snapshot.items)
    show_metrics(made.metrics)
    newest = shown.windows[-1]
    with st.container(key="last-updated"):
        updated = max(window.updated_at for window in shown.windows)
        st.caption(f"Last updated {clock.said(updated)} · stream {stream}")
    left, right = st.columns([4, 5], gap="medium")
    with left, st.container(border=True, key="newest-window"):
        st.header(f"Window {newest.start:%H:%M} UTC by {shown.by} · {live.state(newest)}", anchor=False)
        alt = drawing.bars_in_words(f"The newest window by {shown.by}", made.bars)
        st.plotly_chart(made.bars, key="newest-window-chart", config=CHART, alt=alt)
    with right, st.container(border=True, key="windows-over-time"):
        st.header(f"Last {len(shown.windows):,} windows", anchor=False)
        alt = f"The windows over time, in total and by {shown.by}; the table below has them in numbers."
        st.plotly_chart(made.lines, key="windows-over-time-chart", config=CHART, alt=alt)
    with st.container(border=True, key="windows"):
        st.header("Windows, stream beside report", anchor=False)
        numbers = {name: st.column_config.TextColumn(alignment="right") for name in made.table.columns[2:]}
        st.dataframe(
            made.table,
            key="windows-table",
            hide_index=True,
            height=390,
            column_config=numbers,
            alt="Windows, stream beside report",
        )

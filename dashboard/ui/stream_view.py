"""The page of one stream: its newest minute in numbers, its charts, and the account of its minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui import accounting, drawing, figures, freshness, page_parts
from dashboard.ui.client import MadeOnce, Snapshot
from dashboard.ui.feeds import minutes_feed, now, reports_feed
from dashboard.ui.times import Clock
from etar.ledger import LedgerEntry
from etar.page import Page, page_of
from etar.report import PublishedReport
from etar.settings import DashboardAddress, DashboardSettings, get_settings
from etar.stream_code import StreamCodeError, stream_page
from etar.streams import DEFAULT_STREAM, catalogue

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

_HISTORY = timedelta(minutes=get_settings(DashboardSettings).history_minutes)


@dataclass(frozen=True)
class Charts:
    """What the reports come to on the page. ``fault``: why the folder's own page is not what is shown."""

    page: Page
    fault: str | None
    span: timedelta
    drawn: Sequence[drawing.Drawn]

    @classmethod
    def of(cls, reports: Sequence[PublishedReport], *, clock: Clock) -> Charts:
        newest = reports[-1]
        recent = figures.recent(reports, _HISTORY)
        # A SELECT over no events says nothing: what a report has is seen of the newest that has something.
        page, fault = _page(next((each for each in reversed(recent) if each.body), newest))
        return cls(page, fault, newest.window.end - recent[0].minute, drawing.charts(page, recent, clock))


@dataclass(frozen=True)
class Account:
    """What the ledger's minutes come to on the page."""

    minutes: Sequence[accounting.Accounted]
    summary: str
    figure: go.Figure
    table: Styler

    @classmethod
    def of(cls, entries: Sequence[LedgerEntry], *, clock: Clock) -> Account:
        minutes = accounting.accounted(figures.recent(entries, _HISTORY))
        figure, table = accounting.figure(minutes, clock), accounting.table(minutes, clock)
        return cls(minutes, accounting.summary(minutes), figure, table)


# A figure over a day of minutes takes longer to make than to send: once for all viewers in a time zone. The stream is
# part of the key: called _stream, Streamlit would leave it out, and all streams would have one.
@st.cache_resource(show_spinner=False, max_entries=60)
def charts(stream: str, clock: Clock) -> MadeOnce[PublishedReport, Charts]:  # noqa: ARG001
    return MadeOnce(partial(Charts.of, clock=clock))


@st.cache_resource(show_spinner=False, max_entries=60)
def account(stream: str, clock: Clock) -> MadeOnce[LedgerEntry, Account]:  # noqa: ARG001
    return MadeOnce(partial(Account.of, clock=clock))


def show(stream: str, pages: Mapping[str, StreamlitPage]) -> None:
    """The page. ``pages``: by their paths."""
    found = catalogue().streams.get(stream)
    title = "one report a minute" if stream == DEFAULT_STREAM or found is None else found.title
    st.title(f"etar · {title}", anchor=False)
    if found is not None and found.about:
        st.caption(found.about)
    with st.container(horizontal=True):
        if (page := pages.get(DashboardAddress.minutes_path(stream))) is not None:
            st.page_link(page, label="Minutes", icon=":material/calendar_view_month:")
        if (page := pages.get(DashboardAddress.account_path(stream))) is not None:
            st.page_link(page, label="Account", icon=":material/balance:")
        if (page := pages.get(DashboardAddress.dead_letters_path(stream))) is not None:
            st.page_link(page, label="Dead letters", icon=":material/mark_email_unread:")
    _live(stream)


def _page(report: PublishedReport) -> tuple[Page, str | None]:
    stream = catalogue().streams.get(report.stream)
    try:
        page = stream_page(stream) if stream else None
    except StreamCodeError as error:
        return page_of(report.body), str(error)
    return page or page_of(report.body), None


def show_metrics(page: Page, reports: Sequence[PublishedReport], clock: Clock) -> None:
    report = reports[-1]
    window, here = report.window, clock.beside(report.minute) or ""
    metrics = [
        drawing.Shown("minute", "Minute (UTC)", f"{report.minute:%H:%M}", f"[{window}, {window.next})", here),
        *drawing.metrics(page, reports),
        drawing.Shown(
            "revision", "Revision", f"{report.revision}", "Above 1: late events changed this minute's report"
        ),
    ]
    page_parts.show_metrics(metrics)


def show_charts(made: Charts) -> None:
    if made.fault is not None:
        st.warning(f"This page is made of the report alone: {made.fault}", icon=":material/build:")
    places = [place for _ in range(0, len(made.drawn), 2) for place in st.columns(2, gap="medium")]
    for place, drawn in zip(places, made.drawn, strict=False):
        with place, st.container(border=True, key=drawn.key):
            st.header(drawn.title or f"Last {freshness.words(made.span)}", anchor=False)
            if drawn.figure is not None:
                st.plotly_chart(drawn.figure, key=f"{drawn.key}-chart", config=page_parts.CHART, alt=drawn.alt)
            else:
                st.dataframe(drawn.rows, key=f"{drawn.key}-table", hide_index=True, placeholder="-", alt=drawn.title)


def show_accounting(stream: str, snapshot: Snapshot[LedgerEntry], clock: Clock) -> None:
    made = account(stream, clock).of(snapshot.items)
    if not made.minutes and snapshot.problem is None:
        return
    with st.container(border=True, key="accounting"):
        st.header("Accounting", anchor=False)
        if snapshot.problem is not None:
            st.caption(f"The ledger cannot be read: {snapshot.problem}")
        if not made.minutes:
            return
        st.caption(made.summary)
        left, right = st.columns([4, 5], gap="medium")
        with left:
            st.plotly_chart(
                made.figure,
                key="accounting-chart",
                config=page_parts.CHART,
                alt="Each minute's standing, duplicates, late events and dead letters; the table has them in numbers.",
            )
        with right:
            st.dataframe(
                made.table,
                key="accounting-table",
                hide_index=True,
                height=390,
                placeholder="-",
                alt="The account of each minute",
            )


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live(stream: str) -> None:
    snapshot, clock = reports_feed(stream).poll(), page_parts.viewers_clock()
    overdue_after = timedelta(seconds=get_settings(DashboardSettings).overdue_seconds)
    page_parts.show_notice(freshness.notice(snapshot, clock, now=now(), overdue_after=overdue_after))
    newest = snapshot.newest
    if newest is not None and snapshot.taken_at is not None:
        made = charts(stream, clock).of(snapshot.items)
        show_metrics(made.page, snapshot.items, clock)
        with st.container(key="last-updated"):
            st.caption(
                f"{freshness.published(newest, clock)} · API last answered {clock.said(snapshot.taken_at)} · "
                f"stream {newest.stream}"
            )
        show_charts(made)
    # While the API is away, the notice above says so for both.
    minutes = minutes_feed(stream).poll()
    show_accounting(stream, minutes if snapshot.problem is None else replace(minutes, problem=None), clock)

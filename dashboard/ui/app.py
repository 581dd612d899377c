"""The page: ``streamlit run dashboard/ui/app.py``. Arranges what the client, freshness and figures give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from dashboard.ui import accounting, figures, freshness, interactions
from dashboard.ui.client import Feed, MadeOnce, ReportClient, Snapshot
from etar.ledger import LedgerEntry
from etar.report import PublishedReport
from etar.settings import DashboardSettings, ReportReadSettings, get_settings

_CHART = {"displayModeBar": False}
HISTORY = timedelta(minutes=get_settings(DashboardSettings).history_minutes)
# Less than a refresh: a timer that is early must not be given the answer before.
FRESH_FOR = timedelta(seconds=0.8 * get_settings(DashboardSettings).refresh_seconds)


def now() -> datetime:
    return datetime.now(UTC)


@st.cache_resource(show_spinner=False)
def client() -> ReportClient:
    return ReportClient(get_settings(ReportReadSettings))


# One feed of each for all viewers: the API is asked once a refresh however many there are, and who comes while it is
# away still sees its last answer.
@st.cache_resource(show_spinner=False)
def reports_feed() -> Feed[PublishedReport]:
    return Feed(partial(client().newest, get_settings(DashboardSettings).history_minutes), now, fresh_for=FRESH_FOR)


@st.cache_resource(show_spinner=False)
def minutes_feed() -> Feed[LedgerEntry]:
    newest = partial(client().newest_minutes, get_settings(DashboardSettings).history_minutes)
    return Feed(newest, now, fresh_for=FRESH_FOR)


@dataclass(frozen=True)
class Charts:
    """What the reports come to on the page."""

    span: timedelta
    event_types: go.Figure
    history: go.Figure

    @classmethod
    def of(cls, reports: Sequence[PublishedReport]) -> Charts:
        newest = reports[-1]
        recent = figures.recent(reports, HISTORY)
        return cls(newest.window.end - recent[0].minute, interactions.event_types(newest), interactions.history(recent))


@dataclass(frozen=True)
class Account:
    """What the ledger's minutes come to on the page."""

    minutes: Sequence[accounting.Accounted]
    summary: str
    figure: go.Figure

    @classmethod
    def of(cls, entries: Sequence[LedgerEntry]) -> Account:
        minutes = accounting.accounted(figures.recent(entries, HISTORY))
        return cls(minutes, accounting.summary(minutes), accounting.figure(minutes))


# A figure over a day of minutes takes longer to make than to send: once for all viewers.
@st.cache_resource(show_spinner=False)
def charts() -> MadeOnce[PublishedReport, Charts]:
    return MadeOnce(Charts.of)


@st.cache_resource(show_spinner=False)
def account() -> MadeOnce[LedgerEntry, Account]:
    return MadeOnce(Account.of)


def show_notice(snapshot: Snapshot[PublishedReport]) -> None:
    overdue_after = timedelta(seconds=get_settings(DashboardSettings).overdue_seconds)
    notice = freshness.notice(snapshot, now=now(), overdue_after=overdue_after)
    with st.container(key="notice"):
        if notice is None:
            return
        show = {
            freshness.Level.INFO: partial(st.info, icon=":material/hourglass_empty:"),
            freshness.Level.WARNING: partial(st.warning, icon=":material/schedule:"),
            freshness.Level.ERROR: partial(st.error, icon=":material/cloud_off:"),
        }[notice.level]
        show(notice.text)


def show_metrics(report: PublishedReport) -> None:
    window = report.window
    metrics = [
        interactions.Metric("minute", "Minute (UTC)", f"{report.minute:%H:%M}", f"[{window}, {window.next})"),
        *interactions.metrics(report),
        interactions.Metric(
            "revision", "Revision", f"{report.revision}", "Above 1: late events changed this minute's report"
        ),
    ]
    with st.container(key="metrics", horizontal=True):
        for key, name, value, meaning in metrics:
            with st.container(key=f"metric-{key}", width="stretch"):
                st.metric(name, value, help=meaning, border=True)


def show_charts(reports: tuple[PublishedReport, ...]) -> None:
    made = charts().of(reports)
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, key="event-types"):
        st.subheader("Newest minute by event type", anchor=False)
        st.plotly_chart(made.event_types, key="event-types-chart", config=_CHART)
    with right, st.container(border=True, key="history"):
        st.subheader(f"Last {freshness.words(made.span)}", anchor=False)
        st.plotly_chart(made.history, key="history-chart", config=_CHART)


def show_accounting(snapshot: Snapshot[LedgerEntry]) -> None:
    made = account().of(snapshot.items)
    if not made.minutes and snapshot.problem is None:
        return
    with st.container(border=True, key="accounting"):
        st.subheader("Accounting", anchor=False)
        if snapshot.problem is not None:
            st.caption(f"The ledger cannot be read: {snapshot.problem}")
        if not made.minutes:
            return
        st.caption(made.summary)
        left, right = st.columns([4, 5], gap="medium")
        with left:
            st.plotly_chart(made.figure, key="accounting-chart", config=_CHART)
        with right:
            st.dataframe(
                accounting.table(made.minutes), key="accounting-table", hide_index=True, height=390, placeholder="-"
            )


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def live() -> None:
    snapshot = reports_feed().poll()
    show_notice(snapshot)
    newest = snapshot.newest
    if newest is not None:
        show_metrics(newest)
        with st.container(key="last-updated"):
            st.caption(
                f"{freshness.published(newest)} · API last answered {snapshot.taken_at:%H:%M:%S} UTC · "
                f"stream {newest.stream}"
            )
        show_charts(snapshot.items)
    # While the API is away, the notice above says so for both.
    minutes = minutes_feed().poll()
    show_accounting(minutes if snapshot.problem is None else replace(minutes, problem=None))


st.set_page_config(page_title="etar", layout="wide")
st.title("etar · one report a minute", anchor=False)
live()

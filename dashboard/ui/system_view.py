"""The page of the system: how the alerts stand, and the numbers that they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from dashboard.ui.client import Number, System
from dashboard.ui.feeds import system_feed
from dashboard.ui.freshness import away
from dashboard.ui.page_parts import show_notice, viewers_clock
from dashboard.ui.times import IN_UTC, Clock
from etar.alerts.board import ShownAlert
from etar.alerts.states import AlertState
from etar.settings import DashboardSettings, get_settings

_NOBODY = "Nobody is told: no target is set (ETAR_ALERTS_TARGETS, docs/alerts.md)."
_WORDS = {
    AlertState.FIRING: ":red[firing]",
    AlertState.PENDING: ":orange[pending]",
    AlertState.NO_DATA: ":orange[no data]",
    AlertState.WELL: ":green[well]",
}


def show() -> None:
    """The page."""
    st.title("etar · system", anchor=False)
    st.caption("How everything is, as of some seconds ago. `etar alerts` says the same; Prometheus reads /metrics.")
    _live()


def summary(alerts: Sequence[ShownAlert]) -> str:
    """What the alerts come to, in Markdown. Never that all is well while one has no data."""
    counts = {state: sum(each.state is state for each in alerts) for state in AlertState}
    silenced = sum(each.state is AlertState.FIRING and not each.speaks for each in alerts)
    said = []
    if firing := counts[AlertState.FIRING]:
        said.append(f":red[**{firing} firing**]" + (f" ({silenced} silenced)" if silenced else ""))
    if pending := counts[AlertState.PENDING]:
        said.append(f":orange[{pending} pending]")
    if without := counts[AlertState.NO_DATA]:
        said.append(f":orange[{without} without data]")
    return ", ".join(said) or (":green[**All well**]" if alerts else ":orange[**No alert is known**]")


def rows(numbers: Iterable[Number]) -> list[Mapping[str, str]]:
    """A row for each number."""
    return [
        {
            "Metric": each.name,
            "Of": ", ".join(each.labels.values()) or "report API",
            "Value": "-" if each.value is None else f"{each.value:,.4g}" if each.value % 1 else f"{each.value:,.0f}",
            "Is": each.about,
        }
        for each in numbers
    ]


def line(alert: ShownAlert, clock: Clock = IN_UTC) -> str:
    """An alert in Markdown: since when, what is wrong, what to press, and whether it is silenced."""
    of = f" {alert.of}" if alert.labels else ""
    if alert.state not in (AlertState.FIRING, AlertState.PENDING):
        return f"**{alert.alert}**{of} `{alert.expr}`"
    value = "" if alert.value is None else f": {alert.value:,.4g}"
    silence = alert.silence
    quiet = f"  \n:gray[Silenced until {clock.said(silence.until)} by {silence.by}: {silence.why}]" if silence else ""
    return (
        f"**{alert.alert}**{of} since {clock.said(alert.since)} `{alert.expr}`{value}  \n"
        f"{alert.summary}. {alert.description}{quiet}"
    )


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live() -> None:
    snapshot, clock = system_feed().poll(), viewers_clock()
    show_notice(away(snapshot, clock) if snapshot.problem is not None else None)
    system: System | None = snapshot.newest
    if system is None:
        return
    if system.problem is not None:
        st.warning(system.problem, icon=":material/cloud_off:")
    with st.container(border=True, key="alerts"):
        st.header("Alerts", anchor=False)
        # What nobody looks at is not well, whatever it was.
        st.markdown(summary(system.alerts) if system.problem is None else ":orange[**Not known**]")
        st.caption(f"Told to {', '.join(system.targets)}." if system.targets else _NOBODY)
        for text in system.problems:
            st.caption(text)
        for alert in system.alerts:
            state, said = st.columns([1, 8], vertical_alignment="top")
            state.markdown(_WORDS[alert.state])
            said.markdown(line(alert, clock))
    with st.container(border=True, key="numbers"):
        st.header("Metrics", anchor=False)
        st.dataframe(rows(system.numbers), key="numbers-table", hide_index=True, alt="Metrics")

"""The page of a stream's minutes: a day as a calendar by standing, and under it all that is known of one minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import plotly.graph_objects as go
import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui import day as days
from dashboard.ui import minute
from dashboard.ui.client import KnownMinute, MadeOnce, Snapshot
from dashboard.ui.feeds import day_feed, minute_feed, now
from dashboard.ui.page_parts import (
    CHART,
    Refused,
    asked,
    link_to_reports,
    set_address,
    show_last_answer,
    show_metrics,
    show_notice,
    show_text,
    viewers_clock,
)
from etar.minute import MinuteWindow
from etar.pipeline.standing import Day
from etar.settings import DashboardSettings, get_settings

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Calendar:
    """What a day comes to on the page."""

    day: Day
    figure: go.Figure

    @classmethod
    def of(cls, answers: Sequence[Day]) -> Calendar:
        return cls(answers[-1], days.figure(answers[-1]))


# Made once for all viewers, however many there are and however often they look; as in stream_view, without a _ before
# what is the key.
@st.cache_resource(show_spinner=False, max_entries=60)
def calendar(stream: str, day: date) -> MadeOnce[Day, Calendar]:  # noqa: ARG001
    return MadeOnce(Calendar.of)


def show(stream: str, title: str, pages: Mapping[str, StreamlitPage]) -> None:
    """The page. ``pages``: by their paths; a stream's is its name."""
    st.title(f"etar · minutes of {title}", anchor=False)
    link_to_reports(stream, title, pages)
    _live(stream)


class Choice:
    """The day and the minute that a viewer looks at: of the session, and in the page's address, which may be sent to
    somebody.

    Each widget is another one for another choice: a refresh that was under way when something was chosen comes with
    the widgets as they were, and must not take the choice back. Streamlit 1.67 takes a widget that comes back in this
    way for a changed one, and calls it: what it says is heard only while the choice is the one that it was made for.
    """

    def __init__(self, stream: str) -> None:
        self._key = f"{stream}-choice"
        self.refused = Refused(self._key)
        self.today = now().date()
        state, given = st.session_state, st.query_params
        if self._key not in state:
            found: tuple[date, time | None] = self.today, None
            try:
                found = days.asked_for(given.get("day"), given.get("minute"), today=self.today)
            except ValueError as error:
                self.refused.say_of_address(error)
            # None: who has chosen no other day sees the newest, also after midnight.
            state[self._key] = (None if found[0] == self.today else found[0], found[1])
        self._made_for = chosen, at = state[self._key]
        self.day: date = chosen or self.today
        self.at: time | None = at
        self.day_key, self.minute_key = f"{stream}-day-{self.day}-{self.at}", f"{stream}-minute-{self.day}-{self.at}"

    @property
    def window(self) -> MinuteWindow | None:
        return None if self.at is None else MinuteWindow(datetime.combine(self.day, self.at.replace(second=0), UTC))

    def keep(self, day: date, at: time | None) -> None:
        """Of the session, and in the address."""
        self.refused.forget()
        st.session_state[self._key] = (None if day == self.today else day, at)
        set_address("day", None if day == self.today else f"{day}")
        set_address("minute", f"{at:%H:%M}" if at else None)

    def choose(self, window: MinuteWindow) -> None:
        self.keep(window.start.date(), window.start.time())

    def choose_day(self, day: date) -> None:
        self.keep(day, self.at)

    def chosen(self) -> None:
        """What the widgets say, if they were made for the choice that stands."""
        if st.session_state[self._key] != self._made_for:
            return
        self.keep(st.session_state[self.day_key] or self.today, st.session_state.get(self.minute_key, self.at))

    def choose_clicked(self, chart: str) -> None:
        """The minute of the cell that was clicked on, if one was: a second click on it takes nothing back."""
        for point in st.session_state[chart].selection.points[:1]:
            self.choose(days.window_of(self.day, (int(point["x"]), int(point["y"]))))


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live(stream: str) -> None:
    choice = Choice(stream)
    choice.refused.show()
    day = choice.day
    with st.container(horizontal=True, vertical_alignment="bottom", key="choose-day"):
        st.date_input("Day (UTC)", day, key=choice.day_key, max_value=choice.today, on_change=choice.chosen, width=150)
        st.button("Day before", on_click=choice.choose_day, args=(day - _DAY,))
        st.button("Day after", on_click=choice.choose_day, args=(day + _DAY,), disabled=day >= choice.today)
    snapshot = asked(day_feed(stream, day), f"Reading the minutes of {day} …", height=520)
    show_notice(days.notice(snapshot, viewers_clock()))
    if snapshot.newest is None:
        return
    shown, figure = _calendar(stream, snapshot)
    _show_calendar(choice, shown, figure)
    show_last_answer(snapshot.taken_at, stream)
    with st.container(border=True, key="minute"):
        _show_minute(choice, shown)


def _calendar(stream: str, snapshot: Snapshot[Day]) -> tuple[Day, go.Figure]:
    known = days.as_known(snapshot, now())
    made = calendar(stream, snapshot.items[-1].day).of(snapshot.items)
    return (made.day, made.figure) if known is None or known == made.day else (known, days.figure(known))


def _show_calendar(choice: Choice, day: Day, figure: go.Figure) -> None:
    with st.container(border=True, key="calendar"):
        st.markdown(days.summary(day))
        st.plotly_chart(
            days.framed(figure, choice.window) if choice.window else figure,
            key="calendar-chart",
            on_select=partial(choice.choose_clicked, "calendar-chart"),
            selection_mode="points",
            config=CHART,
            alt=f"The minutes of {day.day} by state, a row an hour. Below it the states with their counts; each minute "
            "can be chosen by its time.",
        )
        with st.container(key="legend"):
            st.html(days.legend(day))
        with st.expander("What the states mean"):
            st.markdown(
                "\n".join(
                    f"- **{look.label}** {look.sign and f'`{look.sign}`'} {look.about}" for look in days.LOOKS.values()
                )
            )


def _show_minute(choice: Choice, day: Day) -> None:
    window = choice.window
    with st.container(horizontal=True, vertical_alignment="bottom", key="choose-minute"):
        st.time_input("Minute (UTC)", choice.at, key=choice.minute_key, step=60, on_change=choice.chosen, width=150)
        for name, there in (("Minute before", window and window.previous), ("Minute after", window and window.next)):
            disabled = there is None or there.start > now()
            st.button(name, on_click=choice.choose, args=(there,), disabled=disabled)
        wanted = days.next_to_look_at(day, window)
        st.button("Next that wants a look", on_click=choice.choose, args=(wanted,), disabled=wanted is None)
    if window is None:
        st.caption("Choose a minute: click on it, or give its time.")
        return
    standing = day.standings[day.windows.index(window)]
    here = viewers_clock().beside(window.start, "%Y-%m-%d %H:%M")
    st.header(f"{window} · {days.LOOKS[standing].label}", anchor=False)
    st.caption(days.meaning(day, window) + (f" It is {here}." if here else ""))
    snapshot = asked(minute_feed(day.stream, window.start), f"Reading what is known of {window} …", height=300)
    if snapshot.problem is not None:
        st.error(f"What is known of this minute cannot be read: {snapshot.problem}", icon=":material/cloud_off:")
    if snapshot.newest is not None:
        _show_known(snapshot.newest)
        _show_commands(day, window, begun=snapshot.newest.history is not None)


def _show_known(known: KnownMinute) -> None:
    entry = known.history
    if entry is None:
        st.info("The ledger has no row of this minute: no run has begun it.", icon=":material/inbox:")
        return
    if entry.error is not None:
        st.error("Why the last run failed:", icon=":material/error:")
        show_text(entry.error)
    show_metrics(minute.counts(entry))
    _table("steps", "Steps of the last run", minute.steps(entry, viewers_clock()))
    if entry.run_id is not None:
        airflow = get_settings(DashboardSettings).airflow_url
        link = f" · [open it in Airflow]({minute.run_address(entry.run_id, airflow)})" if airflow else ""
        st.markdown(f"Run `{entry.run_id}`{link}")
    _table("objects", "Objects", minute.objects(entry, known.reports[-1] if known.reports else None))
    _table("partitions", "Records of Kafka", minute.partitions(entry))
    if known.reports:
        _show_revisions(known)


def _show_revisions(known: KnownMinute) -> None:
    st.markdown(f"**Revisions, side by side**{minute.left_out(known)}")
    several = len(known.reports) > 1
    everything = several and st.toggle("Also what all of them say", key="all-values")
    shown = minute.revisions(known, everything=everything)
    with st.container(key="revisions"):
        st.dataframe(shown.rows, key="revisions-table", hide_index=True, alt="Revisions, side by side")
    if shown.same:
        st.caption(f"{shown.same} other values are the same in all of them.")


def _show_commands(day: Day, window: MinuteWindow, *, begun: bool) -> None:
    again = minute.run_again(day, window)
    if again is not None:
        st.markdown("**Have it reported again**: the same rows make the same report, other rows the next revision.")
        show_text(again)
    if begun:
        st.markdown("**Print all this** in a terminal:")
        show_text(minute.look_up(day.stream, window))


def _table(key: str, title: str, rows: Sequence[minute.Row]) -> None:
    if rows:
        st.markdown(f"**{title}**")
        with st.container(key=key):
            st.dataframe(rows, key=f"{key}-table", hide_index=True, alt=title)

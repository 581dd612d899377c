"""The page of a stream's dead letters: the reasons of a day, its letters, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import plotly.graph_objects as go
import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui import letters, page_parts
from dashboard.ui.client import FoundLetters, MadeOnce, Snapshot
from dashboard.ui.feeds import letter_feed, letters_feed, now
from dashboard.ui.letters import Asked
from dashboard.ui.page_parts import CHART, Refused, plain, show_notice, viewers_clock
from etar.dead_letters import Reason
from etar.dead_letters.answer import WholeLetter
from etar.dead_letters.letters import LetterId, UnknownLetterError
from etar.settings import DashboardSettings, get_settings

_DAY = timedelta(days=1)


# Made once for all viewers, however many there are and however often they look; as in stream_view, without a _ before
# what is the key.
@st.cache_resource(show_spinner=False, max_entries=120)
def figure(
    stream: str,  # noqa: ARG001
    day: date,  # noqa: ARG001
    narrowed: tuple[tuple[str, str], ...],  # noqa: ARG001
) -> MadeOnce[FoundLetters, go.Figure]:
    return MadeOnce(lambda answers: letters.figure(answers[-1].counts))


def show(stream: str, title: str, pages: Mapping[str, StreamlitPage]) -> None:
    """The page. ``pages``: by their paths; a stream's is its name."""
    st.title(f"etar · dead letters of {title}", anchor=False)
    st.caption("Records that could not become a row: why, and what came of them.")
    page_parts.link_to_reports(stream, title, pages)
    _live(stream)


class Choice:
    """Day, filters and letter that a viewer looks at: of the session, and in the page's address, which may be sent to
    somebody.

    Each widget is another one for another choice, and is heard only while the choice is the one that it was made for:
    see :class:`dashboard.ui.minutes_view.Choice`.
    """

    def __init__(self, stream: str) -> None:
        self._key = f"{stream}-letters"
        self.refused = Refused(self._key)
        self.today = now().date()
        state = st.session_state
        if self._key not in state:
            state[self._key] = Asked()
            try:
                state[self._key] = letters.asked_for(st.query_params, today=self.today)
            except ValueError as error:
                self.refused.say_of_address(error)
        self.asked: Asked = state[self._key]
        self.day: date = self.asked.day or self.today

    def key(self, widget: str) -> str:
        """Of a widget of this choice."""
        of = replace(self.asked, letter=None) if widget == "table" else self.asked
        return f"{self._key}-{widget}-{of}"

    def keep(self, asked: Asked) -> None:
        """Of the session, and in the address."""
        asked = replace(asked, day=None if asked.day == self.today else asked.day)
        st.session_state[self._key] = asked
        self.refused.forget()
        st.query_params.from_dict(asked.address)

    def choose_day(self, day: date) -> None:
        self.keep(replace(self.asked, day=day))

    def chosen(self, name: str) -> None:
        """What a filter says, if it was made for the choice that stands."""
        if st.session_state[self._key] == self.asked:
            self.keep(replace(self.asked, **{name: st.session_state[self.key(name)] or None}))

    def chosen_letter(self) -> None:
        """The letter whose name was written."""
        if st.session_state[self._key] != self.asked:
            return
        text = st.session_state[self.key("letter")].strip()
        try:
            self.keep(replace(self.asked, letter=LetterId.parse(text) if text else None))
        except UnknownLetterError as error:
            self.refused.say(f"{error}.")

    def choose_row(self, listed: Sequence[LetterId]) -> None:
        """The letter of the row that was clicked on, if one was: a second click on it takes nothing back."""
        if st.session_state[self._key] == self.asked:
            for row in st.session_state[self.key("table")].selection.rows[:1]:
                self.keep(replace(self.asked, letter=listed[row]))


@st.fragment(run_every=get_settings(DashboardSettings).refresh_seconds)
def _live(stream: str) -> None:
    choice = Choice(stream)
    asked, day = choice.asked, choice.day
    choice.refused.show()
    with st.container(horizontal=True, vertical_alignment="bottom", key="choose-day"):
        st.date_input(
            "Day (UTC)",
            day,
            key=choice.key("day"),
            max_value=choice.today,
            on_change=choice.chosen,
            args=("day",),
            width=150,
        )
        st.button("Day before", on_click=choice.choose_day, args=(day - _DAY,))
        st.button("Day after", on_click=choice.choose_day, args=(day + _DAY,), disabled=day >= choice.today)
    filters = st.container(horizontal=True, vertical_alignment="bottom", key="filters")
    with filters:
        _select(choice, "reason", "Reason", tuple(Reason), asked.reason)
        _select(choice, "state", "State", letters.STATES, asked.state)
    feed = letters_feed(stream, day, asked.narrowed)
    snapshot = page_parts.asked(feed, f"Reading the dead letters of {day} …", height=520)
    found = snapshot.newest
    fields = dict.fromkeys([*(found.counts.fields if found else ()), *([asked.field] if asked.field else ())])
    with filters:
        _select(choice, "field", "Field", tuple(fields), asked.field)
    show_notice(letters.notice(snapshot, asked, day, viewers_clock()))
    if found is not None:
        _show_found(choice, stream, snapshot, found)
    with st.container(border=True, key="letter"):
        _show_letter(choice, stream)


def _select(choice: Choice, name: str, label: str, options: Sequence[str], chosen: str | None) -> None:
    st.selectbox(
        label,
        options,
        index=None if chosen is None else list(options).index(chosen),
        # A field's path is somebody's text, and no name of ours.
        format_func=str if name == "field" else lambda value: str(value).replace("_", " "),
        placeholder="all",
        key=choice.key(name),
        on_change=choice.chosen,
        args=(name,),
        width=230,
    )


def _show_found(choice: Choice, stream: str, snapshot: Snapshot[FoundLetters], found: FoundLetters) -> None:
    asked, day = choice.asked, choice.day
    if found.counts.total:
        with st.container(border=True, key="reasons"):
            st.markdown(letters.summary(found, day))
            st.plotly_chart(
                figure(stream, day, asked.narrowed).of(snapshot.items),
                key="reasons-chart",
                config=CHART,
                alt=f"Dead letters of {day} by hour and reason; their numbers stand above.",
            )
            if asked.state:
                st.caption(
                    "Bars count letters whatever became of them; the table below has only those that are "
                    f"{asked.state}."
                )
    if found.listed:
        with st.container(border=True, key="letters"):
            st.dataframe(
                letters.rows(found.listed, viewers_clock()),
                key=choice.key("table"),
                hide_index=True,
                on_select=partial(choice.choose_row, [LetterId(each.partition, each.offset) for each in found.listed]),
                selection_mode="single-row",
            )
    if found.more:
        st.caption(letters.left_out(found))
        page_parts.show_text(letters.list_all(stream, asked, day))
    page_parts.show_last_answer(snapshot.taken_at, stream)


def _show_letter(choice: Choice, stream: str) -> None:
    name = choice.asked.letter
    st.text_input(
        "Letter",
        "" if name is None else str(name),
        placeholder="PARTITION:OFFSET, like 3:1042",
        max_chars=40,
        key=choice.key("letter"),
        on_change=choice.chosen_letter,
        width=300,
    )
    if name is None:
        st.caption("Choose a letter: click on its row, or give its name.")
        return
    snapshot = page_parts.asked(letter_feed(stream, name), f"Reading {name} …", height=300)
    if snapshot.problem is not None:
        st.error(f"This letter cannot be read now: {plain(snapshot.problem)}", icon=":material/cloud_off:")
    elif snapshot.newest is None:
        st.info(
            f"{name} is no dead letter, or none any more: the table keeps them for 30 days.", icon=":material/inbox:"
        )
    if snapshot.newest is not None:
        _show_whole(snapshot.newest)


def _show_whole(letter: WholeLetter) -> None:
    st.subheader(f"{letter.name} · {letters.words(letter.reason)} · {letter.state}", anchor=False)
    clock = viewers_clock()
    st.caption(f"Appended {letters.appended(letter, clock)} · {plain(letters.read_as(letter))}")
    if letter.field:
        st.markdown(f"At fault: **{plain(letter.field)}**")
    page_parts.show_text(letter.detail)
    if letter.leaves:
        with st.container(key="fields"):
            st.dataframe(
                letters.fields_table(letter),
                key="fields-table",
                hide_index=True,
                column_config={"": st.column_config.TextColumn(width=30)},
            )
    if letter.leaves_left_out:
        st.caption(f"{letter.leaves_left_out:,} more values could be read.")
    _show_bytes(letter)
    with st.container(key="outcome"):
        st.markdown(f"**What came of it.** {plain(letters.outcome(letter, clock))}")
    if done := letters.history(letter, clock):
        with st.container(key="history"):
            st.dataframe(done, key="history-table", hide_index=True)
    st.markdown("**In a terminal.** A command says what it would do; with `--apply` at its end it does it.")
    with st.container(key="commands"):
        for what, command in letters.commands(letter).items():
            st.caption(what)
            page_parts.show_text(command)


def _show_bytes(letter: WholeLetter) -> None:
    for name, raw in (("value", letter.value), ("key", letter.key), ("fixed value", letter.fixed)):
        if raw is not None and raw.lines:
            with st.expander(f"Bytes of the {name}: {raw.size:,}"):
                page_parts.show_text("\n".join(raw.lines))
                if raw.size > 16 * len(raw.lines):
                    st.caption("The first of them; `etar dead-letters export` writes all.")
    if letter.headers is None:
        st.caption("Its headers are not known: Kafka no longer holds the record, or does not answer.")
    elif letter.headers:
        with st.expander(f"Headers: {len(letter.headers)}"):
            st.dataframe(
                [{"Header": header.name, "Value": header.value} for header in letter.headers],
                key="headers-table",
                hide_index=True,
            )

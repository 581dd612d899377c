"""What the pages are fed with: one feed of each kind and stream for all viewers.

The API is asked once a refresh however many viewers there are, and who comes while it is away still sees its last
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import streamlit as st

from dashboard.ui.client import Feed, FoundLetters, KnownMinute, ReportClient, Snapshot, StreamStanding, System
from etar.account import Account
from etar.dead_letters.answer import WholeLetter
from etar.dead_letters.letters import LetterId
from etar.ledger import LedgerEntry
from etar.minute import MinuteWindow
from etar.pipeline.standing import Day
from etar.report import PublishedReport
from etar.settings import DashboardSettings, ReportReadSettings, get_settings
from etar.streams import catalogue, default_stream
from etar.windows import StreamWindows

SHOWN_WINDOWS = 100
SHOWN_REVISIONS = 5
SHOWN_LETTERS = 200

# Less than a refresh: a timer that is early must not be given the answer before.
_FRESH_FOR = timedelta(seconds=0.8 * get_settings(DashboardSettings).refresh_seconds)


def now() -> datetime:
    return datetime.now(UTC)


@st.cache_resource(show_spinner=False)
def client() -> ReportClient:
    return ReportClient(get_settings(ReportReadSettings))


@st.cache_resource(show_spinner=False)
def reports_feed(stream: str) -> Feed[PublishedReport]:
    newest = partial(client().newest, stream, get_settings(DashboardSettings).history_minutes)
    return Feed(newest, now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False)
def minutes_feed(stream: str) -> Feed[LedgerEntry]:
    newest = partial(client().newest_minutes, stream, get_settings(DashboardSettings).history_minutes)
    return Feed(newest, now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False)
def windows_feed(stream: str) -> Feed[StreamWindows]:
    # Half a refresh: an answer reaches every viewer within one and a half.
    fresh_for = timedelta(seconds=0.5 * get_settings(DashboardSettings).live_seconds)
    return Feed(partial(client().windows, stream, SHOWN_WINDOWS), now, fresh_for=fresh_for)


# Of days and minutes there is no end: those that nobody has looked at for longest are let go.
@st.cache_resource(show_spinner=False, max_entries=60)
def day_feed(stream: str, day: date) -> Feed[Day]:
    return Feed(partial(client().day, stream, day), now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False, max_entries=120)
def minute_feed(stream: str, minute: datetime) -> Feed[KnownMinute]:
    asked = partial(client().minute, stream, MinuteWindow(minute), SHOWN_REVISIONS)
    return Feed(asked, now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False, max_entries=60)
def account_feed(stream: str, hours: int, end: MinuteWindow | None) -> Feed[Account]:
    return Feed(partial(client().account, stream, 60 * hours, end), now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False, max_entries=120)
def letters_feed(stream: str, day: date, narrowed: tuple[tuple[str, str], ...]) -> Feed[FoundLetters]:
    start = datetime.combine(day, time(), UTC)
    asked = partial(client().dead_letters, stream, start, start + timedelta(days=1), dict(narrowed), SHOWN_LETTERS)
    return Feed(asked, now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False, max_entries=120)
def letter_feed(stream: str, letter: LetterId) -> Feed[WholeLetter]:
    return Feed(partial(client().dead_letter, stream, letter), now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False)
def system_feed() -> Feed[System]:
    return Feed(client().system, now, fresh_for=_FRESH_FOR)


@st.cache_resource(show_spinner=False)
def streams_feed() -> Feed[StreamStanding]:
    return Feed(client().streams, now, fresh_for=_FRESH_FOR)


def standings() -> Sequence[StreamStanding]:
    """The streams that have a page: those that are on, in their order, and others that have reports or a fault. Before
    the API has answered once, those that are on."""
    snapshot: Snapshot[StreamStanding] = streams_feed().poll()
    known = {each.name: each for each in snapshot.items}
    on = catalogue().on or (default_stream(),)
    first = {
        stream.name: known.get(stream.name)
        or StreamStanding(
            name=stream.name,
            title=stream.title,
            newest_minute=None,
            fault=None,
            windows=stream.windows.title if stream.windows else None,
        )
        for stream in on
    }
    others = (each for each in known.values() if each.name not in first)
    return [*first.values(), *(each for each in others if each.newest_minute or each.fault)]

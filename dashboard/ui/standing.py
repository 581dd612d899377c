"""What is worst about a stream, in words; a color only beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dashboard.ui import freshness
from dashboard.ui.client import StreamStanding
from etar.minute import MinuteWindow
from etar.report import PublishedReport

UNVERIFIED_AFTER = timedelta(minutes=15)
"""Several runs of the audit, which closes a minute once its records have had time to be stored."""


class Color(StrEnum):
    """As Streamlit's Markdown names it."""

    BAD = "red"
    WARNING = "orange"
    WELL = "green"


@dataclass(frozen=True)
class Worst:
    """``word`` says it, ``said`` since when and what to do."""

    color: Color
    word: str
    said: str

    def markdown(self) -> str:
        return f":{self.color}[{self.word}] {self.said}"


def worst(stream: StreamStanding, *, now: datetime, overdue_after: timedelta) -> Worst:
    """The first of what would be mended first; the newest minute's age where all is well."""
    return next(_in_order(stream, now, overdue_after))


def _in_order(stream: StreamStanding, now: datetime, overdue_after: timedelta) -> Iterator[Worst]:
    if stream.fault is not None:
        yield Worst(Color.BAD, "fault", stream.fault)
    if stream.lost:
        records = "record is" if stream.lost == 1 else "records are"
        yield Worst(Color.BAD, "lost", f"{stream.lost:,} {records} in no place; `etar verify` names them")
    newest = stream.newest_minute
    if newest is None:
        yield Worst(Color.WARNING, "waiting for its first minute", "")
        return
    age = now - MinuteWindow(newest).end
    ended = f"newest minute ended {freshness.words(age)} ago"
    if age > overdue_after:
        yield Worst(Color.WARNING, "overdue", ended)
    if stream.failed and stream.first_failed is not None:
        minutes = "1 minute" if stream.failed == 1 else f"{stream.failed} minutes"
        since = MinuteWindow(stream.first_failed)
        yield Worst(Color.WARNING, "failed", f"{minutes} since {since}; `etar minutes --state failed` says why")
    if stream.audited_through is not None and newest - stream.audited_through > UNVERIFIED_AFTER:
        yield Worst(
            Color.WARNING, "unverified", f"since {stream.audited_through:%Y-%m-%dT%H:%MZ}; see `etar_audit` in Airflow"
        )
    yield Worst(Color.WELL, "fresh", ended)


def summary(standings: Mapping[str, Worst]) -> str:
    """Of all streams, by their titles, in a line of Markdown: those that somebody has to look at, the worst first."""
    unwell = {title: each for title, each in standings.items() if each.color is not Color.WELL}
    if not unwell:
        return f":{Color.WELL}[all well]"
    ranked = sorted(unwell.items(), key=lambda item: list(Color).index(item[1].color))
    first = ranked[0][1].color
    named = ", ".join(f"{title} ({each.word})" for title, each in ranked)
    return f":{first}[{len(unwell)} of {len(standings)} streams to look at]: {named}"


def verified(stream: StreamStanding) -> str:
    """The end of the last minute of which every record is accounted for."""
    through = stream.audited_through
    return "nothing verified yet" if through is None else f"verified through {through:%Y-%m-%dT%H:%MZ}"


def delay(newest: PublishedReport) -> str:
    """How soon the newest minute was reported; of a revision, that it is one."""
    if newest.revision > 1:
        return f"revision {newest.revision}"
    return f"reported {freshness.words(newest.published_at - newest.window.end)} after its end"

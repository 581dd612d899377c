from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dashboard.ui.client import StreamStanding
from dashboard.ui.standing import UNVERIFIED_AFTER, Color, Worst, delay, summary, worst
from tests.unit.dashboard.samples import MINUTE, a_published_report

LIMIT = timedelta(seconds=150)
MOMENT = timedelta(microseconds=1)


def said_of(*, age: timedelta = timedelta(seconds=20), **known: Any) -> str:
    given: dict[str, Any] = {"name": "s", "title": "S", "newest_minute": MINUTE.start, "fault": None}
    stream = StreamStanding(**given | known)
    return worst(stream, now=MINUTE.end + age, overdue_after=LIMIT).markdown()


def test_the_worst_is_what_is_mended_first() -> None:
    """Each line takes away what was worst in the line before."""
    known: dict[str, Any] = {
        "fault": "report.py: SyntaxError",
        "lost": 1200,
        "failed": 2,
        "first_failed": MINUTE.start - timedelta(minutes=9),
        "audited_through": MINUTE.start - UNVERIFIED_AFTER - MOMENT,
    }
    late = LIMIT + MOMENT
    assert said_of(age=late, **known) == ":red[fault] report.py: SyntaxError"
    known |= {"fault": None}
    assert said_of(age=late, **known) == ":red[lost] 1,200 records are in no place; `etar verify` names them"
    known |= {"lost": 0}
    assert said_of(age=late, **known) == ":orange[overdue] newest minute ended 2 min ago"
    assert said_of(age=LIMIT, **known) == (
        ":orange[failed] 2 minutes since 2025-11-21T10:22Z; `etar minutes --state failed` says why"
    )
    known |= {"failed": 0, "first_failed": None}
    assert said_of(**known).startswith(":orange[unverified] since 2025-11-21T10:15Z")
    known |= {"audited_through": MINUTE.start - UNVERIFIED_AFTER}
    assert said_of(**known) == ":green[fresh] newest minute ended 20 s ago"


def test_one_is_not_many() -> None:
    assert said_of(lost=1) == ":red[lost] 1 record is in no place; `etar verify` names them"
    assert said_of(failed=1, first_failed=MINUTE.start).startswith(":orange[failed] 1 minute since 2025-11-21T10:31Z;")


def test_all_streams_are_summed_up_the_worst_first() -> None:
    well, late, lost = (
        Worst(Color.WELL, "fresh", ""),
        Worst(Color.WARNING, "overdue", ""),
        Worst(Color.BAD, "lost", ""),
    )
    assert summary({"Rides": well, "Sales": well}) == ":green[all well]"
    assert summary({"Rides": late, "Sales": well}) == ":orange[1 of 2 streams to look at]: Rides (overdue)"
    told = summary({"Rides": late, "Sales": lost, "Parcels": well})
    assert told == ":red[2 of 3 streams to look at]: Sales (lost), Rides (overdue)"


def test_a_stream_without_a_report_waits() -> None:
    assert said_of(newest_minute=None) == ":orange[waiting for its first minute] "


@pytest.mark.parametrize(
    ("revision", "published_at", "said"),
    [
        (1, MINUTE.end + timedelta(seconds=6, microseconds=9), "reported 6 s after its end"),
        (1, MINUTE.end + timedelta(hours=2), "reported 2 h 0 min after its end"),
        (2, MINUTE.end + timedelta(hours=2), "revision 2"),
    ],
)
def test_how_soon_a_minute_was_reported(revision: int, published_at: datetime, said: str) -> None:
    report = a_published_report().model_copy(update={"revision": revision, "published_at": published_at})
    assert delay(report) == said

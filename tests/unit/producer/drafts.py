"""Records and tallies that several tests need."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from producer.shop import Shop
from producer.tally import Tally
from producer.traffic import Draft, Kind
from producer.user_event import UserEvent

MINUTE = int(datetime(2026, 11, 21, 10, 31, tzinfo=UTC).timestamp() * 1000)
USER = UUID(int=1)


@cache
def shop() -> Shop:
    """The one that events are made in where nothing else is said. It is only read, and takes long to make."""
    return Shop()


def draft(kind: Kind = Kind.EVENT, at: int = MINUTE) -> Draft:
    return Draft(kind, UserEvent(USER, USER, USER, "view", "success", at, None, None, None, "mobile", "DE"))


def tally(*acknowledged: Draft) -> Tally:
    made = Tally()
    for each in acknowledged:
        made.made(each.kind)
        if not each.kind.malformed:
            made.seen(each.event_time, each.event_time)
        made.acknowledged(each.kind, 0)
    return made

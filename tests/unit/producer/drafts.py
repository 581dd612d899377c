"""Records and tallies that several tests need."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from etar.streams import default_stream
from producer.encoding import Encoding, header_of
from producer.kinds import Draft, Kind
from producer.made_up import KINDS, RecordBlock
from producer.tally import Tally
from streams.user_interactions.shop import Shop
from tests.user_events import UserEvent

MINUTE = int(datetime(2026, 11, 21, 10, 31, tzinfo=UTC).timestamp() * 1000)
USER = UUID(int=1)
ENCODING = Encoding(default_stream(), header_of(7))


@cache
def shop() -> Shop:
    """The one that events are made in where nothing else is said. It is only read, and takes long to make."""
    return Shop()


def draft(kind: Kind = Kind.EVENT, at: int = MINUTE) -> Draft:
    return Draft(kind, UserEvent(USER, USER, USER, "view", "success", at, None, None, None, "mobile", "DE"), at)


def drafts_of(block: RecordBlock, encoding: Encoding) -> list[Draft]:
    """Its records, one by one; an event's time is in milliseconds."""
    found = []
    for row, (value, kind, happened) in enumerate(zip(block.values, block.kinds, block.happened.tolist(), strict=True)):
        bad = block.malformed.get(row)
        event: dict[str, Any] = bad.event if bad else encoding.event_of(value or b"")
        found.append(Draft(KINDS[kind], encoding.logged(event), happened))
    return found


def tally(*acknowledged: Draft) -> Tally:
    made = Tally()
    for each in acknowledged:
        made.made(each.kind)
        if not each.kind.malformed:
            made.seen(each.happened, each.happened)
        made.acknowledged(each.kind, 0)
    return made

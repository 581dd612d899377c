"""What is asked for: an event by its identity within a range of time, or a record by its place in Kafka. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from etar.minute import MinuteWindow
from etar.streams import Stream

SEARCHED = timedelta(hours=3)
"""How far back an event is looked for where nothing else is said: a look-up reads the ids of every minute of it."""

_RECORD = re.compile(r"(?P<partition>\d{1,9}):(?P<offset>\d{1,18})")
_AGO = re.compile(r"(?P<count>\d{1,6})\s*(?P<unit>s|m|min|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_FURTHEST = timedelta(days=3660)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 1000


class UnfitQuestionError(ValueError):
    """Nothing can be looked for by what was given; the message says what to give."""


@dataclass(frozen=True)
class Question:
    """``identity``: a value for each of the stream's identity columns, as text; or ``record``: partition and offset, of
    the topic as it is or of its ``log``-th log that has ended. An event is looked for in the minutes that begin in
    ``[since, until)``, and among the dead letters that Kafka took within them."""

    since: datetime
    until: datetime
    identity: tuple[str, ...] = ()
    record: tuple[int, int] | None = None
    log: int | None = None

    @classmethod
    def of(
        cls,
        stream: Stream,
        values: Sequence[str],
        *,
        now: datetime,
        ahead: timedelta,
        since: str | None = None,
        until: str | None = None,
        log: int | None = None,
        as_id: bool = False,
    ) -> Self:
        """From what a person gave.

        Args:
            ahead: how far event times may be ahead of the time.
            since, until: an instant, or how long ago: ``3h``. Bounds are rounded out to whole minutes.
            as_id: the one value is an id, although it is written like a record's place.

        Raises:
            UnfitQuestionError
        """
        # No row is of a time beyond these: what is nobody's event time opens no partition.
        first = max(_instant(since, now, "since") if since else now - SEARCHED, _EPOCH)
        last = min(_instant(until, now, "until") if until else now + ahead, now + ahead)
        if first >= last:
            raise UnfitQuestionError(f"since {_text(first)} is not before until {_text(last)}")
        bounds = MinuteWindow.containing(first).start, MinuteWindow.first_at_or_after(last).start
        if len(values) == 1 and not as_id and (place := _RECORD.fullmatch(values[0])):
            return cls(*bounds, record=(int(place["partition"]), int(place["offset"])), log=log)
        if log is not None:
            raise UnfitQuestionError(
                "a log that has ended is named with a record, PARTITION:OFFSET; events are looked for in all logs"
            )
        if not stream.identity:
            raise UnfitQuestionError(
                f"events of {stream.name} have no id (its stream.toml names none): give a record, PARTITION:OFFSET"
            )
        if len(values) != len(stream.identity):
            raise UnfitQuestionError(
                f"an event of {stream.name} is named by {_count(len(stream.identity), 'value')}, "
                f"{', '.join(stream.identity)}; got {len(values)}. A record is named PARTITION:OFFSET, like 3:1042"
            )
        for value in values:
            _require_text(value)
        return cls(*bounds, identity=tuple(values))


def _require_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnfitQuestionError(f"{value!a} is no text") from None
    if len(value) > _LONGEST:
        raise UnfitQuestionError(f"an id of {len(value):,} characters cannot be looked for; {_LONGEST:,} can")


def _instant(text: str, now: datetime, name: str) -> datetime:
    if ago := _AGO.fullmatch(text.strip()):
        back = timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
        return now - min(back, _FURTHEST)
    try:
        instant = datetime.fromisoformat(text.strip())
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnfitQuestionError(
            f"{name} {text!r} is no time; write it like 2026-11-21T10:31Z, or how long ago, like 90m, 3h or 2d"
        ) from None


def _text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""Made-up traffic of any stream: events of its folder's class, with what goes wrong on the way, by seeded chance.

The class makes events, one a call. Duplicates, malformed records and lateness are made here, for every stream alike; a
class that takes ``late`` and ``late_by`` sees to lateness itself, as where whole visits are late and not single events.
"""

from __future__ import annotations

import inspect
from collections import deque
from random import Random
from typing import Any, Protocol

from etar.stream_code import StreamCodeError, load, reason
from etar.streams import Stream
from producer.encoding import Encoding
from producer.kinds import Draft, Kind
from producer.options import Mix

_RETRY_MS = 1000
"""How soon a client repeats an event it believes lost: duplicates follow their original within this time."""
_MONTH_MS = 30 * 24 * 3600 * 1000

_SHARES = ("errors", "late", "late_by")
"""Arguments that a class may take beyond seed, worker and rate, named like the command's options."""


class NoTrafficError(ValueError):
    """The stream has no made-up traffic, or none of the kind that was asked for."""


class Events(Protocol):
    """What ``[traffic] class`` of a ``stream.toml`` names: made with ``seed``, ``worker`` (from 0) and ``rate`` (events
    a second of this worker), and with those of ``errors``, ``late`` (shares from 0 to 1) and ``late_by`` (a timedelta,
    the greatest lateness) that it has arguments for. The same seed, worker and instants make the same events; ids
    follow from seed and worker, so that no two workers send the same."""

    def next(self, at: int, /) -> Any:
        """The event that happens at ``at``, in milliseconds since the epoch: a dict or a named tuple of the schema's
        fields (:mod:`producer.encoding`)."""


class Traffic:
    """Events with a share of them replaced by duplicates and malformed records.

    Args:
        duplicates: share of records that repeat an event of the last second, 0 to 1; none where there was none.
        malformed: share of records that are malformed, each kind equally often, 0 to 1.
        late: share of events that happened before they are sent, 0 to 1; 0 where the events see to it themselves.
        late_by: greatest lateness in milliseconds; a late event is between half of it and all of it behind.
    """

    def __init__(
        self,
        events: Events,
        encoding: Encoding,
        *,
        seed: int,
        worker: int = 0,
        duplicates: float = 0.0,
        malformed: float = 0.0,
        late: float = 0.0,
        late_by: int = 0,
    ) -> None:
        # Its own sequence of chance: turning faults on does not change which events happen.
        self._random = Random(f"{seed}/{worker}/faults")
        self._lateness = Random(f"{seed}/{worker}/lateness")
        self._events = events
        self._encoding = encoding
        self._duplicates = duplicates
        self._faults = duplicates + malformed
        self._late = late
        self._late_by = late_by
        self._recent: deque[tuple[int, Draft]] = deque()

    def next(self, at: int) -> Draft:
        """The record for the instant ``at``, in milliseconds since the epoch."""
        chance = self._random.random()
        while self._recent and self._recent[0][0] < at - _RETRY_MS:
            self._recent.popleft()
        if chance < self._duplicates and self._recent:
            return self._random.choice(self._recent)[1]._replace(kind=Kind.DUPLICATE)
        event = self._events.next(at - self._behind() if self._late else at)
        happened = self._encoding.time_of(event)
        if self._duplicates <= chance < self._faults:
            return self._malform(event, happened, at)
        draft = Draft(Kind.LATE if happened + self._encoding.coarse < at else Kind.EVENT, event, happened)
        self._recent.append((at, draft))
        return draft

    def _behind(self) -> int:
        random = self._lateness
        return max(1, int(self._late_by * random.uniform(0.5, 1.0))) if random.random() < self._late else 0

    def _malform(self, event: Any, happened: int, at: int) -> Draft:
        kind = self._random.choice(self._encoding.malformed)
        # The mistakes that clients make: another unit of time (which no calendar may hold), or a clock that is off.
        wrong: tuple[int, ...]
        match kind:
            case Kind.TIME_FAR_AHEAD:
                wrong = (at * 1000, at + _MONTH_MS)
            case Kind.TIME_FAR_BEHIND:
                wrong = (at // 1000, at - _MONTH_MS)
            case _:
                return Draft(kind, event, happened)
        instant = self._random.choice([each for each in wrong if self._encoding.can_say(each)])
        return Draft(kind, self._encoding.at_time(event, instant), instant)


def require_traffic(stream: Stream, mix: Mix) -> None:
    """Check that the stream has made-up traffic.

    Raises:
        NoTrafficError: it has none, or a record of it cannot be a duplicate.
    """
    if stream.traffic is None:
        raise NoTrafficError(
            f"stream {stream.name} has no made-up traffic: write a class into {stream.folder}/traffic.py and [traffic] "
            "into its stream.toml, or send a file with --input"
        )
    if mix.duplicates and not stream.identity:
        raise NoTrafficError(
            f"stream {stream.name} has no duplicates: its stream.toml names no id, so that each record is an event"
        )


def made_up(stream: Stream, encoding: Encoding, *, seed: int, worker: int, rate: float, mix: Mix) -> Traffic:
    """The traffic of a stream's own class.

    Args:
        rate: events a second of this worker.

    Raises:
        StreamCodeError: the class cannot be loaded or made.
        NoTrafficError: the class does not take a share that was asked for.
    """
    what = stream.traffic or ""
    made = load(stream, what)
    if not callable(made):
        raise StreamCodeError(
            f"stream {stream.name}: {what} is no class; see producer/traffic.py for what it has to be"
        )
    takes = set(inspect.signature(made).parameters)
    shares = {name: getattr(mix, name) for name in _SHARES if name in takes}
    late_here = 0.0 if "late" in takes else mix.late
    if "errors" not in takes and mix.errors != Mix().errors:
        raise NoTrafficError(f"the made-up traffic of stream {stream.name} knows no errors: leave --errors out")
    try:
        events = made(seed=seed, worker=worker, rate=rate, **shares)
    except Exception as error:  # code of anybody's
        raise StreamCodeError(f"stream {stream.name}: {what} cannot be made: {reason(error, stream.folder)}") from error
    return Traffic(
        events,
        encoding,
        seed=seed,
        worker=worker,
        duplicates=mix.duplicates,
        malformed=mix.malformed,
        late=late_here,
        late_by=round(mix.late_by.total_seconds() * 1000),
    )

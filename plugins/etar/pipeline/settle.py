"""Settle: wait until the table holds everything that Kafka held when a minute, and its grace, had passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from etar.errors import PermanentError, TransientError
from etar.kafka.offsets import behind, settled
from etar.kafka.standstill import Standstill
from etar.minute import MinuteWindow
from etar.streams import Stream

POLL_SECONDS = 0.3
"""Between two looks at the sink's commits: small beside a report's way, cheap for the broker. The sink stores what it
has as soon as the minute and its grace are over."""


class NotSettledError(TransientError):
    """The sink did not commit past a minute's offsets in time."""


class MinuteNotOverError(PermanentError):
    """The minute ends so far in the future that waiting for it cannot be what was meant."""


class Offsets(Protocol):
    """The part of :class:`etar.kafka.offsets.TopicOffsets` that settling stands on."""

    def held_at(self, instant: datetime) -> dict[int, int]: ...

    def committed(self, group: str) -> dict[int, int]: ...


def require_over(window: MinuteWindow, *, grace: timedelta, by: datetime) -> None:
    """See that waiting for the minute's end makes sense.

    Raises:
        MinuteNotOverError: the minute and its grace end after ``by``.
    """
    over = window.end + grace
    if over > by:
        raise MinuteNotOverError(
            f"minute {window} ends (with {grace.total_seconds():g} s of grace) at {over.isoformat()}, and a run waits "
            f"for it until {by.isoformat()} at most; run it when it is over"
        )


def wait_until_settled(
    window: MinuteWindow,
    *,
    offsets: Offsets,
    stream: Stream,
    grace: timedelta,
    timeout: timedelta,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    why_behind: Callable[[Mapping[int, int]], Sequence[Standstill]],
) -> dict[int, int]:
    """Wait until the stream's sink has committed past every offset that Kafka held at ``window.end + grace``.

    The target is read once: an event that arrives later than the grace is late, and waiting for it would mean waiting
    for ever under steady traffic.

    Args:
        timeout: for the whole wait, from the call.
        now: the wall clock, in UTC; it is compared with the broker's append times.
        sleep: waits for the given seconds.
        why_behind: asked once, when the timeout has passed, for what the sink has not come to and why.

    Returns:
        The offsets reached, ``{partition: offset of the first record not waited for}``.

    Raises:
        MinuteNotOverError: the minute ends after the timeout.
        NotSettledError: the timeout passed first; the message says of each partition that is behind, since when
            and why.
    """
    deadline = now() + timeout
    over = window.end + grace
    require_over(window, grace=grace, by=deadline)
    while (left := (over - now()).total_seconds()) > 0:
        sleep(left)

    target = offsets.held_at(over)
    while not settled(target, committed := offsets.committed(stream.sink_group)):
        if now() >= deadline:
            raise _not_settled(window, stream, behind(target, committed), why_behind(target))
        sleep(POLL_SECONDS)
    return target


def _not_settled(
    window: MinuteWindow, stream: Stream, missing: Mapping[int, int], standing: Sequence[Standstill]
) -> NotSettledError:
    return NotSettledError(
        f"minute {window} is not settled: the sink (consumer group {stream.sink_group!r}) is {sum(missing.values())} "
        f"records behind what Kafka held at the minute's end. {'; '.join(map(str, standing))}. See `etar status` and "
        f"`etar logs {stream.sink_part}`"
    )

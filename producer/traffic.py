"""What the made-up traffic of a stream is: the contract of the class that its folder has, and whether it has one.

The class makes events. Duplicates, malformed records and lateness are made by :mod:`producer.made_up`, for every stream
alike; a class that takes ``late`` and ``late_by`` sees to lateness itself, as where whole visits are late and not
single events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from etar.streams import Stream
from producer.options import Mix

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from etar.rows.blocks import Block


class NoTrafficError(ValueError):
    """The stream has no made-up traffic, or none of the kind that was asked for."""


class Events(Protocol):
    """What ``[traffic] class`` of a ``stream.toml`` names: made with ``seed``, ``worker`` (from 0) and ``rate`` (events
    a second of this worker), and with those of ``errors``, ``late`` (shares from 0 to 1) and ``late_by`` (a timedelta,
    the greatest lateness) that it has arguments for. The same seed, worker and instants make the same events; ids
    follow from seed and worker, so that no two workers send the same. It has :meth:`next`, or is of
    :class:`EventBlocks`."""

    def next(self, at: int, /) -> Any:
        """The event that happens at ``at``, in milliseconds since the epoch: a dict or a named tuple of the schema's
        fields (:mod:`producer.encoding`)."""


class EventBlocks(Protocol):
    """The same of a class that makes many events at once, which costs a small part."""

    def block(self, instants: npt.NDArray[np.int64], /) -> Block:
        """The events that happen at some instants, in milliseconds since the epoch, which never go back: field by field
        a column of as many values, in their order. They are the same however many are asked for at a time."""


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

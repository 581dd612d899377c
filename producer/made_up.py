"""Made-up traffic of any stream: events of its folder's class, with what goes wrong on the way, by seeded chance.

It is made in blocks: of each record of a block, chance says first what it is, and then its stream's class makes the
events. What comes out follows from the seed and from the records' numbers, however many are asked for at a time.
"""

from __future__ import annotations

import inspect
from random import Random
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from etar.rows.blocks import chance_of
from etar.stream_code import StreamCodeError, reason, traffic_class
from etar.streams import Stream
from producer.avro_columns import as_objects
from producer.block_encoding import BlockEncoding, Encoded
from producer.encoding import Encoding, NoEventError
from producer.kinds import Draft, Kind
from producer.options import Mix
from producer.partitions import hashes_of
from producer.traffic import EventBlocks, Events, NoTrafficError

KINDS = tuple(Kind)
"""What the numbers of :attr:`RecordBlock.kinds` mean."""

_RETRY_MS = 1000
"""How soon a client repeats an event it believes lost: duplicates follow their original within this time."""
_REPEATABLE = 10_000
"""Of that time, the events that may be repeated, at most: what is kept has to fit."""
_MONTH_MS = 30 * 24 * 3600 * 1000

_SHARES = ("errors", "late", "late_by")
"""Arguments that a class may take beyond seed, worker and rate, named like the command's options."""

_EVENT, _LATE, _DUPLICATE = (KINDS.index(kind) for kind in (Kind.EVENT, Kind.LATE, Kind.DUPLICATE))


class RecordBlock(NamedTuple):
    """Records ready to be sent, in their order."""

    keys: list[bytes | None]
    hashes: npt.NDArray[np.int64]
    """Of the keys (:func:`producer.partitions.hashes_of`)."""
    values: list[bytes | None]
    kinds: npt.NDArray[np.int8]
    """Of each record, the place of its kind in :data:`KINDS`."""
    happened: npt.NDArray[np.int64]
    """Milliseconds since the epoch."""
    malformed: dict[int, Draft]
    """By their row, the malformed ones, of whose value nothing could be read."""


class Source(Protocol):
    """Makes events, encoded."""

    def block(self, instants: npt.NDArray[np.int64], /) -> Encoded:
        """The events of some instants; fewer, where the next call raises why there is no more.

        Raises:
            StreamCodeError: the stream's own code failed, or made no events of its schema.
        """


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
        source: Source,
        encoding: Encoding,
        *,
        seed: int,
        worker: int = 0,
        duplicates: float = 0.0,
        malformed: float = 0.0,
        late: float = 0.0,
        late_by: int = 0,
    ) -> None:
        # Their own sequences of chance: turning faults on does not change which events happen.
        self._chance = chance_of(f"{seed}/{worker}/faults")
        self._lateness = chance_of(f"{seed}/{worker}/lateness")
        self._wrong_times = Random(f"{seed}/{worker}/wrong times")
        self._source = source
        self._encoding = encoding
        self._duplicates = duplicates
        self._faults = duplicates + malformed
        self._late = late
        self._late_by = late_by
        self._recent = _Records.none()

    def block(self, instants: npt.NDArray[np.int64]) -> RecordBlock:
        """The records for some instants, in milliseconds since the epoch, which never go back; fewer, as of
        :meth:`Source.block`.

        Raises:
            StreamCodeError: the stream's own code failed, or made no events of its schema.
        """
        if not self._faults:
            made = self._source.block(instants - self._behind(len(instants)))
            kinds = self._kinds(made.happened, instants[: len(made.values)])
            return RecordBlock(made.keys, made.hashes, [*made.values], kinds, made.happened, {})
        chance = self._chance.random((len(instants), 2))
        malformed = (self._duplicates <= chance[:, 0]) & (chance[:, 0] < self._faults)
        duplicate = chance[:, 0] < self._duplicates
        originals, sources = self._recent.sources(instants, duplicate, malformed, chance[:, 1])
        made = self._source.block(instants[originals] - self._behind(int(originals.sum())))
        if len(made.values) < originals.sum():
            end = np.flatnonzero(originals)[len(made.values)]
            instants, chance, malformed, originals = instants[:end], chance[:end], malformed[:end], originals[:end]
            sources = sources[: end - len(made.values)]
        good = ~malformed[originals]
        recent = self._recent.followed_by(instants[originals][good], made, good)
        records = _Records.empty(instants)
        records.put(originals, made)
        records.repeat(~originals, recent, sources)
        self._recent = recent.newest()
        kinds = self._kinds(records.happened, instants)
        kinds[~originals] = _DUPLICATE
        drafts = {
            row: self._malform(records.values[row], int(instants[row]), chance[row, 1])
            for row in np.flatnonzero(malformed).tolist()
        }
        for row, draft in drafts.items():
            records.values[row] = self._encoding.value_of(draft)
            kinds[row], records.happened[row] = KINDS.index(draft.kind), draft.happened
        keys, values = records.keys.tolist(), records.values.tolist()
        return RecordBlock(keys, records.hashes, values, kinds, records.happened, drafts)

    def _kinds(self, happened: npt.NDArray[np.int64], instants: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        return np.where(happened + self._encoding.coarse < instants, _LATE, _EVENT).astype(np.int8)

    def _behind(self, events: int) -> npt.NDArray[np.int64] | int:
        if not self._late:
            return 0
        late, behind = self._lateness.random((events, 2)).T
        lateness = np.maximum(1, (self._late_by * (0.5 + behind / 2)).astype(np.int64))
        return np.where(late < self._late, lateness, 0)

    def _malform(self, value: bytes, at: int, chance: float) -> Draft:
        encoding = self._encoding
        event = encoding.event_of(value)
        kind = encoding.malformed[int(chance * len(encoding.malformed))]
        # The mistakes that clients make: another unit of time (which no calendar may hold), or a clock that is off.
        wrong: tuple[int, ...]
        match kind:
            case Kind.TIME_FAR_AHEAD:
                wrong = (at * 1000, at + _MONTH_MS)
            case Kind.TIME_FAR_BEHIND:
                wrong = (at // 1000, at - _MONTH_MS)
            case _:
                return Draft(kind, event, encoding.time_of(event))
        instant = self._wrong_times.choice([each for each in wrong if encoding.can_say(each)])
        return Draft(kind, encoding.at_time(event, instant), instant)


class _Records(NamedTuple):
    """Records, and when they were sent."""

    at: npt.NDArray[np.int64]
    keys: npt.NDArray[np.object_]
    hashes: npt.NDArray[np.int64]
    values: npt.NDArray[np.object_]
    happened: npt.NDArray[np.int64]

    @classmethod
    def none(cls) -> _Records:
        return cls.empty(np.empty(0, np.int64))

    @classmethod
    def empty(cls, at: npt.NDArray[np.int64]) -> _Records:
        """Records of some instants that are still to be put in."""
        keys, hashes, values, happened = (np.empty(len(at), kind) for kind in (object, np.int64, object, np.int64))
        return cls(at, keys, hashes, values, happened)

    def put(self, rows: npt.NDArray[np.bool_], made: Encoded) -> None:
        self.keys[rows], self.hashes[rows], self.values[rows], self.happened[rows] = made

    def repeat(self, rows: npt.NDArray[np.bool_], others: _Records, places: npt.NDArray[np.int64]) -> None:
        """Put those of ``others`` at some places into rows."""
        for mine, theirs in zip(self[1:], others[1:], strict=True):
            mine[rows] = theirs[places]

    def followed_by(self, at: npt.NDArray[np.int64], made: Encoded, which: npt.NDArray[np.bool_]) -> _Records:
        """These and then some of those that were made, which were sent at ``at``."""
        made_of = (as_objects(made.keys), made.hashes, as_objects(made.values), made.happened)
        behind = (at, *(each[which] for each in made_of))
        return _Records._make(map(np.concatenate, zip(self, behind, strict=True)))

    def newest(self) -> _Records:
        return _Records._make(each[-_REPEATABLE:] for each in self)

    def sources(
        self,
        instants: npt.NDArray[np.int64],
        duplicate: npt.NDArray[np.bool_],
        malformed: npt.NDArray[np.bool_],
        chance: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Which of some records that follow are no duplicates; and of those that are, which record each repeats: its
        place among these and, behind them, the ones that follow and are neither.

        A duplicate with nothing to repeat is none.
        """
        originals = ~duplicate
        while True:
            rows = np.flatnonzero(~originals)
            repeatable = originals & ~malformed
            at = np.concatenate((self.at, instants[repeatable]))
            end = len(self.at) + np.cumsum(repeatable)[rows]
            first = np.maximum(np.searchsorted(at, instants[rows] - _RETRY_MS), end - _REPEATABLE)
            starved = first >= end
            if not starved.any():
                return originals, first + (chance[rows] * (end - first)).astype(np.int64)
            # Only the first: what it becomes may be repeated by those behind it.
            originals[rows[np.argmax(starved)]] = True


class _Single:
    """Events that are made one a call."""

    def __init__(self, stream: Stream, events: Events, encoding: Encoding) -> None:
        self._stream = stream
        self._events = events
        self._encoding = encoding
        self._error: StreamCodeError | None = None

    def block(self, instants: npt.NDArray[np.int64]) -> Encoded:
        if self._error is not None:
            raise self._error
        keys: list[bytes | None] = []
        values: list[bytes] = []
        happened: list[int] = []
        for instant in instants.tolist():
            try:
                event = self._made(instant)
                key, value, at = self._encoding.key(event), self._encoding.encode(event), self._encoding.time_of(event)
            except StreamCodeError as error:
                self._error = error
                break
            except Exception as error:  # as many kinds as there are wrong values
                self._error = _no_event(self._stream, f"{type(error).__name__}: {error}")
                break
            keys.append(key)
            values.append(value)
            happened.append(at)
        return Encoded(keys, hashes_of(keys), values, np.array(happened, np.int64))

    def _made(self, at: int) -> Any:
        try:
            return self._events.next(at)
        except Exception as error:  # code of anybody's
            raise _failed(self._stream, error) from error


class _Blocks:
    """Events that are made many a call."""

    def __init__(self, stream: Stream, events: EventBlocks, encoding: Encoding) -> None:
        self._stream = stream
        self._events = events
        self._encoding = BlockEncoding(stream, encoding)

    def block(self, instants: npt.NDArray[np.int64]) -> Encoded:
        try:
            block = self._events.block(instants)
        except Exception as error:  # code of anybody's
            raise _failed(self._stream, error) from error
        try:
            return self._encoding.encoded(block, len(instants))
        except NoEventError as error:
            raise _no_event(self._stream, str(error)) from error


def _failed(stream: Stream, error: Exception) -> StreamCodeError:
    return StreamCodeError(f"stream {stream.name}: {stream.traffic} made no event: {reason(error, stream.folder)}")


def _no_event(stream: Stream, why: str) -> StreamCodeError:
    return StreamCodeError(f"stream {stream.name}: {stream.traffic} made no event of the stream's schema: {why}")


def source_of(stream: Stream, events: Any, encoding: Encoding) -> Source:
    """What makes records of the events of a stream's class."""
    made_by = _Blocks if hasattr(events, "block") else _Single
    return made_by(stream, events, encoding)


def made_up(stream: Stream, encoding: Encoding, *, seed: int, worker: int, rate: float, mix: Mix) -> Traffic:
    """The traffic of a stream's own class.

    Args:
        rate: events a second of this worker.

    Raises:
        StreamCodeError: the class cannot be loaded or made.
        NoTrafficError: the class does not take a share that was asked for.
    """
    what = stream.traffic or ""
    made = traffic_class(stream)
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
        source_of(stream, events, encoding),
        encoding,
        seed=seed,
        worker=worker,
        duplicates=mix.duplicates,
        malformed=mix.malformed,
        late=late_here,
        late_by=round(mix.late_by.total_seconds() * 1000),
    )

"""What is wrong with a stream's own made-up events: that they differ between two runs of a seed, of which one asks for
fewer at a time, or are no records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from etar.stream_code import StreamCodeError, traffic_class
from etar.stream_folder.checks.report import of_code
from etar.streams import Fault, RecordFormat, Rule, Stream
from producer.encoding import Encoding, header_of
from producer.made_up import made_up
from producer.options import Mix

EVENTS = 200
SCHEMA_ID = 1
"""The id that the stream's schema has in the header of records that are made here."""

_FROM_MS = 1_790_000_000_000
_SEED = 20_261_121
_AT_A_TIME = (EVENTS, 7)
"""How many a run asks for: as many as have come, which is another number each time."""
_SEEDED = (
    "take all chance from chance_of(f'{seed}/{worker}') or a Random of that name, as many numbers for each event, and "
    "the time from the instant that is given"
)


def traffic_faults(stream: Stream) -> Iterator[Fault]:
    """Of the first ``EVENTS`` events of a seed. Of a class that cannot be loaded, the check of the report says so."""
    if stream.traffic is None:
        return
    try:
        traffic_class(stream)
    except StreamCodeError:
        return
    try:
        runs = [made_up_values(stream, at_a_time=size) for size in _AT_A_TIME]
    except StreamCodeError as error:
        yield of_code(stream, stream.traffic, error, Rule.TRAFFIC)
        return
    for number, (one, other) in enumerate(zip(*runs, strict=True), 1):
        if one != other:
            module, _, name = stream.traffic.partition(":")
            what = f"its event {number} is another one in a second run of the same seed, with {_AT_A_TIME[1]} at a time"
            yield Fault(stream.name, stream.file(f"{module}.py"), name, what, _SEEDED, Rule.TRAFFIC)
            return


def instants(stream: Stream) -> list[int]:
    """When each of these events happens, in milliseconds since the epoch."""
    return [_FROM_MS + round(number * 1000 / stream.traffic_rate) for number in range(EVENTS)]


def made_up_values(stream: Stream, *, at_a_time: int = EVENTS) -> list[bytes | None]:
    """The records' values of the first ``EVENTS`` events of a seed: the same at each call, if the class is sound.

    Raises:
        StreamCodeError: the class cannot be made, makes no event, or one that is not of the schema.
    """
    encoding = Encoding(stream) if stream.record is RecordFormat.JSON else Encoding(stream, header_of(SCHEMA_ID))
    traffic = made_up(stream, encoding, seed=_SEED, worker=0, rate=stream.traffic_rate, mix=Mix())
    values: list[bytes | None] = []
    left = np.array(instants(stream))
    while len(left):
        made = traffic.block(left[:at_a_time]).values
        values += made
        left = left[len(made) :]
    return values

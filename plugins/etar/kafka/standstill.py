"""Why a consumer group has not come where it should be: what Kafka says of the partition, the group and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from etar.kafka.offsets import TopicOffsets

LONG_WAIT = timedelta(minutes=5)
"""A record that waits for the sink for so long is told of: an outage, a backlog, or something that keeps it."""


@dataclass(frozen=True)
class Standstill:
    """A partition whose group is ``committed`` so far and not up to ``target``.

    Args:
        since: when Kafka took the first record that waits; None where it holds none.
        heals: whether it can end without a person: the group's reader has only to go on, or a transaction to end.
    """

    partition: int
    committed: int
    target: int
    since: datetime | None
    why: str
    heals: bool = True

    def __str__(self) -> str:
        since = f", since {self.since:%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        return f"partition {self.partition} at {self.committed} of {self.target}{since}: {self.why}"


def standstills(offsets: TopicOffsets, group: str, target: Mapping[int, int]) -> list[Standstill]:
    """The partitions in which ``group`` is behind ``target``, or past Kafka's own end, and why; none if all is well.

    Args:
        target: ``{partition: offset}``, as :meth:`TopicOffsets.held_at` or :meth:`TopicOffsets.end` give it.

    Raises:
        KafkaUnavailableError, UnknownTopicError: as every question to Kafka.
    """
    committed, end = offsets.committed(group), offsets.end()
    waiting = {p: target[p] for p, at in committed.items() if at < target.get(p, 0)}
    beyond = {p: end[p] for p, at in committed.items() if at > end[p]}
    if not waiting and not beyond:
        return []
    low, stable = offsets.low(), offsets.stable_end()
    readers = offsets.readers(group) if waiting else {}
    found = [
        Standstill(
            p,
            committed[p],
            at,
            None,
            f"the sink has committed past Kafka's end, {at}: the topic was made anew, or Kafka lost what it had taken, "
            "as after a restored backup; `etar topic begin-anew` goes on",
            heals=False,
        )
        for p, at in beyond.items()
    ]
    for p, at in waiting.items():
        since = offsets.taken_at(p, committed[p])
        if committed[p] < low[p]:
            why = f"Kafka has dropped what is below {low[p]}, and nobody had read it"
        elif stable[p] <= committed[p]:
            why = (
                f"a transaction has been open since offset {stable[p]}, and Kafka gives out nothing beyond it until it "
                "ends. Its producer ends it, or Kafka does; `kafka-transactions find-hanging` finds one that stays"
            )
        elif p not in readers:
            why = f"nobody reads it: no member of the group {group} has this partition"
        else:
            why = f"{readers[p]} reads it, and has not committed it"
        found.append(Standstill(p, committed[p], at, since, why))
    return sorted(found, key=lambda each: each.partition)

"""Which settings of a topic can cost records, or the truth about when they arrived. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

TIMESTAMPS = "message.timestamp.type"
BROKERS_CLOCK = "LogAppendTime"
CLEANUP = "cleanup.policy"
KEPT_MS = "retention.ms"
KEPT_BYTES = "retention.bytes"
_NO_LIMIT = -1


@dataclass(frozen=True)
class TopicFault:
    """A setting that a topic should not have: ``refused`` where nothing can be right with it.

    ``wanted`` is the value to give it, ``why`` what it does as it is.
    """

    setting: str
    value: str
    wanted: str
    why: str
    refused: bool

    def told_of(self, topic: str) -> str:
        """What is wrong, and the command that changes it."""
        return (
            f"the topic {topic} has {self.setting}={self.value}: {self.why}. Change it: "
            f"kafka-configs --alter --topic {topic} --add-config {self.setting}={self.wanted}"
        )


def topic_faults(settings: Mapping[str, str], *, needed: timedelta) -> list[TopicFault]:
    """What is wrong with a topic's settings, by Kafka's names for them.

    Args:
        needed: how long the stack may stand still and lose nothing: as long as Kafka has to keep a record at least.
    """
    faults = []
    if (clock := settings[TIMESTAMPS]) != BROKERS_CLOCK:
        why = "minutes are settled by the broker's clock, and records have the producer's"
        faults.append(TopicFault(TIMESTAMPS, clock, BROKERS_CLOCK, why, refused=True))
    if "compact" in (cleanup := settings[CLEANUP]):
        why = "of all records with the same key Kafka keeps the newest, whether the others were read or not"
        faults.append(TopicFault(CLEANUP, cleanup, "delete", why, refused=True))
    kept = int(settings[KEPT_MS])
    if kept != _NO_LIMIT and (short := timedelta(milliseconds=kept)) < needed:
        why = f"what the sink has not read after {_hours(short)} is lost, and an outage may take {_hours(needed)}"
        faults.append(TopicFault(KEPT_MS, str(kept), str(needed // timedelta(milliseconds=1)), why, refused=False))
    if (size := int(settings[KEPT_BYTES])) != _NO_LIMIT:
        why = f"under enough traffic records are lost that are younger than {_hours(needed)}"
        faults.append(TopicFault(KEPT_BYTES, str(size), str(_NO_LIMIT), why, refused=False))
    return faults


def _hours(time: timedelta) -> str:
    return f"{time / timedelta(hours=1):g} h"

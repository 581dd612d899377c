"""What goes wrong and when: a pure function of a seed, so that a run that failed can be had again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """What is done to a target: the first two to processes, the next three to links between parts, the last two to the
    topic, of which they take records that nobody has read."""

    KILL = "kill"
    PAUSE = "pause"
    SLOW = "slow"
    """Every answer comes two seconds late."""
    CUT = "cut"
    """Connections are closed, and new ones refused."""
    SILENT = "silent"
    """Connections stay open, and nothing comes through."""
    COMPACTED = "compacted"
    """The topic keeps the newest record of each key alone, while the sink is paused."""
    ANEW = "anew"
    """The topic is deleted and made again."""


PARTS = (
    "kafka",
    "registry",
    "warehouse",
    "s3",
    "postgres",
    "spark",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "sink",
    "report-api",
    "dashboard",
    "alerts",
)
WORKER, TASK, JVM_OF_SPARK, STACK = "producer-worker", "task", "spark-jvm", "stack"
LINKS = ("kafka", "registry", "warehouse", "s3", "postgres", "api", "airflow")
"""By the part that is reached through the link: everyone who speaks to it does so through this one."""

TOPIC = "topic"

TAKES_RECORDS = frozenset({Kind.COMPACTED, Kind.ANEW})
"""After these no account can be exact: it has to say so. Only done where they are asked for, and once."""
HARMLESS = tuple(kind for kind in Kind if kind not in TAKES_RECORDS)

_PROCESSES = (*PARTS, WORKER, TASK, JVM_OF_SPARK)
TARGETS = {
    Kind.KILL: (*_PROCESSES, STACK),
    Kind.PAUSE: _PROCESSES,
    Kind.SLOW: LINKS,
    Kind.CUT: LINKS,
    Kind.SILENT: LINKS,
    Kind.COMPACTED: (TOPIC,),
    Kind.ANEW: (TOPIC,),
}

FIRST_SECONDS = 10.0
"""Traffic before the first fault."""
QUIET_SECONDS = 60.0
"""Traffic after the last: the run has to show that it comes back, and not only that it survives."""
PAUSE_SECONDS = 20.0
COMPACTION_SECONDS = 45.0
"""Kafka's cleaner looks every 15 s."""
_LINK_SECONDS = (5.0, 20.0)
_BETWEEN_SECONDS = (8.0, 25.0)
_START_SECONDS = 45.0
"""What a stack takes to start again; a fault in that time would most often find nothing to hit."""


@dataclass(frozen=True)
class Fault:
    """``kind`` is done to ``target`` from ``at`` on for ``seconds``; ``at`` is in seconds of traffic."""

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0

    @property
    def end(self) -> float:
        return self.at + self.seconds


def schedule(seed: int, minutes: float, kinds: Collection[Kind] = HARMLESS) -> list[Fault]:
    """The faults of a run of so many minutes, in order.

    Every kind and target comes once before any comes a second time: half an hour meets each. What takes records comes
    once.
    """
    random = Random(f"etar/chaos/{seed}")
    deck: list[tuple[Kind, str]] = []
    faults: list[Fault] = []
    at = FIRST_SECONDS
    while True:
        if not deck:
            again = kinds if not faults else set(kinds) - TAKES_RECORDS
            deck = [(kind, target) for kind in Kind if kind in again for target in TARGETS[kind]]
            random.shuffle(deck)
        if not deck:
            return faults
        kind, target = deck.pop()
        fault = Fault(round(at, 1), kind, target, _seconds(kind, random))
        if fault.end > minutes * 60 - QUIET_SECONDS:
            return faults
        faults.append(fault)
        at += random.uniform(*_BETWEEN_SECONDS) + (_START_SECONDS if target == STACK else 0)


def _seconds(kind: Kind, random: Random) -> float:
    if kind in (Kind.KILL, Kind.ANEW):
        return 0.0
    if kind is Kind.COMPACTED:
        return COMPACTION_SECONDS
    if kind is Kind.PAUSE:
        return PAUSE_SECONDS
    return round(random.uniform(*_LINK_SECONDS), 1)

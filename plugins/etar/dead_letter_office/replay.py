"""Sends records through the front door again, each exactly once however often the sending is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from time import sleep
from typing import Protocol
from uuid import UUID, uuid4

from etar.dead_letter_office.front_door import Deliveries, Places
from etar.dead_letters.journal import Author, Journal, Replay
from etar.dead_letters.letters import LetterId

_CLOCKS_APART = timedelta(minutes=1)
"""How far the broker's clock and PostgreSQL's may disagree about when a record was appended."""


class ReplayInDoubtError(Exception):
    """Kafka did not say whether it took some records. The next replay command finds out."""


class Door(Protocol):
    """What a replay needs of :class:`etar.dead_letter_office.front_door.FrontDoor`."""

    def ends(self) -> dict[int, int]: ...

    def send(self, replays: Sequence[Replay]) -> Deliveries: ...

    def find(self, ids: set[UUID], first: dict[int, int], until: datetime) -> Places: ...


@dataclass(frozen=True)
class Sending:
    """What is to be sent for a letter."""

    of: LetterId
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Sent:
    """A letter whose replay stands at ``offset`` of the letter's partition; or ``refused``, and why."""

    of: LetterId
    offset: int | None
    refused: str | None = None


class Replayer:
    """Writes down each replay before its record is sent, and completes it after.

    To be used while the journal is held (:meth:`Journal.held`). A process killed in between leaves replays in doubt;
    :meth:`settle` looks for their ids in the topic, and sends those again that never got there.
    """

    def __init__(
        self,
        journal: Journal,
        door: Door,
        author: Author,
        *,
        patience: timedelta,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        """Args:
        patience: after this time a sender that is gone can no longer get a record into Kafka: longer than the
            door's own time limit.
        pause: waits for some seconds.
        """
        self._journal = journal
        self._door = door
        self._author = author
        self._patience = patience
        self._pause = pause

    def send(self, batch: Sequence[Sending]) -> list[Sent]:
        """Send records.

        Raises:
            ReplayInDoubtError: Kafka did not answer for some of them. The others are done.
            KafkaUnavailableError, UnknownTopicError: nothing was sent.
        """
        ends, now = self._door.ends(), self._journal.now()
        replays = [Replay(uuid4(), s.of, s.key, s.value, ends[s.of.partition], now) for s in batch]
        self._journal.begin_replays(replays, self._author)
        return self._deliver(replays)

    def settle(self) -> list[Sent]:
        """Find out about replays that are in doubt, and send again what never reached Kafka.

        Raises:
            As for :meth:`send`.
        """
        in_doubt = self._journal.replays_in_doubt()
        done: list[Sent] = []
        # Each command settles before it begins anything, so these are one command's last batch, begun at one instant.
        for begun_at, group in groupby(in_doubt, key=lambda replay: replay.begun_at):
            replays = list(group)
            found = self._find(replays, begun_at)
            if len(found) < len(replays) and (left := begun_at + self._patience - self._journal.now()) > timedelta(0):
                self._pause(left.total_seconds())
                found = self._find(replays, begun_at)
            self._journal.complete_replays(found)
            done += [Sent(replay.of, found[replay.id][0]) for replay in replays if replay.id in found]
            done += self._send_again([replay for replay in replays if replay.id not in found])
        return done

    def _send_again(self, replays: Sequence[Replay]) -> list[Sent]:
        if not replays:
            return []
        ends, now = self._door.ends(), self._journal.now()
        renewed = [replace(replay, search_from=ends[replay.of.partition], begun_at=now) for replay in replays]
        self._journal.renew_replays(renewed)
        return self._deliver(renewed)

    def _deliver(self, replays: Sequence[Replay]) -> list[Sent]:
        deliveries = self._door.send(replays)
        self._journal.complete_replays(deliveries.sent)
        refused = [(replay, deliveries.refused[replay.id]) for replay in replays if replay.id in deliveries.refused]
        self._journal.withdraw_replays(refused, self._author)
        if deliveries.in_doubt:
            raise ReplayInDoubtError(
                f"Kafka did not say whether it took {len(deliveries.in_doubt)} of {len(replays)} records "
                f"({next(iter(deliveries.in_doubt.values()))}); run `etar dead-letters replay --apply` again when it "
                "is back: that looks for them first"
            )
        return list(_outcomes(replays, deliveries))

    def _find(self, replays: Sequence[Replay], begun_at: datetime) -> Places:
        first: dict[int, int] = {}
        for replay in replays:
            first[replay.of.partition] = min(replay.search_from, first.get(replay.of.partition, replay.search_from))
        return self._door.find({replay.id for replay in replays}, first, begun_at + self._patience + _CLOCKS_APART)


def _outcomes(replays: Sequence[Replay], deliveries: Deliveries) -> Iterator[Sent]:
    for replay in replays:
        if replay.id in deliveries.refused:
            yield Sent(replay.of, None, refused=deliveries.refused[replay.id])
        else:
            yield Sent(replay.of, deliveries.sent[replay.id][0])

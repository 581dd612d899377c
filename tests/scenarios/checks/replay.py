"""Replay: each dead letter that is repaired and sent again comes to Kafka once."""

from __future__ import annotations

from collections import Counter

from etar.dead_letter_office.front_door import REPLAY_OF
from etar.dead_letter_office.office import open_office
from etar.dead_letter_office.repair import patch_repair
from etar.dead_letters.letters import Selection, State
from etar.settings import RegistrySettings, ReportStoreSettings, get_settings
from etar.streams import Stream
from tests.integration.connect.conftest import PARTITIONS
from tests.integration.dead_letters.conftest import Desk
from tests.scenarios.checks.sink import Traffic
from tests.scenarios.model import Check
from tests.scenarios.streams import new_stream, running_sink

_BATCH = 5
_UNSPOIL = "[]"
"""The letters have trailing bytes: to write them again is to repair them."""


def replay(stream: str) -> None:
    """The command, for whatever is open."""
    opened = Selection(states=frozenset({State.OPEN}))
    with open_office(Stream(stream), command="of a scenario", say=print) as office:
        for outcome in office.replay(opened, repair=patch_repair(_UNSPOIL), apply=True):
            assert outcome.done, outcome


class Replay(Check):
    """Bad records come all the time, and a command replays all the time: in the end each event is a row, once."""

    def prepare_first(self) -> None:
        stream = self.closing.enter_context(new_stream(partitions=PARTITIONS))
        self.lane, self.sink = self.closing.enter_context(running_sink(self.parts, stream))
        self.traffic = Traffic(
            self.lane, lambda number: [value + b"!" for value in self.lane.good(_BATCH, first=number * _BATCH)]
        )
        self.closing.callback(self.traffic.end)
        self.job = self.closing.enter_context(self.parts.repeated(replay, stream.name))

    def prepare_second(self) -> None:
        self.traffic.finish()

    def validate(self) -> None:
        self.lane.settle(self.sink, timeout=180)
        self.job.finish()
        self.lane.settle(self.sink, timeout=180)
        desk = Desk(self.lane, get_settings(RegistrySettings), get_settings(ReportStoreSettings))
        sent = self.traffic.batches * _BATCH
        replays = Counter(dict(message.headers() or []).get(REPLAY_OF) for message in desk.records())
        assert replays.pop(None) == sent
        assert Counter(replays.values()) == {1: sent}
        assert desk.rows() == (sent, sent)
        with open_office(Stream(self.lane.topic), command="of a scenario", say=print) as office:
            assert Counter(state for _, state in office.find(Selection())) == {State.REPLAYED: sent}

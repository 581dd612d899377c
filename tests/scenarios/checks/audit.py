"""The auditor: what a sink lost, doubled or misfiled is found, and put where it belongs."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime

from etar.audit.run import run_audit
from etar.minute import MINUTE, MinuteWindow
from etar.streams import Stream
from tests.integration.audit.conftest import PARTITIONS, Misbehaviour, World, malformed
from tests.scenarios.model import Check
from tests.scenarios.streams import new_stream, world_of

_GOOD = 400
_BAD = 66


def audit(stream: str, now: datetime) -> None:
    """One pass."""
    run_audit(Stream(stream), now=lambda: now)


class Audit(Check):
    """A sink that misbehaves at random, and audits all the time: the account ends exact, no repair noted twice."""

    def prepare_first(self) -> None:
        stream = self.closing.enter_context(new_stream(partitions=PARTITIONS, timestamps="CreateTime"))
        self.world = self.closing.enter_context(world_of(stream))
        self.minutes = [self.world.minute]
        self.chance = random.Random(9)
        self._misfile(self.world)
        self.job = self.closing.enter_context(self.parts.repeated(audit, stream.name, self._now()))

    def prepare_second(self) -> None:
        # One that the audits of the first phase have not closed.
        self.minutes.append(MinuteWindow(self.minutes[0].start + 5 * MINUTE))
        self._misfile(replace(self.world, minute=self.minutes[-1]))
        self.job.arguments = (self.world.stream.name, self._now())

    def validate(self) -> None:
        self.job.finish()
        assert self.world.exact()
        closed = self.world.closed()
        for minute in self.minutes:
            of_minute = [(rows, letters) for _, named, _, _, rows, letters, *_ in closed if named == str(minute)]
            assert tuple(map(sum, zip(*of_minute, strict=True))) == (_GOOD, _BAD), (minute, closed)
        assert self.world.repairs()
        assert not self.world.noted_twice()

    def _misfile(self, world: World) -> None:
        values = [*world.good(_GOOD), *(malformed(world) * 6)]
        self.chance.shuffle(values)
        world.send(values)
        world.sink(Misbehaviour(self.chance), batch=41)

    def _now(self) -> datetime:
        return self.minutes[-1].end + 2 * MINUTE

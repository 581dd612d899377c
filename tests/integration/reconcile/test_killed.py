"""A run that ends between any two of its writes, and the runs after it: one revision, and the ledger as without it.

Beside the check ``Reconcile`` of ``tests/scenarios``, whose runs are killed with SIGKILL but at no chosen write: here
it is each write in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from etar.ledger import State, revisions
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.publish import publish
from tests.integration.reconcile.world import Stores, World

WRITES_OF_A_RUN = 2 * (3 + 2) + 2 + 2 * 4
"""Of two minutes with rows. Extract: began, settled, began, PUT, extracted. Analyse: PUT. Report: analysed, began,
POST, reported."""


class Killed(BaseException):
    """As SIGKILL, it passes every handler of errors."""


@dataclass
class Fuse:
    """Kills the run before or after its n-th write."""

    left: int
    after: bool

    def around(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            result = write(*args, **kwargs)
            if self.left == 0:
                raise Killed
            return result

        return guarded


class Fused:
    """Any object, with some of its methods behind a fuse."""

    def __init__(self, behind: Any, fuse: Fuse, *names: str) -> None:
        self._behind = behind
        for name in names:
            setattr(self, name, fuse.around(getattr(behind, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


def run_until_killed(
    world: World, since: MinuteWindow, fuse: Fuse, monkeypatch: pytest.MonkeyPatch, *, now: datetime
) -> None:
    ledger = world.ledger
    with monkeypatch.context() as patched:
        patched.setattr(
            world,
            "ledger",
            lambda: Fused(ledger(now=now), fuse, "began", "settled", "extracted", "analysed", "reported", "failed"),
        )
        whole = world.stores
        world.stores = Stores(whole.kafka, Fused(whole.s3, fuse, "put_object", "delete_object"), whole.bucket)
        patched.setattr(
            "tests.integration.reconcile.world.publish",
            fuse.around(publish),
        )
        try:
            with pytest.raises(Killed):
                world.run(since)
        finally:
            world.stores = whole


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, WRITES_OF_A_RUN + 1))
def test_the_next_run_ends_in_the_same_account(
    world: World, monkeypatch: pytest.MonkeyPatch, write: int, after: bool
) -> None:
    since = MinuteWindow.containing(world.now - 2 * MINUTE)
    windows = [since, since.next]
    world.arrive([world.row(window) for window in windows])
    assert world.run(since) == {}
    world.arrive([world.row(window) for window in windows])

    run_until_killed(world, since, Fuse(write, after), monkeypatch, now=world.now - world.policy.stale)
    for window in windows:
        served = world.served(window)
        assert (served["revision"], served["total_events"]) in {(1, 1), (2, 2)}

    assert world.run(since) == {}
    assert world.causes(since) == {}
    entries = world.entries(since)
    for window in windows:
        served = world.served(window)
        assert (served["revision"], served["total_events"]) == (2, 2)
        entry = entries[window]
        assert (entry.state, entry.revision, entry.received, entry.unique_events) == (State.REPORTED, 2, 2, 2)
        assert [each.revision for each in revisions(world.connection, world.stream, window)] == [1, 2]

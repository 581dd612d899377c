"""Three minutes of chaos: the short form of what ``make chaos`` does for half an hour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.__main__ import show
from tests.chaos.faults import Kind
from tests.chaos.run import Asked, run
from tests.conftest import temporary_folder

# A seed whose faults are of several kinds: spark's JVM, a producer worker (paused, then killed) and the sink among the
# processes, the links to PostgreSQL and to the warehouse among the links.
ASKED = Asked(seed=4, minutes=3, rate=150)


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder


# Above all that a run itself waits for.
@pytest.mark.timeout(2400)
def test_whatever_is_killed_paused_or_cut_the_account_is_exact(folder: Path) -> None:
    result = run(ASKED, folder)
    show(ASKED, result)

    assert result.difference == 0, result.differences
    assert result.back_after is not None, "no report came after the last fault"
    assert {hit.fault.kind for hit in result.hits if hit.done} >= {Kind.KILL, Kind.PAUSE, Kind.CUT}
    account = result.account
    assert account.ok
    assert account.generated == ASKED.rate * ASKED.minutes * 60
    assert account.respawns >= 1
    assert account.duplicates > 0 < account.malformed
    assert sum(result.dead_letters.values()) >= account.malformed

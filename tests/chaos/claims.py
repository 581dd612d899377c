"""What has to be so after chaos, however long it was."""

from __future__ import annotations

from tests.chaos.__main__ import show
from tests.chaos.faults import Kind
from tests.chaos.run import Asked, Result


def check_account_is_exact(asked: Asked, result: Result) -> None:
    """The account holds, and the run had what it takes to say so: faults of three kinds, a worker that died."""
    show(asked, result)
    assert result.difference == 0, result.differences
    assert result.back_after is not None, "no report came after the last fault"
    kinds = {hit.fault.kind for hit in result.hits if hit.done}
    assert kinds >= {Kind.KILL, Kind.PAUSE, Kind.CUT}, f"only {kinds} were done"
    account = result.account
    assert account.ok, f"{account.failed} failed"
    assert account.generated == asked.rate * asked.minutes * 60, f"{account.generated} made"
    assert account.respawns >= 1, "no worker was replaced"
    assert account.duplicates > 0 < account.malformed, f"{account.duplicates} duplicates, {account.malformed} malformed"
    assert sum(result.dead_letters.values()) >= account.malformed, f"{result.dead_letters} of {account.malformed}"

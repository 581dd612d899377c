"""A minute of chaos on the stack of the other tests. Three minutes, with other seeds: ``tests/long/test_chaos.py``.

After the tests that compare reports with what they were: the traffic's late events revise the minutes before it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from etar.minute import MinuteWindow
from tests.chaos.claims import check_account_is_exact
from tests.chaos.faults import JVM_OF_SPARK, STACK, TASK, WORKER, Fault, Kind
from tests.chaos.links import LinkedPorts
from tests.chaos.run import EARLIER, Asked, run_on
from tests.e2e.conftest import Etar

ASKED = Asked(seed=4, minutes=1, rate=150, quiet_seconds=5)
# Of each kind several, and overlapping. The minute before is extracted and analysed in the first half of this one.
FAULTS = (
    Fault(4, Kind.CUT, "warehouse", 6),
    Fault(8, Kind.KILL, WORKER),
    Fault(10, Kind.KILL, TASK),
    Fault(14, Kind.PAUSE, "sink", 12),
    Fault(18, Kind.CUT, "postgres", 6),
    Fault(22, Kind.KILL, JVM_OF_SPARK),
    Fault(28, Kind.PAUSE, WORKER, 10),
    Fault(32, Kind.KILL, "kafka"),
    Fault(42, Kind.CUT, "kafka", 8),
    # Every process at once, in the middle of traffic; then `etar up`.
    Fault(52, Kind.KILL, STACK),
)


# Above all that the run waits for, with the stack if this is the first test to need it.
@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("traffic")  # which must be over: the account is compared with all that Kafka got meanwhile
def test_whatever_is_killed_paused_or_cut_the_account_is_exact(etar: Etar, linked: LinkedPorts) -> None:
    etar.healthy()
    first = MinuteWindow.containing(datetime.now(UTC) - EARLIER)
    check_account_is_exact(ASKED, run_on(etar.folder, linked.links, ASKED, FAULTS, first=first))

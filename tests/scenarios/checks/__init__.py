"""Every check; each plays in every scenario."""

from __future__ import annotations

from tests.scenarios.checks.audit import Audit
from tests.scenarios.checks.category_sales import CategorySales
from tests.scenarios.checks.minute import Minute
from tests.scenarios.checks.reconcile import Reconcile
from tests.scenarios.checks.replay import Replay
from tests.scenarios.checks.sink import Sink
from tests.scenarios.model import Check

CHECKS: tuple[type[Check], ...] = (Sink, Minute, Audit, Reconcile, Replay, CategorySales)

"""What evaluates the alert rules and tells people: no other part looks whether it is needed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from etar.alerts.rules import RulesError, read_rules
from etar.alerts.states import UNSEEN
from etar.alerts.targets import TargetsError, targets
from etar.settings import AlertSettings
from stack.configuration import SettingsError
from stack.parts.base import Part, Stack


def _beat(stack: Stack) -> Path:
    return stack.layout.run / "alerts.beat"


def _looks(stack: Stack) -> bool:
    return time.time() - _beat(stack).stat().st_mtime < UNSEEN.total_seconds()


def _require(stack: Stack) -> None:
    settings = stack.settings.of(AlertSettings)
    try:
        read_rules(settings.rules_file)
        targets(settings)
    except (RulesError, TargetsError) as error:
        raise SettingsError(str(error)) from error


ALERTS = Part(
    name="alerts",
    needs=("report-store",),
    prepare=lambda stack: _beat(stack).unlink(missing_ok=True),
    command=lambda stack: [sys.executable, "-m", "etar.alerts.watch", str(_beat(stack))],
    environment=lambda stack: stack.settings.starting_with(
        "ETAR_ALERTS_", "ETAR_REPORT_STORE_", "ETAR_API_URL", "ETAR_API_READ_TOKEN", "ETAR_KAFKA_",
        "ETAR_PIPELINE_", "ETAR_RECONCILE_",
    ),
    # It goes on without the places that it asks: that is what it tells of.
    ready=_looks,
    require=_require,
)  # fmt: skip

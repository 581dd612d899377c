"""What `etar verify --repair` asks of Airflow."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from cli import repair
from etar.minute import MINUTE, MinuteWindow
from etar.settings import get_settings
from etar.streams import Stream

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")


@dataclass
class Scheduler:
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def run(self, dag: str, configuration: dict[str, Any]) -> str:
        self.asked.append((dag, configuration))
        return "success"


def test_minutes_are_reported_again_in_batches_and_as_their_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler, said, told = Scheduler(), list[str](), list[tuple[float, float | None]]()
    monkeypatch.setattr(repair, "Airflow", lambda _stack: nullcontext(scheduler))
    monkeypatch.setenv("ETAR_RECONCILE_BATCH_MINUTES", "2")
    get_settings.cache_clear()
    windows = [MinuteWindow(WINDOW.start + number * MINUTE) for number in range(3)]

    assert repair.report_minutes_again(
        windows,
        cast(Any, None),
        said.append,
        stream=Stream("payments"),
        told=lambda done, total, _: told.append((done, total)),
    )

    get_settings.cache_clear()
    assert told == [(0, 3), (2, 3)]
    assert scheduler.asked == [
        ("etar_reconcile", {"stream": "payments", "minutes": ["2026-11-21T10:31Z", "2026-11-21T10:32Z"]}),
        ("etar_reconcile", {"stream": "payments", "minutes": ["2026-11-21T10:33Z"]}),
    ]
    assert [line.partition(",")[0] for line in said] == [
        f"{windows[0]} to {windows[1]}",
        f"{windows[2]} to {windows[2]}",
    ]

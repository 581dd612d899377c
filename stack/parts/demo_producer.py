"""Demo traffic: `etar produce` as a part of the stack."""

from __future__ import annotations

import time

from stack.layout import VENV_BIN
from stack.parts.base import Part, Stack


def _command(stack: Stack) -> list[str]:
    started = int(time.time())
    return [
        str(VENV_BIN / "etar"), "produce",
        "--rate", stack.settings["ETAR_DEMO_RATE"],
        # A seed gives the same event ids again, and an event id counts once: each start has to be other traffic.
        "--seed", str(started),
        "--workers", "1",
        "--duplicates", "0.01",
        "--malformed", "0.002",
        "--account", str(stack.layout.accounts / f"demo-{started}.json"),
    ]  # fmt: skip


DEMO_PRODUCER = Part(
    name="demo-producer",
    needs=("topics", "compatibility"),
    command=_command,
    environment=lambda stack: stack.settings.starting_with("ETAR_KAFKA_", "ETAR_REGISTRY_"),
    ready=lambda _: True,
    enabled=lambda stack: float(stack.settings["ETAR_DEMO_RATE"]) > 0,
)

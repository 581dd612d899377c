"""Demo traffic: `etar produce` as a part of the stack."""

from __future__ import annotations

import time

from stack.layout import VENV_BIN
from stack.parts.base import Part, Stack


def _command(stack: Stack) -> list[str]:
    # No seed: a seed gives the same event ids again, an event id counts once, and each start is other traffic.
    return [
        str(VENV_BIN / "etar"), "produce",
        "--rate", stack.settings["ETAR_DEMO_RATE"],
        "--workers", "1",
        "--duplicates", "0.01",
        "--malformed", "0.002",
        "--account", str(stack.layout.accounts / f"demo-{int(time.time())}.json"),
    ]  # fmt: skip


DEMO_PRODUCER = Part(
    name="demo-producer",
    needs=("topics", "compatibility"),
    command=_command,
    environment=lambda stack: (
        stack.settings.starting_with("ETAR_KAFKA_", "ETAR_REGISTRY_") | {"ETAR_DIR": str(stack.layout.root)}
    ),
    ready=lambda _: True,
    enabled=lambda stack: float(stack.settings["ETAR_DEMO_RATE"]) > 0,
)

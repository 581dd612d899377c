"""Who is told: the targets of ``ETAR_ALERTS_TARGETS``, and the process that sends to them.

Addresses hold passwords. They are handed on in the environment only, and nothing here names a target but by its name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any
from uuid import UUID

from etar.settings import AlertSettings

SENDING = (sys.executable, "-m", "etar.alerts.sending")
"""A process of its own: the library takes 0.6 s of CPU and some 30 MB, and is needed a few times a day."""

_LONGEST_SECONDS = 120.0
_PIECE = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]+)=)?(?P<address>(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://\S+)")


class TargetsError(ValueError):
    """``ETAR_ALERTS_TARGETS`` is not understood. The message says which piece, and never what it is."""


def targets(settings: AlertSettings) -> Mapping[str, str]:
    """The address of each target by its name: the one that it was given, or its scheme.

    Raises:
        TargetsError: a piece is no address, or two have the same name.
    """
    found: dict[str, str] = {}
    for number, piece in enumerate(settings.targets.get_secret_value().split(), 1):
        parts = _PIECE.fullmatch(piece)
        if not parts:
            raise TargetsError(
                f"target {number} of ETAR_ALERTS_TARGETS is no address: write SCHEME://…, or NAME=SCHEME://…, and "
                "blanks only between targets (docs/alerts.md)"
            )
        name = parts["name"] or parts["scheme"].lower()
        if name in found:
            raise TargetsError(
                f"two targets of ETAR_ALERTS_TARGETS are called {name}: give one a name, {name}2={name}://…"
            )
        found[name] = parts["address"]
    return found


@dataclass(frozen=True)
class Message:
    """What one target is to be sent."""

    id: UUID
    target: str
    title: str
    body: str
    severity: str

    def as_dict(self) -> dict[str, Any]:
        return vars(self) | {"id": str(self.id)}


@dataclass(frozen=True)
class Outcome:
    """What came of a message; ``problem`` is None where the target took it."""

    id: UUID
    target: str
    problem: str | None


class Sending:
    """A process that sends some messages, each target's in their order, and none to a target after one that it did not
    take. It runs beside whoever has started it, for two minutes at most."""

    def __init__(self, messages: Sequence[Message], command: Sequence[str] = SENDING) -> None:
        self._began = monotonic()
        self._told: IO[bytes] = TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        with TemporaryFile() as asked:
            asked.write(json.dumps([message.as_dict() for message in messages]).encode())
            asked.seek(0)
            self._process = subprocess.Popen(list(command), stdin=asked, stdout=self._told, stderr=subprocess.DEVNULL)

    def outcomes(self, *, wait_seconds: float = 0.0) -> list[Outcome] | None:
        """What came of each message that was tried; None while it is at work, so many seconds after it was asked."""
        try:
            self._process.wait(min(wait_seconds, self._left))
        except subprocess.TimeoutExpired:
            if self._left:
                return None
            self.end()
        self._told.seek(0)
        lines = self._told.read().splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [Outcome(UUID(each["id"]), each["target"], each["problem"]) for each in whole]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def _left(self) -> float:
        return max(0.0, self._began + _LONGEST_SECONDS - monotonic())

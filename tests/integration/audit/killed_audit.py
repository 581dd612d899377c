"""One pass of the audit that dies by SIGKILL at a write named to it."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from typing import Any

from etar.audit.holdings import Holdings
from etar.audit.marks import Marks
from etar.audit.run import run_audit
from etar.records.warehouse import Warehouse
from etar.streams import Stream

_CLASSES: dict[str, type] = {kind.__name__: kind for kind in (Holdings, Marks, Warehouse)}


def audit_until_killed(stream: Stream, now: datetime, write: str, when: str) -> None:
    """To be run in a process of its own.

    Args:
        write: ``class.method``; its first call that does something is the last thing this process does.
        when: ``before`` or ``after`` it.
    """
    class_name, _, method = write.partition(".")
    kind = _CLASSES[class_name]
    real = getattr(kind, method)

    def deadly(self: Any, *arguments: Any, **named: Any) -> Any:
        something = bool(arguments[-1])
        done = real(self, *arguments, **named) if when == "after" or not something else None
        if something:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(kind, method, deadly)
    run_audit(stream, now=lambda: now)

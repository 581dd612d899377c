"""``python -m tests.integration.audit.killed_audit STREAM NOW CLASS.METHOD before|after``: one pass of the audit that
kills itself with SIGKILL at that method's first call that does something."""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from typing import Any

from etar.audit.holdings import Holdings
from etar.audit.marks import Marks
from etar.audit.run import run_audit
from etar.records.warehouse import Warehouse
from etar.streams import Stream

_CLASSES: dict[str, type] = {kind.__name__: kind for kind in (Holdings, Marks, Warehouse)}


def main() -> None:
    stream, now, where, when = sys.argv[1:]
    class_name, _, method = where.partition(".")
    kind = _CLASSES[class_name]
    real = getattr(kind, method)

    def deadly(self: Any, *arguments: Any, **named: Any) -> Any:
        something = bool(arguments[-1])
        done = real(self, *arguments, **named) if when == "after" or not something else None
        if something:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(kind, method, deadly)
    run_audit(Stream(stream), now=lambda: datetime.fromisoformat(now))


if __name__ == "__main__":
    main()
